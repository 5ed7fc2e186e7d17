#!/bin/sh
# Measures what a floor costs: starting a container, patching a config.json, opening a file.
#
#   bench/run.sh [ROUNDS]       default 300; needs root and runc
#
# Every comparison is paired and interleaved within one run, because a virtual machine changes its speed under
# one's hands; what is printed is medians. Exit status 0: all within their bounds (docs/performance.md).
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || exec sudo "$0" "$@"
packaging/deps.sh run
cmake --preset bench >/dev/null
cmake --build --preset bench >/dev/null
exec /usr/bin/python3 bench/measure.py build/bench "${1:-300}"
