#!/bin/bash
# Runs a command as the owner of the working folder, so that what it writes belongs to that person.
set -euo pipefail

fail() {
    echo "$1" >&2
    exit 2
}

# The health check. Any answer will do: a server with TLS hangs up on this; one that is stuck is
# silent. What is no server, such as papermill, is never called unhealthy.
if [[ ${1-} == healthy ]]; then
    [[ ${2-} ]] || grep -qzxE 'lab|notebook' /proc/1/cmdline || exit 0
    exec 3<>"/dev/tcp/127.0.0.1/${2:-8888}"
    printf 'GET / HTTP/1.0\r\n\r\n' >&3
    read -r -t 4 -u 3 || (($? == 1))
    exit
fi

if [[ ${1-} != --as-owner ]]; then
    drop=()
    if [[ $(id -u) == 0 ]]; then
        # Root only changes the user, and every right ends with that. Groups of group_add stay.
        groups=$(id -G | sed -E 's/\<0\> ?//; s/ $//; s/ /,/g')
        drop=(setpriv --reuid="$(stat -c %u "$PWD")" --regid="$(stat -c %g "$PWD")" --clear-groups
            --no-new-privs --bounding-set=-all --inh-caps=-all)
        [[ ! $groups ]] || drop[3]=--groups=$groups
    fi
    # tini forwards signals and removes dead processes. Not as root, who may not signal the owner's.
    tini=(tini --)
    [[ $$ == 1 ]] || tini=()
    exec "${drop[@]}" "${tini[@]}" "$0" --as-owner "$@"
fi
shift

umask "${UMASK:-022}" || fail "UMASK: not '$UMASK'. Type digits from 0 to 7, such as 0002."
[[ ${TZ:-UTC} == UTC || -e /usr/share/zoneinfo/$TZ ]] ||
    fail "TZ: not '$TZ'. Type a name such as Europe/Berlin."
# shellcheck disable=SC2174  # /home is there
mkdir -p -m 700 "$HOME"
[[ -O $HOME ]] || fail "COMPOSE_PROJECT_NAME: '${COMPOSE_PROJECT_NAME-}' belongs to user \
$(stat -c %u "$HOME"), and this folder to user $(id -u). Write \
COMPOSE_PROJECT_NAME=another-name into .env."
# matplotlib's list of fonts must not be older than those of apt.txt.
[[ $HOME/.cache/matplotlib -nt /var/lib/dpkg/status ]] || rm -rf "$HOME/.cache/matplotlib"
if grep -qs 'BEGIN CERTIFICATE' /run/secrets/ca_bundle; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle REQUESTS_CA_BUNDLE=/run/secrets/ca_bundle
fi

if [[ $1 == lock ]]; then
    sed 's/===/==/' requirements.lock >/tmp/lock  # uv keeps the versions that it finds here
    # shellcheck disable=SC2207  # an option and its value are two words
    lock=(/opt/uv/bin/uv pip compile --universal --generate-hashes --python=python3
        --index-strategy=unsafe-best-match --emit-index-annotation --emit-index-url
        --emit-find-links --emit-build-options --output-file=/tmp/lock requirements.txt "${@:2}"
        $(sed -nE 's/\r//; /^--(pre|trusted-host)/p' requirements.txt))
    export UV_CUSTOM_COMPILE_COMMAND="docker compose run --rm lock"
    if [[ " $* " == *" --upgrade "* ]]; then
        options=(--quiet --generate-hashes --no-annotate --no-header)
        newest=$(head -1 uv.txt; echo uv | "${lock[0]}" pip compile "${options[@]}" -)
        echo "$newest" >uv.txt
    fi
    if ! "${lock[@]}" --python-version=3.11 >/dev/null; then
        echo "Not for Python 3.11 and later. Trying $(python3 --version) and later ..." >&2
        "${lock[@]}" >/dev/null
    fi
    # Left out: packages of this repository, which the image installs last, and a company's index.
    # === where there is a second index: == would also take its 1.0+cpu for 1.0.
    keep=0
    [[ ${UV_DEFAULT_INDEX-} ]] || keep=$(grep -cE '^(-i|--index-url)' requirements.txt || true)
    awk -v keep_index="$keep" '
        function flush() { if (!own) printf "%s", entry; entry = "" }
        /^$/ || /^--index-url/ && !keep_index || /^--find-links/ && !/ https?:/ { next }
        /^--(extra-index-url|find-links)/ { exactly = 1 }
        /^[^ #]/ { flush(); own = /^(-e|[.\/])| @ (git[+])?file:/ }
        /^[^ #-]/ && exactly { sub(/==/, "===") }
        /^    # from file:/ { own = 1 }
        !/^    # from / { entry = entry $0 "\n" }
        END { flush() }' /tmp/lock >requirements.lock.new
    exec mv requirements.lock.new requirements.lock
fi

# Every notebook in its own folder, and of each a web page in _pages, also when it failed.
# Left out: what starts with _ or a dot, or lies in a folder that does.
if [[ $1 == run-notebooks ]]; then
    shopt -s globstar nullglob
    status=0
    for notebook in **/*.ipynb; do
        [[ /$notebook != */_* ]] || continue
        mkdir -p "_pages/$(dirname "$notebook")"
        papermill --cwd "$(dirname "$notebook")" "$notebook" "_pages/$notebook" || status=1
        jupyter nbconvert --to html "_pages/$notebook" || status=1
    done
    exit "$status"
fi

if [[ $1 == jupyter ]]; then
    export JUPYTER_TOKEN=${JUPYTER_TOKEN:-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}
    [[ $JUPYTER_TOKEN != *[^A-Za-z0-9._~-]* ]] ||
        fail "JUPYTER_TOKEN: it becomes part of an address. Type letters, digits and . _ ~ - only."
    [[ -w . ]] || echo "data/input cannot be written to: what you change will not be saved." >&2
    [[ $(stat -f -c %a .) != 0 ]] ||
        echo "The disk of data/input is full: what you change will not be saved." >&2
    astray=$(find . -maxdepth 2 -xtype l -print -quit)
    [[ ! $astray ]] ||
        echo "$astray is a link to $(readlink "$astray"), which is not in the container." \
            "Name the folder that it is in as DATA in .env, or copy it here." >&2
    foreign=$(find . -maxdepth 2 ! -xtype l ! -writable -print -quit)
    [[ ! $foreign ]] || echo "$foreign cannot be written to." \
        "If that is wrong: sudo chown -R $(id -u) data/input" >&2
    {
        # Jupyter knows its address in the container only. This is the one outside, once it answers.
        until : </dev/tcp/127.0.0.1/8888; do sleep 0.2; done 2>/dev/null
        grep -qs 'BEGIN CERTIFICATE' /run/secrets/certificate && scheme=https || scheme=http
        path=${BASE_URL-}
        path=/${path#/}
        bind=${JUPYTER_BIND:-127.0.0.1}
        host=${bind/#0.0.0.0/127.0.0.1}:${JUPYTER_PORT:-8888}
        address="$scheme://$host${path%/}/?token=$JUPYTER_TOKEN"
        echo "Open $address in your browser. Ctrl-C here stops it."
        [[ $bind != 0.0.0.0 ]] ||
            echo "On other computers type this one's name or address in place of 127.0.0.1."
        # The engine counts what it kills at the memory limit (cgroup v2 or v1), and says nothing.
        killed=0
        counters=(/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control)
        while sleep 3; do
            count=$(grep -hs '^oom_kill ' "${counters[@]}" || true)
            ((${count##* } <= killed)) ||
                echo "A kernel needed more memory than MEMORY_LIMIT allows and was stopped." >&2
            killed=${count##* }
        done
    } &
fi

exec "$@"
