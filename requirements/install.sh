#!/usr/bin/env bash
# Creates .venv and installs one locked set of packages into it; the Makefile calls it.
#
#   requirements/install.sh cpu|gpu   a new .venv with the converter (an older .venv is replaced)
#   requirements/install.sh dev       the test and lint tools, into the .venv that is there
#
# The stamp .venv/.stamp-SET is written last and holds the lock files it stands for, so an interrupted set-up is
# never taken for a finished one. PYTHON names the interpreter. Exit code 3: the environment cannot be created.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

set_name=${1:?usage: requirements/install.sh cpu|gpu|dev}
stamp=.venv/.stamp-$set_name

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 3
}

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

find_python() {  # prints the first interpreter that is Python 3.11; a shim that does not run is passed over
    local candidate version seen=
    for candidate in ${PYTHON:+"$PYTHON"} ${PYTHON:-python3.11 python3}; do
        version=$(version_of "$candidate") || continue
        [[ $version == 3.11.* ]] && { printf '%s\n' "$candidate"; return; }
        seen+=" $candidate is $version;"
    done
    fail "Python 3.11 is needed, found:${seen:- none;} install python3.11 and its venv module (Debian, Ubuntu:" \
        "python3.11 python3.11-venv), or name one: make setup PYTHON=/path/to/python3.11"
}

create_venv() {
    local python
    python=$(find_python) || exit
    printf 'setup: creating .venv with Python %s (%s)\n' "$(version_of "$python")" "$set_name"
    "$python" -m venv --clear .venv || fail "$python cannot create .venv (see above); its venv module may be missing" \
        "(Debian, Ubuntu: apt-get install python3.11-venv) or the disk may be full; then run make setup again"
}

pip_install() {  # pip_install LOCK [PIP OPTION...]
    local lock=$1 quiet=(--quiet --progress-bar off)
    shift
    [[ -t 1 ]] && quiet=()
    printf 'setup: installing %s packages from %s\n' "$(grep -c == "$lock")" "$lock"
    .venv/bin/python -m pip --disable-pip-version-check --no-input install "${quiet[@]}" \
        --only-binary :all: --requirement "$lock" "$@" ||
        fail "pip could not install $lock (see above). Check the network, the proxy and the free space (pip config list," \
            "df -h .); without a network, put the wheels into a folder and set PIP_FIND_LINKS=FOLDER PIP_NO_INDEX=1;" \
            "then run make setup again, it starts afresh"
}

case $set_name in
    cpu | gpu) locks=("requirements/$set_name.lock" requirements/openmmlab.lock) ;;
    dev) locks=(requirements/dev.lock) ;;
    *) fail "$set_name is not a set of packages; there are cpu, gpu and dev" ;;
esac

# Two calls at once: the second waits, then finds the work done.
exec 9<requirements/install.sh
if command -v flock >/dev/null; then flock 9; fi
if [[ -e $stamp ]] && cmp -s "$stamp" <(cat "${locks[@]}"); then
    touch "$stamp"
    exit
fi

started=$SECONDS
if [[ $set_name == dev ]]; then
    pip_install requirements/dev.lock
else
    create_venv
    # Where pip finds the CUDA build of torch for the CPU variant, the CUDA packages it asks for are pinned as well.
    pip_install "requirements/$set_name.lock" --constraint requirements/gpu.lock
    pip_install requirements/openmmlab.lock --no-deps
fi
cat "${locks[@]}" >"$stamp"
printf 'setup: %s packages ready in %d s\n' "$set_name" "$((SECONDS - started))"
