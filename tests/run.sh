#!/usr/bin/env bash
# Builds and runs the tests, and says in one summary what passed, what failed and what was skipped and why.
#
#   tests/run.sh [all|check|unit|tsan|integration|e2e|fuzz] [REGEX]
#
#   check        formatting, the direction of includes, clang-tidy
#   unit         pure code under ASan and UBSan; needs no root
#   tsan         the agent under the thread sanitizer; with `all` only the tests where threads meet most
#   integration  the real kernel: Landlock, mounts, seccomp; needs root
#   e2e          real runc, crun, podman, docker, containerd; needs root
#   fuzz         each fuzz target for a fixed number of runs over its corpus
#
# REGEX chooses programs or tests by name. Dependencies are installed where they are missing (see
# packaging/deps.sh; LANDGATE_NO_DEPS=1 leaves that out). Exit status 0: nothing failed. Logs: build/test-logs/.
set -uo pipefail

{  # read as a whole before it runs: the file may change meanwhile

cd "$(dirname "$0")/.." || exit 3
level=${1:-all}
regex=${2:-}
case $level in
  all|check|unit|tsan|integration|e2e|fuzz) ;;
  -h|--help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  *) echo "usage: $0 [all|check|unit|tsan|integration|e2e|fuzz] [REGEX]" >&2; exit 2 ;;
esac
wants() { [[ $level == all || $level == "$1" ]]; }

logs=$PWD/build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
results=$logs/results   # lines "PASS|FAIL|SKIP NAME[: reason]"
: > "$results"
jobs=$(nproc)
started=$SECONDS
# The system's own Python: another one on PATH may lack the modules that packages bring.
python=/usr/bin/python3
[[ -x $python ]] || python=python3
# ASan's leak check can't work in a traced or confined child; the other checks stay.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:abort_on_error=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export CCACHE_NOHASHDIR=1

say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }
result() { printf '%s %s\n' "$1" "$2" >> "$results"; printf '%s %s\n' "$1" "$2"; }

# one NAME COMMAND…: a step that passes or fails as a whole
one() {
  local name=$1; shift
  if [[ -n $regex && ! $name =~ $regex && $name != build.* ]]; then return 0; fi
  if "$@" > "$logs/$name.log" 2>&1; then
    result PASS "$name"
  else
    result FAIL "$name"
    tail -n 25 "$logs/$name.log" | sed 's/^/     /'
    return 1
  fi
}

build() { # build PRESET [targets…]
  local preset=$1; shift
  configure_and_build() { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" "$@"; }
  echo "building preset $preset; its output goes to ${logs#"$PWD"/}/build.$preset.log"
  one "build.$preset" configure_and_build "$@"
}

# Without git: a checkout may belong to another user, or have come as a tarball.
files() { find . -path ./build -prune -o -path ./.git -prune -o -type f "$@" -print; }

check_format() { files \( -name '*.cc' -o -name '*.h' \) | xargs clang-format --dry-run -Werror; }
check_shell() { local f; for f in $(files \( -name '*.sh' -o -path ./.ci/run \)); do bash -n "$f" || return 1; done; }
check_tidy() {
  # Bodies of tests are left out: their macros cost most of the time and yield nothing.
  files -name '*.cc' | grep -E '^\./(base|policy|oci-specs|sandbox|node|hook|agent)/' \
    | xargs -P "$jobs" -n 4 clang-tidy --quiet -p build/test 2>&1 | grep -v ' warnings generated\.$'
  return "${PIPESTATUS[2]}"
}

# gtest PROGRAM [PREFIX]: one result a test, from its XML
gtest() {
  local program=$1 name filter=()
  name=${2:-}$(basename "$program")
  if [[ -n $regex && ! $name =~ $regex ]]; then filter=(--gtest_filter="*$regex*"); fi
  (cd "$logs" && timeout 600 "$program" "${filter[@]}" --gtest_output="xml:$logs/$name.xml") \
    > "$logs/$name.log" 2>&1
  "$python" tests/gtest_results.py "$name" $? "$logs/$name.xml" | tee -a "$results" | grep -v '^PASS' \
    | sed -e "s|^FAIL.*|&   (see $logs/$name.log)|"
  local passed
  passed=$(grep -c "^PASS $name\." "$results")
  [[ $passed -eq 0 ]] || echo "PASS $name ($passed tests)"
}

# Reports end a program: the agent itself, which tests kill, has no other way to tell. Tests fork while
# threads are there, and their children start threads.
under_tsan() {
  local program script name
  export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:exitcode=66:die_after_fork=0}
  if [[ $level == all ]]; then
    local threaded=(unit_agent_once_table_test integration_agent_{helper_pool,holder,listener}_test)
    build tsan --target "${threaded[@]}" || return
    for name in "${threaded[@]}"; do gtest "$PWD/build/tsan/tests/$name" tsan.; done
    return
  fi
  build tsan --target agent_tests || return
  for program in build/tsan/tests/{unit,integration}_agent_*_test; do gtest "$PWD/$program" tsan.; done
  for script in tests/integration/agent/*_test.py; do
    name=${script#tests/integration/}
    LANDGATE_BIN_DIR=$PWD/build/tsan/bin one "tsan.integration.${name//\//.}" "$python" -B "$script"
  done
}

if [[ $(id -u) -ne 0 ]] && { wants integration || wants e2e; }; then
  echo "not root: tests that need root will be skipped or fail; use sudo $0" >&2
fi

if [[ -z ${LANDGATE_NO_DEPS:-} ]]; then
  say "dependencies"
  packaging/deps.sh all || exit 3
fi

if wants check; then
  say "checks"
  one check.format check_format
  one check.include-direction "$python" cmake/include_direction.py .
  one check.shell check_shell
fi

if wants unit; then
  say "unit tests (ASan, UBSan)"
  if build debug --target unit_tests; then
    for program in build/debug/tests/unit_*; do gtest "$PWD/$program"; done
  fi
fi

if wants tsan; then
  say "the agent's threads (TSan)"
  (under_tsan)
fi

if wants integration || wants e2e || wants check; then
  say "programs and tests as released"
  build test && built=yes
fi

if wants integration && [[ ${built:-} ]]; then
  say "integration tests"
  for program in build/test/tests/integration_*; do
    gtest "$PWD/$program"
  done
  for script in tests/integration/*/*_test.py; do
    name=${script#tests/integration/}
    LANDGATE_BIN_DIR=$PWD/build/test/bin one "integration.${name//\//.}" "$python" -B "$script"
  done
fi

if wants e2e && [[ ${built:-} ]]; then
  say "end-to-end tests"
  "$python" tests/e2e/run.py --build build/test --logs "$logs/e2e" "$regex" 2>&1 | tee "$logs/e2e.log"
  grep -E '^(PASS|FAIL|SKIP) ' "$logs/e2e.log" | sed -E 's/ \([0-9.]+ s\)$//' >> "$results"
  grep -qE '^e2e: [0-9]+ passed' "$logs/e2e.log" || result FAIL "e2e.run (the runner itself failed: $logs/e2e.log)"
fi

if wants fuzz; then
  say "fuzzing"
  if build fuzz; then
    for target in build/fuzz/fuzz/*_fuzz; do
      [[ -x $target ]] || continue
      name=$(basename "$target")
      mkdir -p "$logs/$name"
      corpus=tests/fuzz/corpus/$name
      [[ -d $corpus ]] || corpus=
      # A fixed count, so that two runs do the same; new inputs go to the logs, not to the stored corpus.
      # shellcheck disable=SC2086
      one "fuzz.$name" "$target" -runs=20000 -seed=1 -max_total_time=60 -rss_limit_mb=2048 -timeout=10 \
        -artifact_prefix="$logs/$name-" "$logs/$name" $corpus
    done
  fi
fi

if wants check && [[ ${built:-} ]]; then
  say "clang-tidy"
  one check.clang-tidy check_tidy
fi

say "summary"
"$python" - "$results" <<'PYTHON'
import collections, sys
lines = [line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1], errors="replace") if line.strip()]
count = collections.Counter(kind for kind, _ in lines)
skipped = collections.defaultdict(list)
for kind, rest in lines:
    if kind == "SKIP":
        name, _, reason = rest.partition(": ")
        skipped[reason or "no reason given"].append(name)
for reason, names in skipped.items():
    print(f"skipped: {reason}: {', '.join(names[:6])}{' …' if len(names) > 6 else ''}")
for kind, rest in lines:
    if kind == "FAIL":
        print("failed:", rest)
if not lines:
    print("failed: nothing ran (does the expression match anything?)")
print(f"{count['PASS']} passed, {count['FAIL']} failed, {count['SKIP']} skipped")
sys.exit(1 if count["FAIL"] or not count["PASS"] + count["SKIP"] else 0)
PYTHON
exit
}
