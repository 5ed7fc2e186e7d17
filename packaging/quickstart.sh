#!/bin/sh
# From a checkout to a confined container: builds, then runs the same container without and with a policy.
#
#   packaging/quickstart.sh
#
# Needs root (or sudo). Installs packages where they are missing, builds into build/release, works in a
# temporary directory and leaves nothing else behind. Run it as often as you like.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo

step() { printf '\n== %s\n' "$*"; }

step "dependencies"
packaging/deps.sh run

step "build (cmake --preset release; a few minutes, its output goes to build/quickstart.log)"
mkdir -p build
if ! { cmake --preset release && cmake --build --preset release; } >build/quickstart.log 2>&1; then
  tail -n 40 build/quickstart.log
  exit 1
fi
ls build/release/bin

demo=$($as_root mktemp -d /tmp/landgate-quickstart.XXXXXX)
trap '$as_root rm -rf "$demo"' EXIT INT TERM
$as_root chmod 755 "$demo"
# An installation that root owns: policies that others can write are refused.
$as_root cmake --install build/release --prefix "$demo/usr" >/dev/null
$as_root sh -eu packaging/quickstart-demo.sh "$demo"
