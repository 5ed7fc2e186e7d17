"""prestart alone: a config.json that nobody patched, with our hook in hooks.prestart or hooks.createRuntime. The
launcher stands on the entrypoint until the agent takes it off."""
import os
import pathlib
import shutil
import socket
import struct
import subprocess

from harness import log
from harness.agent import Agent
from harness.answers import Answers, check
from harness.bundle import DEFAULT_CAPABILITIES
from harness.case import Case
from harness.policies import DATA, allow, deny, deny_file, policy

RUN = allow("read execute", "/data/bin")
POLICY = policy(DATA, RUN, deny_file("/data/secret.txt"), deny("all", "/sys/kernel"))
CONFINED = [
    ("read /data/open/file", "ok"),
    ("read /srv/outside", "EACCES"),
    ("read /data/secret.txt", "EACCES"),
    ("write /etc/passwd", "EACCES"),
    ("status NoNewPrivs", "ok", "1"),
    ("mount none /tmp tmpfs", "EPERM"),
]
RUNTIMES = ("runc", "crun")
# user::rwx user:1000:r-x group::--- mask::r-x other::---
ACL_FOR_1000 = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, user)
    for tag, rights, user in ((1, 7, 0xffffffff), (2, 5, 1000), (4, 0, 0xffffffff), (0x10, 5, 0xffffffff),
                              (0x20, 0, 0xffffffff)))


class PureCase(Case):
    def setUp(self):
        self.agents_node = self.node()
        self.agent = Agent(self.agents_node).start()
        self.addCleanup(self.agent.stop)

    def hooks(self, stage="prestart"):
        hook = str(self.agents_node.stage.bin("landgate-hook"))
        flags = ["--config", str(self.agents_node.config_file)]
        return {stage: [{"path": hook, "args": ["landgate-hook", stage, *flags]}],
                "poststop": [{"path": hook, "args": ["landgate-hook", "poststop", *flags]}]}

    def pure(self, document=POLICY, stage="prestart", edit=lambda config: None, **options):
        def with_hooks(config):
            config["hooks"] = self.hooks(stage)
            edit(config)
        return self.container(document, how="plain", node=self.agents_node, edit=with_hooks, **options)

    def output(self, container, *args, status=0):
        container.bundle.config["process"]["args"] = list(args)
        container.bundle.write()
        ended = container.run()
        self.assertEqual(ended.status, status, ended)
        return ended.out

    def refused(self, container, *words):
        ended = container.run()
        self.assertNotEqual(ended.status, 0, ended)
        for word in words:
            self.assertIn(word, ended.err + ended.out)
        self.assertEqual(self.agents_node.containers(), [])
        self.assertEqual(self.agent.containers(), [])


class Confined(PureCase):
    label = "confined"

    def test_by_both_hooks_and_runtimes(self):
        for runtime in RUNTIMES:
            for stage in ("prestart", "createRuntime"):
                with self.subTest(runtime=runtime, stage=stage):
                    container = self.pure(runtime=runtime, stage=stage)
                    container.bundle.probe(*[operation for operation, *_ in CONFINED])
                    ended = container.run()
                    check(self, Answers(ended.out), CONFINED, ended)
                    self.assertEqual(self.agents_node.containers(), [])

    def test_without_a_policy_nothing_happens(self):
        container = self.pure(None)
        container.bundle.probe("read /srv/outside", "status NoNewPrivs")
        ended = container.run()
        check(self, Answers(ended.out), [("read /srv/outside", "ok"), ("status NoNewPrivs", "ok", "0")], ended)

    def test_users_and_user_namespaces(self):
        def mapped(config):
            config["linux"]["namespaces"].append({"type": "user"})
            config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
            config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.pure(runtime=runtime, uid=1000)
                container.bundle.probe("read /data/open/file", "read /srv/outside", "status Uid")
                ended = container.run()
                check(self, Answers(ended.out), [("read /data/open/file", "ok"), ("read /srv/outside", "EACCES"),
                                                 ("status Uid", "ok", "1000")], ended)
                container = self.pure(runtime=runtime, edit=mapped)
                log.must(["chown", "-R", "200000:200000", container.bundle.root])
                container.bundle.probe("read /data/open/file", "read /srv/outside", "read /data/secret.txt")
                ended = container.run()
                check(self, Answers(ended.out), [("read /data/open/file", "ok"), ("read /srv/outside", "EACCES"),
                                                 ("read /data/secret.txt", "EACCES")], ended)

    def test_a_read_only_root(self):
        def read_only(config):
            config["root"]["readonly"] = True
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.pure(runtime=runtime, edit=read_only)
                container.bundle.probe("read /data/open/file", "read /srv/outside")
                ended = container.run()
                check(self, Answers(ended.out), [("read /data/open/file", "ok"), ("read /srv/outside", "EACCES")],
                      ended)

    def test_what_the_kernel_shows(self):
        """Denies under /proc and /sys, which a patched config.json has in maskedPaths."""
        container = self.pure()
        self.assertEqual(self.output(container, "sh", "-c", "ls /sys/kernel; ls -d /sys/fs"), "/sys/fs\n")

    def test_an_engines_profile(self):
        def engines(config):
            config["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
        container = self.pure(edit=engines)
        container.bundle.probe("read /data/open/file", "read /srv/outside")
        ended = container.run()
        check(self, Answers(ended.out), [("read /data/open/file", "ok"), ("read /srv/outside", "EACCES")], ended)

    def test_audit_mode(self):
        # Without CAP_SYS_ADMIN the kernel wants no_new_privs for the listener.
        for capabilities, value in ((None, "1"), ([*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"], "0")):
            container = self.pure(annotations={"io.landgate.mode": "audit"}, capabilities=capabilities)
            container.bundle.probe("read /srv/outside", "status NoNewPrivs")
            ended = container.run()
            check(self, Answers(ended.out), [("read /srv/outside", "ok"), ("status NoNewPrivs", "ok", value)],
                  ended)
        self.agent.audited(event="access", path="/srv/outside", verdict="audit")


class Entrypoints(PureCase):
    """The program under its own name, with its own arguments, and the launcher nowhere."""
    label = "entrypoints"

    def test_how_a_program_can_be_named(self):
        for runtime in RUNTIMES:
            container = self.pure(runtime=runtime)
            root = pathlib.Path(container.bundle.root)
            script = root / "data/bin/script"
            script.write_text("#!/bin/sh\necho \"$0 $*\"\n")
            script.chmod(0o755)
            shutil.copy(script, root / "data/bin/sh-named-like-a-flag")
            for args, expected in (
                    (["sh", "-c", "echo path"], "path\n"),
                    (["/bin/sh", "-c", "echo absolute"], "absolute\n"),
                    (["bin/sh", "-c", "echo relative"], "relative\n"),
                    (["./bin/../bin/busybox", "echo", "dots"], "dots\n"),
                    (["echo", "start", "--version"], "start --version\n"),
                    (["/data/bin/script", "a b", "c"], "/data/bin/script a b c\n")):
                with self.subTest(runtime=runtime, args=args):
                    self.assertEqual(self.output(container, *args), expected)

    def test_the_launcher_is_gone_and_the_host_saw_nothing(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                before = pathlib.Path("/proc/self/mountinfo").read_text()
                container = self.pure(policy(DATA, allow("read", "/proc", "/dev")), runtime=runtime)
                out = self.output(container, "sh", "-c", "cat /proc/self/mountinfo; readlink /proc/self/exe; "
                                  "cat /bin/busybox | head -c 4; env")
                self.assertNotIn("landgate-init", out)
                self.assertNotIn("lg.sock", out)
                self.assertIn("lg.plan", out)
                self.assertIn("/bin/busybox\n\x7fELF", out)
                self.assertNotIn("LANDGATE", out)
                self.assertEqual(pathlib.Path("/proc/self/mountinfo").read_text(), before)

    def test_exit_status_and_signals(self):
        container = self.pure()
        self.output(container, "sh", "-c", "exit 42", status=42)
        self.assertEqual(self.output(container, "sh", "-c", "sh -c 'kill -TERM $$'; echo $?"), "143\n")
        container.bundle.config["process"]["args"] = ["/data/bin/missing"]
        container.bundle.write()
        self.refused(container, "/data/bin/missing")

    def test_a_program_that_the_policy_does_not_let_execute(self):
        container = self.pure(policy(DATA))
        container.bundle.config["process"]["args"] = ["/data/bin/tool", "read /data/open/file"]
        container.bundle.write()
        ended = container.run()
        self.assertEqual(ended.status, 126, ended)
        self.assertIn("the policy must grant", ended.err)


class Refused(PureCase):
    """With the config patch named as the way."""
    label = "refused"
    way = "landgate-hook inject"

    def test_a_shared_volume(self):
        volume = self.agents_node.stage.directory("shared")
        shutil.copytree(self.agents_node.stage.template / "bin", volume / "bin", symlinks=True)
        log.must(["mount", "--bind", volume, volume])
        self.addCleanup(log.run, ["umount", "-l", volume])
        log.must(["mount", "--make-shared", volume])
        before = pathlib.Path("/proc/self/mountinfo").read_text()

        def edit(config):
            config["mounts"].append({"destination": "/vol", "source": str(volume), "type": "bind",
                                     "options": ["rbind", "rshared"]})
            config["linux"]["rootfsPropagation"] = "shared"
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.pure(policy(DATA, allow("read execute", "/vol")), edit=edit, runtime=runtime)
                container.bundle.config["process"]["args"] = ["/vol/bin/busybox", "true"]
                container.bundle.write()
                self.refused(container, "volume", self.way)
                self.assertEqual(pathlib.Path("/proc/self/mountinfo").read_text(), before)

    def test_a_volume(self):
        """Whoever has it elsewhere could replace the program between hook and start."""
        volume = self.agents_node.stage.directory("volume")
        shutil.copy(self.agents_node.stage.template / "bin/busybox", volume / "run")
        for path, args in (("/bin", ["/vol/run", "true"]), ("/bin:/vol", ["run"]), ("/vol:/bin", ["sh"])):
            def edit(config, path=path):
                config["mounts"].append({"destination": "/vol", "source": str(volume), "type": "bind",
                                         "options": ["rbind", "ro"]})
                config["process"]["env"][0] = f"PATH={path}"
            for runtime in RUNTIMES:
                with self.subTest(runtime=runtime, path=path):
                    container = self.pure(policy(DATA, allow("read execute", "/vol")), edit=edit, runtime=runtime)
                    container.bundle.config["process"]["args"] = args
                    container.bundle.write()
                    self.refused(container, "volume", "run unconfined", self.way)

    def test_start_container_hooks(self):
        def edit(config):
            config["hooks"]["startContainer"] = [{"path": "/bin/busybox", "args": ["touch", "/tmp/ran"]}]
        self.refused(self.pure(edit=edit), "startContainer", self.way)

    def test_another_listener(self):
        def edit(config):
            config["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/somebody.sock",
                "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}]}
        self.refused(self.pure(edit=edit))

    def test_a_profile_that_denies_the_launcher(self):
        def edit(config):
            config["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["landlock_restrict_self"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
        self.refused(self.pure(edit=edit), "landlock_restrict_self", self.way)

    def test_confined_exec_sessions(self):
        self.refused(self.pure({**POLICY, "execSessions": "confined"}), "/execSessions", self.way)

    def test_without_an_agent(self):
        self.agent.stop()
        container = self.pure()
        ended = container.run()
        self.assertNotEqual(ended.status, 0, ended)
        self.assertIn("no agent answers", ended.err)
        self.assertEqual(self.agents_node.containers(), [])
        self.agent.start()


class Hostile(PureCase):
    label = "hostile"

    def test_an_entrypoint_that_slips_through_is_killed(self):
        """Somebody on the host puts a program into PATH, in front of what the hook has covered."""
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                def edit(config):
                    config["process"]["env"][0] = "PATH=/data/bin:/bin"
                container = self.pure(policy(allow("read execute", "/")), edit=edit, runtime=runtime)
                hook = {"path": "/bin/cp", "args": ["cp", "/bin/busybox",
                                                    str(container.bundle.root / "data/bin/sleep")]}
                container.bundle.config["hooks"]["prestart"].append(hook)
                container.bundle.config["process"]["args"] = ["sleep", "30"]
                container.bundle.write()
                ended = container.run()
                self.assertEqual(ended.status, 137, ended)
                self.agent.audited(event="access", verdict="deny", container=container.id)

    def test_programs_of_the_image_that_only_this_user_may_execute(self):
        """By an access control list, or by a capability: covered as well."""
        def by_list(config):
            config["process"]["env"][0] = "PATH=/first:/bin"

        def by_capability(config):
            by_list(config)
            config["process"]["capabilities"] = {
                name: ["CAP_DAC_OVERRIDE"]
                for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
        for runtime in RUNTIMES:
            for edit in (by_list, by_capability):
                with self.subTest(runtime=runtime, edit=edit.__name__):
                    container = self.pure(policy(DATA, allow("read execute", "/first")), runtime=runtime, uid=1000,
                                          edit=edit)
                    root = pathlib.Path(container.bundle.root)
                    (root / "first").mkdir()
                    (root / "srv/anybodys").mkdir()
                    (root / "srv/anybodys").chmod(0o777)
                    shutil.copy(root / "bin/busybox", root / "first/sh")
                    (root / "first/sh").chmod(0o700)
                    if edit is by_list:
                        os.setxattr(root / "first/sh", "system.posix_acl_access", ACL_FOR_1000)
                    container.bundle.config["process"]["args"] = [
                        "sh", "-c", "echo > /srv/anybodys/escaped; while :; do sleep 0; done & read -t 1 x; exit 0"]
                    container.bundle.write()
                    ended = container.run()
                    self.assertEqual(ended.status, 0, ended)
                    self.assertIn("/srv/anybodys/escaped: Permission denied", ended.err)
                    self.assertEqual(list((root / "srv/anybodys").iterdir()), [])
                    self.assertEqual(self.agent.audit(event="access", verdict="deny"), [])

    def create(self, container, *args):
        """runc create: the container's process keeps the standard streams open."""
        container.bundle.config["process"]["args"] = list(args)
        container.bundle.write()
        self.addCleanup(container.delete)
        subprocess.run([str(word) for word in container.argv("create", "--bundle", container.bundle.directory,
                                                             container.id)],
                       env=container.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=30, check=True)

    def test_the_agent_is_killed_while_a_container_waits_to_start(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.pure(runtime=runtime)
                self.create(container, "sh", "-c", "cat /srv/outside /data/open/file > /data/open/out 2>&1; "
                                                   "mv /data/open/out /data/open/done")
                self.agent.kill()
                self.assertEqual(log.run(container.argv("start", container.id)).status, 0)
                self.agent.start()
                done = pathlib.Path(container.bundle.root) / "data/open/done"
                log.until(done.exists, "the program ran to its end")
                text = done.read_text()
                self.assertIn("/srv/outside': Permission denied", text)
                self.assertIn("open\n", text)
                log.until(lambda: self.agent.containers() == [], "the container ended")

    def test_what_slipped_through_while_there_was_no_agent_is_killed(self):
        """The successor knows what the runtime's own program was."""
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.pure(policy(allow("read execute", "/")), runtime=runtime)
                program = pathlib.Path(container.bundle.root) / "data/bin/program"
                shutil.copy(container.bundle.root / "bin/busybox", program.with_name("sh"))
                program.write_text("#!/data/bin/sh\nexit 0\n")
                program.chmod(0o755)
                self.create(container, "/data/bin/program")
                self.agent.kill()
                other = program.with_name("other")
                other.write_text("#!/data/bin/sh\nwhile :; do sleep 1; done\n")
                other.chmod(0o755)
                other.rename(program)  # and the launcher goes with what it stood on
                self.assertEqual(log.run(container.argv("start", container.id)).status, 0)
                log.until(lambda: '"running"' in log.run(container.argv("state", container.id)).out, "it runs")
                self.agent.start()
                self.agent.audited(event="access", verdict="deny", container=container.id)
                log.until(lambda: self.agent.containers() == [], "the container ended")

    def test_the_socket_answers_nobody_else(self):
        container = self.pure()
        self.create(container, "true")
        path = pathlib.Path(self.agents_node.run_dir) / "containers" / container.id / "launcher.sock"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            answer = connection.recv(4096)
        self.assertNotIn(b"ready", answer)
        # Nor did it take the launcher's place from the launcher.
        self.assertEqual(log.run(container.argv("start", container.id)).status, 0)
        log.until(lambda: self.agent.containers() == [], "the container ended")
        self.assertEqual(self.agent.audit(event="access", verdict="deny"), [])
