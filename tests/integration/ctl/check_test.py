"""landgatectl check: what works is found to work, and each obstacle is named with its remedy."""

import collections
import ctypes
import os
import pty
import shutil
import struct
import subprocess
import unittest

import landgatectl
from landgatectl import BIN, CtlTest

LANDLOCK_CREATE_RULESET = 444
LAUNCHER = BIN / "landgate-init"


def deny_landlock():
    """In the child before its exec: a filter that answers EPERM to landlock_create_ruleset."""
    def instruction(code, true, false, value):
        return struct.pack("HBBI", code, true, false, value)
    program = (instruction(0x20, 0, 0, 0) +                           # A = number
               instruction(0x15, 0, 1, LANDLOCK_CREATE_RULESET) +     # if not equal skip one
               instruction(0x06, 0, 0, 0x00050000 | 1) +              # ERRNO(EPERM)
               instruction(0x06, 0, 0, 0x7fff0000))                   # ALLOW
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.addressof(header), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")


class Check(CtlTest):
    def check(self, environment=None):
        """The items by id. The answer and the exit status must agree."""
        result = self.ctl("check", "--json", environment=environment)
        return self.parse(result)

    def parse(self, result):
        import json
        self.assertEqual(result.stderr, "")
        report = json.loads(result.stdout)
        self.assertEqual(report["exitStatus"], result.returncode)
        self.assertEqual(report["ok"], result.returncode == 0)
        items = [item for section in report["sections"] for item in section["items"]]
        twice = [i for i, n in collections.Counter(item["id"] for item in items).items() if n > 1]
        self.assertEqual(twice, [])
        for item in items:
            if item["state"] in ("missing", "misconfigured"):
                self.assertIn("remedy", item, item)
        states = {item["state"] for item in items}
        expected = 3 if "missing" in states else 1 if "misconfigured" in states else 0
        self.assertEqual(report["exitStatus"], expected)
        return {item["id"]: item for item in items}

    def assert_state(self, items, name, state, words=""):
        self.assertEqual(items[name]["state"], state, items[name])
        self.assertIn(words, items[name]["detail"] + items[name].get("remedy", ""))

    def test_landlock_is_what_the_kernel_says(self):
        abi = ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
        items = self.check()
        if abi < 1:
            self.assert_state(items, "landlock", "missing")
            return
        self.assert_state(items, "landlock", "ok", "tried")
        self.assertEqual(items["landlock"]["data"]["abi"], abi)
        for right in items["landlock.rights"]["data"]:
            self.assertEqual(right["available"], right["abi"] <= abi, right)

    def test_a_filter_around_us_is_named_as_the_obstacle(self):
        result = subprocess.run(
            [landgatectl.PROGRAM, "--config", self.config, "check", "--json"],
            preexec_fn=deny_landlock, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 3)
        items = self.parse(result)
        self.assert_state(items, "landlock", "missing", "seccomp filter")
        self.assert_state(items, "seccomp.around", "warning")
        self.assert_state(items, "seccomp.filter", "ok")  # one more can still be stacked

    def test_nothing_stays_behind(self):
        temporary = self.scratch / "tmp"
        temporary.mkdir()
        self.check({"TMPDIR": str(temporary)})
        self.assertEqual(list(temporary.iterdir()), [])
        self.assertFalse((self.scratch / "run").exists())

    def test_a_broken_configuration(self):
        self.config.write_text('{"policyDirz": []}')
        self.assert_state(self.check(), "config", "misconfigured", "/policyDirz")

    def test_launchers_that_can_not_be_used(self):
        self.write_config(initPath="/nonexistent/landgate-init")
        self.assert_state(self.check(), "launcher", "missing", "initPath")
        copy = self.scratch / "landgate-init"
        shutil.copy(LAUNCHER, copy)
        self.write_config(initPath=str(copy))
        for mode, state in [(0o711, "ok"), (0o700, "misconfigured"), (0o777, "misconfigured")]:
            copy.chmod(mode)
            self.assert_state(self.check(), "launcher", state, f"{mode:04o}")
        copy.write_text("#!/bin/sh\necho landgate-init 0.0.1\n")
        copy.chmod(0o711 | 0o444)
        self.assert_state(self.check(), "launcher", "misconfigured", "0.0.1")

    def test_policies(self):
        good = {"landgate": 1, "paths": [{"allow": ["read", "execute"], "beneath": ["/usr"]}]}
        self.policy("good", good)
        items = self.check()
        self.assert_state(items, "policies", "ok", "1 of 1")
        self.assert_state(items, f"policies.{self.policies}", "ok")
        self.policy("bad", {"landgate": 1, "pahts": []})
        self.write_config(defaultPolicy="nope", rules=[{"policy": "bad"}])
        items = self.check()
        self.assert_state(items, "policy.bad", "misconfigured", "pahts")
        self.assert_state(items, "config/defaultPolicy", "misconfigured", "nope")
        self.assert_state(items, "config/rules/0/policy", "misconfigured", "pahts")
        self.policies.chmod(0o777)
        self.assert_state(self.check(), f"policies.{self.policies}", "misconfigured", "chmod go-w")

    def test_run_directories(self):
        self.assert_state(self.check(), "run.directory", "ok")
        (self.scratch / "run").write_text("")
        self.assert_state(self.check(), "run.directory", "misconfigured", "not a directory")
        (self.scratch / "run").unlink()
        (self.scratch / "run").mkdir()
        (self.scratch / "run").chmod(0o777)
        self.assert_state(self.check(), "run.directory", "misconfigured", "chmod go-w")

    def runtime(self, script):
        path = self.scratch / "runtime"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        self.write_config(runtime=str(path))
        return self.check()

    def test_runtimes_that_do_not_work(self):
        self.write_config(runtime="/nonexistent/runtime")
        self.assert_state(self.check(), "runtime.runtime", "misconfigured", "not found")
        items = self.runtime('echo "this one never works" >&2; exit 1\n')
        self.assert_state(items, "runtime.runtime.start", "missing", "this one never works")

    def runc(self):
        runc = shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if runc is None:
            self.skipTest("runc is not installed")
        items = self.check()
        if items["runtime.runc.start"]["state"] != "ok":
            self.skipTest("runc can't start containers here: " + items["runtime.runc.start"]["detail"])
        return runc, items

    def test_a_runtime_that_works(self):
        _, items = self.runc()
        self.assert_state(items, "runtime.runc.listener", "ok", "tried")
        self.assert_state(items, "runtime.runc.floor", "ok", "tried")

    def test_a_runtime_that_ignores_the_listener(self):
        runc, _ = self.runc()
        # It takes linux.seccomp away before runc sees it.
        items = self.runtime(f"""
case " $* " in *" run "*)
  for a in "$@"; do [ "$previous" = --bundle ] && bundle=$a; previous=$a; done
  sed -i 's/"seccomp":/"ignored":/' "$bundle/config.json"
esac
exec {runc} "$@"
""")
        self.assert_state(items, "runtime.runtime.start", "ok")
        self.assert_state(items, "runtime.runtime.listener", "missing", "ignored")

    def test_a_runtime_that_starts_containers_without_their_floor(self):
        runc, _ = self.runc()
        # It drops the hooks and the launcher from the patched configuration.
        items = self.runtime(f"""
case " $* " in *" run "*)
  for a in "$@"; do [ "$previous" = --bundle ] && bundle=$a; previous=$a; done
  sed -i -e 's/"hooks":/"ignored":/' -e 's#"/dev/lg",[[:space:]]*"start",##' "$bundle/config.json"
esac
exec {runc} "$@"
""")
        self.assert_state(items, "runtime.runtime.start", "ok")
        self.assert_state(items, "runtime.runtime.floor", "missing")

    def test_as_an_ordinary_user(self):
        if os.geteuid() != 0:
            self.skipTest("already one")
        identity = {"user": 1000, "group": 1000, "extra_groups": [], "cwd": "/"}
        try:
            subprocess.run([landgatectl.PROGRAM, "--version"], check=True, capture_output=True,
                           **identity)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("the programs lie where an ordinary user can't reach them")
        os.chown(self.scratch, 1000, 1000)
        for path in self.scratch.rglob("*"):
            os.chown(path, 1000, 1000)
        environment = {**os.environ, "HOME": str(self.scratch), "TMPDIR": str(self.scratch),
                       "XDG_RUNTIME_DIR": str(self.scratch)}
        items = self.parse(subprocess.run(
            [landgatectl.PROGRAM, "--config", self.config, "check", "--json"],
            capture_output=True, text=True, timeout=120, check=False, env=environment, **identity))
        self.assert_state(items, "config", "ok")
        self.assert_state(items, "run.directory", "ok")
        self.assertEqual(items["mount.api"]["state"] == "ok",
                         items["user.namespaces"]["state"] == "ok")
        if items.get("runtime.runc.start", {}).get("state") != "ok":
            self.skipTest("runc can't start rootless containers here")
        self.assert_state(items, "runtime.runc.floor", "ok")

    def test_text_and_colour(self):
        text = self.ctl("check").stdout
        self.assertIn("✓", text)
        self.assertNotIn("\x1b", text)
        self.assertIn("\x1b[32m✓", self.on_a_terminal({"TERM": "xterm"}))
        self.assertNotIn("\x1b", self.on_a_terminal({"TERM": "xterm", "NO_COLOR": "1"}))
        self.assertNotIn("\x1b", self.on_a_terminal({"TERM": "dumb"}))

    def on_a_terminal(self, environment):
        main, terminal = pty.openpty()
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LANDGATE_CONFIG")}
        child = subprocess.Popen([landgatectl.PROGRAM, "--config", self.config, "check"],
                                 stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL,
                                 env={**env, **environment})
        os.close(terminal)
        shown = b""
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # EIO: the other side is closed
                break
            if not chunk:
                break
            shown += chunk
        os.close(main)
        child.wait()
        return shown.decode()


if __name__ == "__main__":
    landgatectl.main()
