#!/bin/sh
# Compile requirements/{run,dev}.txt from pyproject.toml, with hashes and without any index's address.
# Pins that still satisfy pyproject.toml stay as they are; `lock.sh --upgrade` takes the newest.
# `lock.sh --check` writes nothing and fails if the files are not what a compilation gives.
set -eu
cd "$(dirname "$0")/.."

compile() { # OUTPUT ARGUMENT...
    output=$1
    shift
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links --output-file "$output" "$@" >/dev/null
}

case "${1:-}" in
--check)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cp requirements/run.txt requirements/dev.txt "$scratch"
    compile "$scratch/run.txt" --group build
    compile "$scratch/dev.txt" --group dev
    for set in run dev; do
        # The pins decide: comments only tell who wants them, and hashes are checked by every install.
        sed '/^ /d' "$scratch/$set.txt" >"$scratch/fresh"
        sed '/^ /d' "requirements/$set.txt" >"$scratch/stored"
        diff -u "$scratch/stored" "$scratch/fresh" ||
            { echo "requirements/$set.txt is out of date with pyproject.toml: run make lock" >&2; exit 1; }
    done
    ;;
*)
    compile requirements/run.txt --group build "$@"
    compile requirements/dev.txt --group dev --constraints requirements/run.txt "$@"
    ;;
esac
