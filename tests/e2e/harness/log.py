"""Runs commands, and keeps what each test ran and saw in a log of its own."""
import shlex
import subprocess
import time

_current = None
TIMEOUT = 60  # seconds for any single command: a hang is a failure, not a wait


def open_log(path):
    global _current
    if _current:
        _current.close()
    _current = open(path, "w", errors="replace") if path else None


def note(text):
    if _current:
        _current.write(text.rstrip("\n") + "\n")
        _current.flush()


class Ended:
    """How a command ended."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __str__(self):
        return (f"$ {shlex.join(map(str, self.argv))}\n[exit {self.status}]\n"
                f"{self.out}{'--- stderr' + chr(10) + self.err if self.err else ''}")


def run(argv, *, stdin=None, env=None, cwd=None, timeout=TIMEOUT, **popen):
    argv = [str(word) for word in argv]
    done = subprocess.run(argv, input=stdin, capture_output=True, env=env, cwd=cwd,
                          timeout=timeout, text=True, errors="replace",
                          **({} if stdin is not None else {"stdin": subprocess.DEVNULL}), **popen)
    ended = Ended(argv, done.returncode, done.stdout, done.stderr)
    note(str(ended))
    return ended


def must(argv, **options):
    ended = run(argv, **options)
    if ended.status != 0:
        raise AssertionError(f"this must work and did not:\n{ended}")
    return ended


def until(condition, what, seconds=20):
    """Polls: for things that offer nothing to wait on, such as a daemon's socket."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s: {what}")
