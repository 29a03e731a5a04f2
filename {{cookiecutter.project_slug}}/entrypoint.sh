#!/bin/bash
# Runs a command as the owner of the working folder, so that the files it makes belong to the person who started it.
set -euo pipefail

as_owner=()
if [[ $(id -u) == 0 ]]; then
    as_owner=(setpriv --reuid="$(stat -c %u "$PWD")" --regid="$(stat -c %g "$PWD")" --clear-groups
        --no-new-privs --bounding-set=-all --inh-caps=-all)
fi

# A company's certificates, if CA_BUNDLE names them.
if grep -qs CERTIFICATE /run/secrets/ca_bundle; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle REQUESTS_CA_BUNDLE=/run/secrets/ca_bundle
fi

if [[ $1 == jupyter ]]; then
    export JUPYTER_TOKEN=${JUPYTER_TOKEN:-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}
    # Jupyter knows its name and port in the container only; this is the address on the host, printed once it answers.
    {
        until : </dev/tcp/127.0.0.1/8888; do sleep 0.2; done 2>/dev/null
        echo "Open http://127.0.0.1:${JUPYTER_PORT:-8888}/?token=$JUPYTER_TOKEN in your browser. Ctrl-C here stops it."
    } &
fi

# tini comes after the change of user: as root without rights it could not forward a signal to its child.
exec "${as_owner[@]}" tini -- "$@"
