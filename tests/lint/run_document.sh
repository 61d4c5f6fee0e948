#!/usr/bin/env bash
# Runs the ```sh blocks of a document, one after the other in one shell, in the repository's root, with the programs of a
# build on the path and $WORK a folder that is removed afterwards. Called as  run_document.sh DOCUMENT BUILD
set -euo pipefail
document=$1 build=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
export WORK PATH=$build:$PATH
WORK=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$WORK"' EXIT
script=$(awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$document")
[ -n "$script" ] || { echo "$document has no commands" >&2; exit 1; }
eval "set -x; $script"
