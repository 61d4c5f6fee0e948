#!/bin/sh
# compare.sh PRINT_VECTORS PYTHON SOURCE: what our codecs decode and what decode.py does are the same values.
set -eu
vectors=$(mktemp)
trap 'rm -f "$vectors"' EXIT
"$1" "$3/tests/golden/codecs.txt" >"$vectors"
"$2" "$3/tests/golden/decode.py" --vectors "$vectors"
