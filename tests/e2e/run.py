#!/usr/bin/env python3
"""Runs the end-to-end tests: real engines, real kernel, the installed programs.

  run.py --build DIR [--logs DIR] [REGEX]

One line a test, `PASS name (seconds)`, `FAIL name` or `SKIP name: reason`, and a log of every command of a
test beneath --logs. Needs root. The tests run in a mount namespace of their own; where the machine has
hybrid cgroups, it has no unified tree in it, because crun refuses such machines.
"""
import argparse
import contextlib
import ctypes
import importlib.util
import os
import pathlib
import re
import signal
import sys
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from harness import log, stage  # noqa: E402


def private_mounts():
    libc = ctypes.CDLL(None, use_errno=True)
    CLONE_NEWNS, MS_REC, MS_SLAVE, MNT_DETACH = 0x20000, 0x4000, 1 << 19, 2
    if libc.unshare(CLONE_NEWNS) != 0:
        sys.exit(f"e2e: unshare: {os.strerror(ctypes.get_errno())}; run as root")
    libc.mount(None, b"/", None, MS_REC | MS_SLAVE, None)
    if os.path.ismount("/sys/fs/cgroup/unified"):
        libc.umount2(b"/sys/fs/cgroup/unified", MNT_DETACH)


def name_of(test):
    parts = test.id().split(".")  # MODULE.CLASS.METHOD
    parts[0] = parts[0].removeprefix("test_")
    parts[-1] = parts[-1].removeprefix("test_")
    if len(parts) == 3:
        parts[1] = getattr(type(test), "label", parts[1])
    return ".".join(part for part in parts if part)


class Lines(unittest.TestResult):
    """One line a test."""

    def __init__(self, logs):
        super().__init__()
        self.logs = logs
        self.counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.bad = None
        self.reason = None
        log.open_log(self.logs / f"{name_of(test)}.log")

    def stopTest(self, test):
        super().stopTest(test)
        seconds = time.monotonic() - self.began
        kind = "FAIL" if self.bad else "SKIP" if self.reason else "PASS"
        self.line(kind, name_of(test), f": {self.reason}" if kind == "SKIP" else f" ({seconds:.2f} s)",
                  self.bad)
        log.open_log(None)

    def line(self, kind, name, tail, detail=None):
        self.counts[kind] += 1
        print(f"{kind} e2e.{name}{tail}", flush=True)
        if detail:
            log.note(detail)
            lines = detail.rstrip().splitlines()
            shown = lines if len(lines) <= 40 else lines[:30] + ["…"] + lines[-9:]
            print("\n".join("     " + line for line in shown), flush=True)

    def _failed(self, test, error):
        kind, value, trace = error
        if issubclass(kind, AssertionError):
            detail = str(value)
        else:
            detail = "".join(traceback.format_exception(kind, value, trace))
        if isinstance(test, unittest.TestCase) and hasattr(self, "began") and "." in test.id() \
                and not type(test).__name__ == "_ErrorHolder":
            self.bad = (self.bad + "\n" if self.bad else "") + detail
        else:  # setUpClass or a module that can't be loaded
            self.line("FAIL", str(test), "", detail)

    def addError(self, test, err):
        super().addError(test, err)
        self._failed(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._failed(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(test, (err[0], f"{subtest._subDescription()} {err[1]}", err[2])
                         if issubclass(err[0], AssertionError) else err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if type(test).__name__ == "_ErrorHolder":
            self.line("SKIP", str(test), f": {reason}")
        else:
            self.reason = reason


def running(scratch):
    """(pid, command line) of every process that runs a program of this test run."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(f"{entry.path}/exe").startswith(f"{scratch}/"):
                words = pathlib.Path(entry.path, "cmdline").read_bytes().split(b"\0")
                found.append((int(entry.name), b" ".join(words).decode(errors="replace").strip()))
        except OSError:
            continue  # it has ended, or is the kernel's
    return found


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def load(regex):
    loader = unittest.TestLoader()
    chosen = unittest.TestSuite()
    for path in sorted(HERE.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        for test in flatten(loader.loadTestsFromModule(module)):
            if re.search(regex, name_of(test)):
                chosen.addTest(test)
    return chosen


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--build", required=True, help="build directory: bin/ and tests/probe are in it")
    arguments.add_argument("--logs", help="directory for one log a test (default: BUILD/e2e-logs)")
    arguments.add_argument("--list", action="store_true", help="only print the names")
    arguments.add_argument("regex", nargs="?", default="", help="only tests whose name matches")
    given = arguments.parse_args()
    build = pathlib.Path(given.build).resolve()
    logs = pathlib.Path(given.logs).resolve() if given.logs else build / "e2e-logs"
    logs.mkdir(parents=True, exist_ok=True)
    if given.list:
        print("\n".join(name_of(test) for test in load(given.regex)))
        return 0
    if os.geteuid() != 0:
        sys.exit("e2e: needs root: containers, mounts and several engines are started")
    if not (build / "tests" / "probe").exists():
        sys.exit(f"e2e: {build}/tests/probe is missing: build the preset \"test\" first")
    os.umask(0o022)
    private_mounts()
    stage.current = stage.Stage(build)
    result = Lines(logs)
    try:
        load(given.regex).run(result)
        with contextlib.suppress(AssertionError):
            log.until(lambda: not running(stage.current.scratch), "what was ended has ended", 5)
    finally:
        left = running(stage.current.scratch)
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        stage.current.remove()
    if left:
        result.line("FAIL", "run.nothing_is_left", "", "\n".join(f"still running: {pid} {words}" for pid, words in left))
    print(f"e2e: {result.counts['PASS']} passed, {result.counts['FAIL']} failed, "
          f"{result.counts['SKIP']} skipped", flush=True)
    return 1 if result.counts["FAIL"] or not result.wasSuccessful() else 0


if __name__ == "__main__":
    sys.exit(main())
