#!/bin/sh
# install.sh VENV run|dev|project|editable
#
# run, dev   make VENV if it is not there and install the locked requirements, every file checked by its hash
# project    build the wheel and install it into VENV (what the image does)
# editable   install the checkout itself into VENV (what a developer wants)
#
# uv does it where it is found, else `python3 -m venv` and pip. PYTHON names the interpreter.
set -eu
venv=$1
what=$2
cd "$(dirname "$0")/.."

say() { echo "bellwether: $*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for python in ${PYTHON:-python3} python3 python3.13 python3.12 python3.11; do
        if new_enough "$python"; then
            return
        fi
    done
    said=$(${PYTHON:-python3} --version 2>&1) || said="no ${PYTHON:-python3} here"
    say "Python 3.11 or newer is needed, found: $said"
    say "install one (Debian 12, Ubuntu 24.04: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3"
    exit 2
}

with_uv() { [ -z "${INSTALL_WITHOUT_UV:-}" ] && command -v uv >/dev/null 2>&1; }

sound() { # has the venv a Python that runs, and somebody to install into it?
    [ -x "$venv/bin/python" ] && new_enough "$venv/bin/python" &&
        { with_uv || "$venv/bin/python" -m pip --version >/dev/null 2>&1; }
}

create() {
    find_python
    if [ -e "$venv" ]; then
        # An interrupted or outdated one; anything else of that name is not ours to delete.
        [ -f "$venv/pyvenv.cfg" ] || rmdir "$venv" 2>/dev/null || { say "$venv is in the way"; exit 2; }
        rm -rf "$venv"
    fi
    if with_uv; then
        uv venv --quiet --python "$python" "$venv"
        return
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$python has no venv module: on Debian and Ubuntu it is a package of its own"
        say "install it: apt install python3-venv"
        exit 2
    fi
    "$python" -m venv "$venv"
}

install() {
    # The build backend looks for its program on the PATH. Compiled once here, the command starts five times as fast
    # where nobody may write beside the libraries; pip does that unasked.
    backend="$(cd "$venv/bin" && pwd)"
    if with_uv; then
        PATH="$backend:$PATH" uv pip install --quiet --compile-bytecode --python "$venv/bin/python" "$@"
    else
        PATH="$backend:$PATH" "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

case "$what" in
run | dev)
    sound || create
    install --require-hashes -r "requirements/$what.txt"
    ;;
project)
    install --no-deps --no-build-isolation .
    ;;
editable)
    install --no-deps --no-build-isolation -e .
    ;;
*)
    say "install.sh VENV run|dev|project|editable"
    exit 2
    ;;
esac
