#!/usr/bin/env bash
# The quickstart, as a newcomer sees it. Called as  quickstart.sh BUILD finishes  or  quickstart.sh BUILD stops
#   finishes   it reaches its bars, shows what README.md shows, and leaves nothing running
#   stops      interrupted at any moment it leaves neither a process nor a file
set -euo pipefail
build=$1 what=$2
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
state=$work/state

fail() { echo "quickstart.sh: $*" >&2; [ ! -e "$work/output" ] || cat "$work/output" >&2; exit 1; }
# Processes that name the state folder; grep reads it from a file, so as not to find itself.
printf "%s\n" "$state" >"$work/pattern"
count_processes() { grep -lsF -f "$work/pattern" /proc/[0-9]*/cmdline | wc -l; }
nothing_runs() {
  local tries=0
  while [ "$(count_processes)" != 0 ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || return 1
    sleep 0.05
  done
}

finishes() {
  scripts/quickstart --build "$build" --state "$state" >"$work/output" 2>&1 || fail "status $?"
  nothing_runs || fail "something keeps running"
  local accuracy times installed kilobytes header
  accuracy=$(sed -n 's/^The global model reads \([0-9.]*\) %.*/\1/p' "$work/output")
  times=$(sed -n 's/^The updates took .* \([0-9]*\) x as much\.$/\1/p' "$work/output")
  installed=$(sed -n 's/^\([0-9]* of [0-9]*\) devices installed.*/\1/p' "$work/output")
  kilobytes=$(sed -n 's/^.* local int8 model: \([0-9.]*\) KB each.*/\1/p' "$work/output")
  awk "BEGIN { exit !($accuracy >= 93) }" || fail "accuracy $accuracy %, expected at least 93 %"
  awk "BEGIN { exit !($times >= 50) }" || fail "$times times less than fp32, expected at least 50"
  [ "$installed" = "10 of 10" ] || fail "$installed local models, expected 10 of 10"
  awk "BEGIN { exit !($kilobytes <= 60) }" || fail "a local model of $kilobytes KB, expected at most 60"
  [ "$(grep -c '^ *[0-9]* *10/10' "$work/output")" = 30 ] || fail "expected a line for each of 30 rounds"
  grep -q '^sample 0: ' "$work/output" || fail "expected a prediction"
  header=$(grep '^ round ' "$work/output")
  grep -qxF -- "$header" README.md || fail "README.md shows another table than '$header'"
}

stops() {
  local delay signal status
  set -- 0.05 INT 0.3 TERM 0.8 INT 1.5 TERM 2.5 INT
  while [ $# -gt 0 ]; do
    delay=$1 signal=$2
    shift 2
    # A shell starts its background jobs deaf to SIGINT; a terminal does not.
    env --default-signal=INT scripts/quickstart --build "$build" --state "$state" >"$work/output" 2>&1 &
    local pid=$!
    sleep "$delay"
    kill -"$signal" "$pid" 2>/dev/null || break
    status=0
    wait "$pid" || status=$?
    # It may have been done just before.
    [ "$status" != 0 ] || continue
    nothing_runs || fail "$signal after $delay s: something keeps running"
    [ ! -e "$state" ] || fail "$signal after $delay s: $state is still there (status $status)"
  done
  # Even when it gets no chance to clean up.
  scripts/quickstart --build "$build" --state "$state" >"$work/output" 2>&1 &
  local pid=$!
  sleep 1
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null || true
  nothing_runs || fail "killed: something keeps running"
}

case $what in
  finishes) finishes ;;
  stops) stops ;;
  *) exit 2 ;;
esac
