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
  local accuracy times installed kilobytes rounds header
  accuracy=$(sed -n 's/^The global model reads \([0-9.]*\) %.*/\1/p' "$work/output")
  times=$(sed -n 's/^The updates took .* \([0-9]*\) x as much\.$/\1/p' "$work/output")
  installed=$(sed -n 's/^\([0-9]* of [0-9]*\) devices installed.*/\1/p' "$work/output")
  kilobytes=$(sed -n 's/^.* local int8 model: \([0-9.]*\) KB each.*/\1/p' "$work/output")
  awk "BEGIN { exit !($accuracy >= 93) }" || fail "accuracy $accuracy %, expected at least 93 %"
  awk "BEGIN { exit !($times >= 50) }" || fail "$times times less than fp32, expected at least 50"
  [ "$installed" = "10 of 10" ] || fail "$installed local models, expected 10 of 10"
  awk "BEGIN { exit !($kilobytes <= 60) }" || fail "a local model of $kilobytes KB, expected at most 60"
  rounds=$(sed -n "s/^count = //p" configs/quickstart.toml)
  [ "$(grep -c "^ *[0-9]* *10/10" "$work/output")" = "$rounds" ] || fail "expected a line for each of $rounds rounds"
  grep -q '^sample 0: ' "$work/output" || fail "expected a prediction"
  header=$(grep '^ round ' "$work/output")
  grep -qxF -- "$header" README.md || fail "README.md shows another table than '$header'"
}

# A shell's background commands ignore SIGINT, which no trap can undo: the quickstart gets it back. Until it runs, the process is
# a copy of this shell, which a signal would make clean up in this one's stead.
start() {
  env --default-signal=INT,QUIT scripts/quickstart --build "$build" --state "$state" >"$work/output" 2>&1 &
  pid=$!
  local tries=0
  until tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF scripts/quickstart; do
    tries=$((tries + 1))
    [ $tries -lt 1000 ] || fail "it has not begun within ten seconds"
    sleep 0.01
  done
}

# interrupt SIGNAL WHEN STATUS: what it must end with, and leave behind.
interrupt() {
  local status=0
  kill -"$1" "$pid" || fail "$1 $2: it had ended before"
  wait "$pid" || status=$?
  [ "$status" = "$3" ] || fail "$1 $2: status $status, expected $3"
  nothing_runs || fail "$1 $2: something keeps running"
  [ "$1" = KILL ] || [ ! -e "$state" ] || fail "$1 $2: $state is still there"
}

await_first_round() {
  local tries=0
  until grep -q '^ *1 *10/10' "$work/output"; do
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || fail "no first round within a minute"
    sleep 0.05
  done
}

stops() {
  local delay
  for delay in 0.05 0.3 0.8; do
    start
    sleep "$delay"
    interrupt INT "after $delay s" 130
    start
    sleep "$delay"
    interrupt TERM "after $delay s" 143
  done
  start
  await_first_round
  interrupt INT "after the first round" 130
  start
  await_first_round
  interrupt TERM "after the first round" 143
  # Even when it gets no chance to clean up.
  start
  await_first_round
  interrupt KILL "after the first round" 137 2>"$work/killed"
}

case $what in
  finishes) finishes ;;
  stops) stops ;;
  *) exit 2 ;;
esac
