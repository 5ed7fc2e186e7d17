#!/bin/sh
# Installs what building and testing need, by package name, on Debian 12 or later.
#
#   packaging/deps.sh [all|build|run]
#
#   build   compiler and libraries
#   run     what `quickstart.sh` runs: runc and busybox
#   all     those, the engines and the tools of the tests (default)
#
# Does nothing where everything is there. As an ordinary user it asks sudo.
set -eu

build="build-essential cmake ninja-build pkg-config python3 git ca-certificates
  libseccomp-dev libcap-dev nlohmann-json3-dev libcli11-dev libfmt-dev libexpected-dev musl-dev
  libspdlog-dev libmicrohttpd-dev prometheus-cpp-dev libsystemd-dev libcurl4-openssl-dev"
run="runc busybox-static"
test="libgtest-dev libgmock-dev librapidcheck-dev ccache clang clang-format clang-tidy libclang-rt-14-dev
  crun podman docker.io containerd uidmap slirp4netns python3-jsonschema"

case "${1:-all}" in
  build) packages="$build" ;;
  run) packages="$build $run" ;;
  all) packages="$build $run $test" ;;
  *) echo "usage: $0 [all|build|run]" >&2; exit 2 ;;
esac

missing() {
  for package in $packages; do
    dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' \
      || printf '%s ' "$package"
  done
}

if ! command -v apt-get >/dev/null; then
  echo "$0: no apt-get here; install the equivalents of: $packages" >&2
  exit 3
fi
wanted=$(missing)
[ -n "$wanted" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "$0: needs root (no sudo here) to install: $wanted" >&2; exit 3; }
  as_root=sudo
fi
echo "installing: $wanted"
# Engines bring services; nothing is to be started by installing them.
quiet="env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 NEEDRESTART_MODE=a"
# One broken source of the machine's many is no reason to stop: what counts is whether the packages install.
$as_root $quiet apt-get update -q >/dev/null 2>&1 || echo "apt-get update reported errors; going on" >&2
output=$(mktemp)
trap 'rm -f "$output"' EXIT
# shellcheck disable=SC2086
if ! $as_root $quiet apt-get install -y -q --no-install-recommends $wanted >"$output" 2>&1; then
  tail -n 30 "$output" >&2
  echo "$0: could not install: $wanted" >&2
  exit 3
fi
left=$(missing)
[ -z "$left" ] || { echo "$0: still missing: $left" >&2; exit 3; }
