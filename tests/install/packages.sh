#!/usr/bin/env bash
# Builds the Debian packages of a build and looks into them: packages.sh BUILD WORK
set -euo pipefail
build=$1 work=$2
rm -rf "$work"
mkdir -p "$work"
fail() { echo "packages: $*" >&2; exit 1; }

cpack -G DEB --config "$build/CPackConfig.cmake" -B "$work" >"$work/log" 2>&1 || { cat "$work/log"; fail "cpack ended with $?"; }
for side in server client; do
  packages=("$work"/fl-"${side}"_*.deb)
  [ ${#packages[@]} = 1 ] && [ -f "${packages[0]}" ] || fail "expected one package fl-$side, found ${packages[*]}"
  package=${packages[0]}
  field() { dpkg-deb -f "$package" "$1"; }
  [ "$(field Package)" = "fl-$side" ] || fail "$package: is called $(field Package)"
  [[ $(field Depends) =~ libc6\ .*libssl3.*passwd|passwd.*libc6\ .*libssl3 ]] || fail "$package: depends on $(field Depends)"
  if [ "$side" = server ]; then other=client; [[ $(field Depends) = *libsqlite3-0* ]] || fail "$package: no libsqlite3-0"; else other=server; fi

  dpkg-deb -c "$package" >"$work/contents"
  for file in usr/bin/fl-$side usr/lib/systemd/system/fl-$side.service usr/share/doc/fl-$side/copyright; do
    grep -q " \./$file\$" "$work/contents" || fail "$package: no $file"
  done
  for pattern in "fl-$other" '\.h$' '\.a$' '\.cmake$' 'fl-sim' ' \./etc/' ' \./usr/local'; do
    ! grep -E -- "$pattern" "$work/contents" || fail "$package: has what matches $pattern"
  done
  grep -vE '^[-dl]\S+ root/root ' "$work/contents" && fail "$package: files that are not root's" || true

  dpkg-deb -x "$package" "$work/$side"
  "$work/$side/usr/bin/fl-$side" --version >"$work/version" || fail "$package: the program does not run"
  [ "$(sed "s/.* //" "$work/version")" = "$(field Version)" ] || fail "$package: version $(field Version), the program says $(cat "$work/version")"
  dpkg-deb -e "$package" "$work/$side/control"
  for script in postinst prerm postrm; do
    [ -x "$work/$side/control/$script" ] || fail "$package: no $script that can be executed"
    sh -n "$work/$side/control/$script"
  done
  # The unit names the installed program, the script's user and nothing of the machine that built it.
  unit=$work/$side/usr/lib/systemd/system/fl-$side.service
  grep -q "^ExecStart=fl-$side run " "$unit" || fail "$unit: another program"
  user=$(sed -n 's/^User=//p' "$unit")
  grep -q "useradd .* $user\$" "$work/$side/control/postinst" || fail "$unit: nobody makes the user $user"
  for setting in NoNewPrivileges=yes ProtectSystem=strict Restart=on-failure StateDirectory=fl-$side; do
    grep -qx "$setting" "$unit" || fail "$unit: no $setting"
  done
  # Options that the program does not know would be found by the first start only.
  for option in $(grep -o -- ' --[a-z-]*' "$unit"); do
    "$work/$side/usr/bin/fl-$side" run --help | grep -q -- "$option" || fail "$unit: fl-$side run has no $option"
  done
done
[ -x "$work/server/usr/bin/fl-pki" ] || fail "fl-server: no fl-pki"
[ -f "$work/server/usr/share/fl/configs/quickstart.toml" ] || fail "fl-server: no plans"
du -h "$work"/*.deb
rm -rf "$work"
