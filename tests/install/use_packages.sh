#!/usr/bin/env bash
# Installs the Debian packages in FOLDER as an administrator would, plays a federation with the users, folders and command lines of the
# units, restores a backup, and removes everything again. For root on a system that may be thrown away: use_packages.sh FOLDER
set -euo pipefail
folder=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/../.." && pwd)
fail() { echo "use_packages: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "needs root"

export DEBIAN_FRONTEND=noninteractive
apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "$folder"/fl-server_*.deb "$folder"/fl-client_*.deb >/tmp/apt.log 2>&1 ||
  { tail -n 20 /tmp/apt.log; fail "the packages do not install"; }
for side in server client; do
  getent passwd fl-$side >/dev/null || fail "no user fl-$side"
  [ "$(stat -c '%U:%G %a' /etc/fl-$side/pki)" = "root:fl-$side 750" ] || fail "/etc/fl-$side/pki: $(stat -c '%U:%G %a' /etc/fl-$side/pki)"
  ldd /usr/bin/fl-$side | grep 'not found' && fail "fl-$side lacks a library" || true
done
if command -v systemd-analyze >/dev/null; then
  systemd-analyze verify /usr/lib/systemd/system/fl-server.service || fail "fl-server.service"
fi

# As docs/operations.md says.
fl-pki init "$HOME/fl-ca" >/dev/null
fl-pki issue "$HOME/fl-ca" main --role server --host 127.0.0.1 --out /etc/fl-server/pki >/dev/null
fl-pki issue "$HOME/fl-ca" ada --role admin --out "$HOME/fl-admin" >/dev/null
fl-pki issue "$HOME/fl-ca" device-1 --out /etc/fl-client/pki >/dev/null
chown fl-server: /etc/fl-server/pki/server.key
chown fl-client: /etc/fl-client/pki/client.key
install -d /var/opt/fl
cp "$source/data/small-tables/digits8x8.csv.gz" /var/opt/fl/
cat >/etc/fl-server/plan.toml <<'END'
name = "digits"
seed = 3
[model]
input = [64]
layers = ["dense 16", "relu", "dense 10"]
[data]
label = "label"
ignore = ["split"]
normalize = "standard"
mean = [5.0]
scale = [6.0]
holdout = 0.2
[training]
batch_size = 16
learning_rate = 0.1
[rounds]
count = 3
population_min = 1
goal = 1
min_report = 1
deadline_s = 60
wait_s = 1
END
printf 'FL_LISTEN=127.0.0.1:0\nFL_METRICS=127.0.0.1:0\n' >/etc/default/fl-server

# The unit's command as its user, with its environment: what systemd would start, without its walls.
start() { # SIDE
  local unit=/usr/lib/systemd/system/fl-$1.service command
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  install -d -m 0700 -o "fl-$1" -g "fl-$1" "/var/lib/fl-$1"
  (
    cd /
    set -a
    eval "$(sed -n 's/^Environment=//p' "$unit")"
    . "/etc/default/fl-$1"
    STATE_DIRECTORY=/var/lib/fl-$1
    eval "exec setpriv --reuid fl-$1 --regid fl-$1 --init-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- $command"
  ) >"/tmp/fl-$1.log" 2>&1 &
  started=$!
}
await() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { tail -n 5 /tmp/fl-*.log; fail "in vain: $*"; }
    sleep 0.2
  done
}
ask() { fl-server "$@" --server "$(cat /var/lib/fl-server/address)" --pki "$HOME/fl-admin"; }
is_done() { ask status | grep -q '3 of 3 rounds published'; }

start server
server=$started
await 30 test -s /var/lib/fl-server/address
printf 'FL_SERVER=%s\nFL_DATA=csv:/var/opt/fl/digits8x8.csv.gz?split=train\n' "$(cat /var/lib/fl-server/address)" >/etc/default/fl-client
start client
device=$started
await 120 is_done
ask status
curl -fs "http://$(cat /var/lib/fl-server/metrics-address)/readyz" 2>/dev/null || echo "(no curl: /readyz was not asked)"
model=$(ask report --json | sed -n 's/.*"model_sha256": "\(.*\)".*/\1/p')
fl-server backup "$HOME/fl-backup" --state /var/lib/fl-server
kill "$server" "$device"
wait "$server" || fail "fl-server ended with $?"
wait "$device" || fail "fl-client ended with $?"

rm -rf /var/lib/fl-server
cp -a "$HOME/fl-backup" /var/lib/fl-server
chown -R fl-server: /var/lib/fl-server
start server
server=$started
await 30 test -s /var/lib/fl-server/address
[ "$(ask report --json | sed -n 's/.*"model_sha256": "\(.*\)".*/\1/p')" = "$model" ] || fail "another model after the restore"
kill "$server"
wait "$server" || fail "fl-server ended with $?"

apt-get -qq -y -o Dpkg::Use-Pty=0 purge fl-server fl-client >/tmp/apt.log 2>&1 || { tail -n 20 /tmp/apt.log; fail "the packages cannot be purged"; }
for path in /usr/bin/fl-server /usr/bin/fl-client /var/lib/fl-server /var/lib/fl-client /etc/fl-server /etc/fl-client; do
  [ ! -e $path ] || fail "$path is left over"
done
! getent passwd fl-server fl-client || fail "the users are left over"
echo "use_packages: installed, ran, restored, purged"
