#!/bin/sh
# Measures what the agent's answer to a notified call costs, against plain C loops.
#
#   bench/run-agent.sh [roundtrip|throughput|designs|fairness|all] [ROUNDS]      default: all, 60
#
# Everything is measured in turns within one run; what is printed is medians. Exit status 0: all within their
# bounds (docs/performance.md). Needs root.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || exec sudo "$0" "$@"
packaging/deps.sh build
cmake --preset bench >/dev/null
cmake --build --preset bench --target agent-bench >/dev/null
what=${1:-all}
[ "$what" = all ] && what="roundtrip throughput designs fairness"
missed=0
for one in $what; do
  build/bench/bench/agent-bench "$one" "${2:-60}" || missed=$?
done
exit "$missed"
