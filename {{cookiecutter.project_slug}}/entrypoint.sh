#!/bin/bash
# Runs a command as the owner of the working folder, so that the files it makes belong to the person who started it.
set -euo pipefail

if [[ ${1-} != --as-owner ]]; then
    # Root only changes the user, and every right ends with that. tini, which forwards signals and removes dead
    # processes, comes after it: as root without rights it could not signal another user's process.
    drop=()
    if [[ $(id -u) == 0 ]]; then
        drop=(setpriv --reuid="$(stat -c %u "$PWD")" --regid="$(stat -c %g "$PWD")" --clear-groups
            --no-new-privs --bounding-set=-all --inh-caps=-all)
    fi
    exec "${drop[@]}" tini -s -- "$0" --as-owner "$@"
fi
shift

# A company's certificates, if CA_BUNDLE names them.
if grep -qs CERTIFICATE /run/secrets/ca_bundle; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle REQUESTS_CA_BUNDLE=/run/secrets/ca_bundle
fi

if [[ $1 == jupyter ]]; then
    export JUPYTER_TOKEN=${JUPYTER_TOKEN:-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}
    if [[ $JUPYTER_TOKEN == *[^A-Za-z0-9._~-]* ]]; then
        echo "JUPYTER_TOKEN: it becomes part of an address. Use letters, digits and . _ ~ - only." >&2
        exit 2
    fi
    [[ -w . ]] || echo "data/input cannot be written to: what you change will not be saved." >&2
    [[ $(stat -f -c %a .) != 0 ]] || echo "The disk of data/input is full: what you change will not be saved." >&2
    {
        # Jupyter knows its name and port in the container only; this is the address on the host, once it answers.
        until : </dev/tcp/127.0.0.1/8888; do sleep 0.2; done 2>/dev/null
        [[ "$*" == *--certfile=* ]] && scheme=https || scheme=http
        echo "Open $scheme://127.0.0.1:${JUPYTER_PORT:-8888}/?token=$JUPYTER_TOKEN in your browser. Ctrl-C here stops it."
        # The engine counts the processes that it kills at the memory limit (cgroup v2, then v1), and says nothing.
        killed=0
        while sleep 3; do
            count=$(grep -hs '^oom_kill ' /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control || true)
            ((${count##* } <= killed)) || echo "A kernel needed more memory than MEMORY_LIMIT allows and was stopped." >&2
            killed=${count##* }
        done
    } &
fi

exec "$@"
