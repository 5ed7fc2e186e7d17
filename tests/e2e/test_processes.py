"""Capabilities, denied system calls, privileges, and what the workload sees of the launcher: nothing."""
import os

from harness import bundle as bundles
from harness import log
from harness.answers import Answers
from harness.case import Case
from harness.policies import DATA, policy

CAPS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NUMBER = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_ADMIN": 21,
          "CAP_SYS_PTRACE": 19, "CAP_DAC_READ_SEARCH": 2}


def mask(*names):
    return f"{sum(1 << NUMBER[name] for name in names):016x}"


def every_set(*names):
    def edit(config):
        config["process"]["capabilities"] = {
            name: list(names) for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    return edit


class Capabilities(Case):
    label = "capabilities"

    def test_keep_intersects_every_set(self):
        keep = {"landgate": 1, "capabilities": {"keep": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN"]}}
        given = ("CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE")
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container = self.container(keep, runtime=runtime, edit=every_set(*given))
                answers = container.answers([f"status {name}" for name in CAPS])
                for name in CAPS:
                    self.assertEqual(answers.value(f"status {name}"),
                                     mask("CAP_CHOWN", "CAP_NET_BIND_SERVICE"), name)

    def test_keep_nothing(self):
        container = self.container({"landgate": 1, "capabilities": {"keep": []}})
        self.expect(container, [*((f"status {name}", "ok", "0" * 16) for name in CAPS),
                                ("chown /data/open/file 1000", "EPERM"),
                                ("kill 1 0", "ok")])

    def test_without_keep_what_the_engine_gave(self):
        answers = self.container({"landgate": 1, "syscalls": {"deny": ["bpf"]}},
                                 edit=every_set("CAP_CHOWN", "CAP_KILL")).answers(["status CapEff"])
        self.assertEqual(answers.value("status CapEff"), mask("CAP_CHOWN", "CAP_KILL"))

    def test_user_namespaces_hand_nothing_out(self):
        rows = ["unshare user", "clone user", "unshare user,mount", "clone user,net"]
        plain = self.container({"landgate": 1, "syscalls": {"deny": ["bpf"]}})
        self.expect(plain, [(op, "ok") for op in rows] + [("clone:clone3 user", "ok")])
        kept = self.container({"landgate": 1, "capabilities": {"keep": []}})
        self.expect(kept, [(op, "EPERM") for op in rows] + [("clone:clone3 user", "ENOSYS|EPERM"),
                                                           ("clone none", "ok"),
                                                           ("thread status Pid", "ok")])

    def test_setuid_binary_gains_nothing(self):
        """no_new_privs stands before the workload is executed, even where it is the setuid program itself."""
        def uids(container):
            tool = container.bundle.root / "bin" / "setuid-probe"
            tool.write_bytes(self.stage.probe.read_bytes())
            os.chmod(tool, 0o4755)
            container.bundle.config["process"]["args"] = ["/bin/setuid-probe", "status Uid"]
            container.bundle.write()
            return Answers(container.run().out).value("status Uid").split()[:2]
        plain = bundles.Container(bundles.Bundle(self.node(), uid=1000), "plain")
        self.assertEqual(uids(plain), ["1000", "0"])
        self.assertEqual(uids(self.container(policy(DATA), uid=1000)), ["1000", "1000"])


class Syscalls(Case):
    label = "syscalls"

    def test_denied(self):
        self.expect(self.container({"landgate": 1, "syscalls": {"deny": ["personality", "keyctl", "getpid"]}}), [
            ("syscall personality 0xffffffff", "EPERM"),
            ("syscall keyctl 0 0", "EPERM"),
            ("syscall getpid", "EPERM"),
            ("fork syscall getpid", "EPERM"),
            ("read /etc/hosts", "ok"),
        ])

    def test_mount_calls_under_every_policy(self):
        capable = [*bundles.DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]
        rows = ["mount none /tmp tmpfs", "bindmount /srv /tmp", "remount /proc", "umount /dev/lg",
                "umount /dev/lg.plan", "umount /proc", "pivot_root /tmp /tmp", "open_tree /srv", "fsopen tmpfs",
                "syscall fsmount -1 0 0", "syscall fspick -100 0 0", "syscall move_mount -1 0 -1 0 0",
                "syscall mount_setattr -1 0 0 0 0", "syscall open_tree_attr -1 0 0 0 0",
                "setns /proc/1/ns/mnt mount", "setns /proc/1/ns/mnt 0", "handle /srv/outside /"]
        container = self.container({"landgate": 1, "scopes": []}, capabilities=capable)
        self.expect(container, [*((op, "EPERM") for op in rows), ("setns /proc/1/ns/net net", "ok")])
        plain = bundles.Container(bundles.Bundle(self.node(), capabilities=capable), "plain")
        answers = plain.answers(["mount none /tmp tmpfs", "open_tree /srv", "fsopen tmpfs"])
        for line in answers.lines:
            self.assertEqual(line["errno"], "ok", f"without a policy this works: {line}")


class Lives(Case):
    """From the launcher's execve to the end of the workload."""
    label = "lives"

    def test_exit_status(self):
        for status in (0, 1, 42, 126, 127, 255):
            container = self.container(policy(DATA))
            container.bundle.probe(f"exit {status}")
            self.assertEqual(container.run().status, status)

    def test_signal_status(self):
        for runtime in ("runc", "crun"):
            container = self.container(policy(DATA), runtime=runtime, args=[
                "/bin/sh", "-c", "/bin/probe 'raise 9'; echo status $?; /bin/probe 'raise 11'; echo status $?"])
            ended = container.run()
            self.assertIn("status 137\n", ended.out.replace("Killed\n", ""), str(ended))
            self.assertIn("status 139", ended.out, str(ended))
        container = self.container(policy(DATA))
        with self.held(container) as running:
            log.must(container.argv("kill", container.id, "KILL"), env=container.environment())
            self.assertEqual(running.wait(), 137)

    def test_signals_reach_the_workload(self):
        container = self.container(policy(DATA))
        with self.held(container) as running:
            log.must(container.argv("kill", container.id, "INT"), env=container.environment())
            self.assertEqual(running.wait(), 0)
            self.assertIn("signal 2", running.out)

    def test_program_not_found(self):
        for args, status in ((["/bin/absent"], 127), (["absent"], 127), (["/etc/passwd"], 126), (["/srv"], 126)):
            container = self.container({"landgate": 1, "syscalls": {"deny": ["bpf"]}}, args=args)
            ended = container.run()
            self.assertEqual(ended.status, status, str(ended))
            self.assertIn(args[0], ended.err)

    def test_path_lookup(self):
        container = self.container(policy(DATA), args=["probe", "read /srv/outside", "read /data/open/file"])
        answers = Answers(container.run().out)
        self.assertEqual(answers.errno("read /srv/outside"), "EACCES")
        self.assertEqual(answers.errno("read /data/open/file"), "ok")

    def test_nothing_of_the_launcher_is_left(self):
        """Descriptors and environment are those that the workload would have had."""
        ops = ["fds", "env", "read /proc/self/cmdline", "status NoNewPrivs"]
        plain = bundles.Container(bundles.Bundle(self.node()), "plain").answers(ops)
        for runtime in ("runc", "crun"):
            confined = self.container({"landgate": 1, "scopes": []}, runtime=runtime).answers(ops)
            self.assertEqual(confined.value("fds").split(), plain.value("fds").split())
            self.assertEqual(sorted(confined.value("env").splitlines()),
                             sorted(plain.value("env").splitlines()))
            self.assertEqual(confined.value(ops[2]), plain.value(ops[2]))
            self.assertEqual(confined.value("status NoNewPrivs"), "1")

    def test_stdin_and_terminal(self):
        container = self.container(policy(DATA), args=["/bin/cat"])
        ended = container.run(stdin="through the launcher\n")
        self.assertEqual(ended.out, "through the launcher\n", str(ended))

    def test_read_only_root(self):
        def read_only(config):
            config["root"]["readonly"] = True
        self.expect(self.container(policy(DATA), edit=read_only),
                    [("read /data/open/file", "ok"), ("create /data/open/new", "EROFS"),
                     ("read /srv/outside", "EACCES")])

    def test_engine_seccomp_profile_is_kept(self):
        def profile(config):
            config["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
                                        "seccomp", "prctl", "capset", "keyctl"],
                              "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                self.expect(self.container(policy(DATA), edit=profile, runtime=runtime), [
                    ("read /srv/outside", "EACCES"),
                    ("syscall keyctl 0 0", "ENOSYS"),
                    ("syscall 444 0 0 1", "ENOSYS|EPERM"),  # opened for the launcher, closed again
                    ("read /data/open/file", "ok"),
                ])

    def test_record_while_it_runs(self):
        container = self.container(policy(DATA))
        with self.held(container):
            self.assertEqual(container.bundle.node.containers(), [container.id])
            names = os.listdir(container.bundle.node.run_dir / "containers" / container.id)
            self.assertIn("floor.json", names)
        self.assertEqual(container.bundle.node.containers(), [])
