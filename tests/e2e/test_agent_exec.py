"""Exec sessions of containers whose hooks patched config.json, with an agent: turned to the launcher, and
exactly what was asked for. Each is compared with what the same runtime does without us."""
import json
import os
import pty
import random
import re
import subprocess
import threading

from harness import engines, log, stage
from harness.agent import Agent
from harness.answers import Answers, check
from harness.bundle import DEFAULT_CAPABILITIES
from harness.case import Case
from harness.policies import DATA, allow, deny, deny_file, policy

RUN = allow("read execute", "/data/bin")
POLICY = policy(DATA, RUN, deny_file("/data/secret.txt"))
CONFINED = [
    ("read /data/open/file", "ok"),
    ("read /srv/outside", "EACCES"),
    ("read /data/secret.txt", "EACCES"),
    ("write /etc/passwd", "EACCES"),
    ("status NoNewPrivs", "ok", "1"),
    ("mount none /tmp tmpfs", "EPERM"),
]
CAPABLE = [*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]
RUNTIMES = ("runc", "crun")
# Of the agent, while sessions are started. More for a soak: LANDGATE_E2E_KILLS=1000.
KILLS = int(os.environ.get("LANDGATE_E2E_KILLS", "25"))


class AgentCase(Case):
    def setUp(self):
        self.agents_node = self.node()
        self.agent = Agent(self.agents_node).start()
        self.addCleanup(self.agent.stop)

    def injected(self, document=POLICY, **options):
        return self.container(document, how="inject", node=self.agents_node, **options)

    def settled(self, container):
        """Nothing is left of sessions that have ended."""
        log.until(lambda: [entry["listeners"] for entry in self.agent.containers()
                           if entry["id"] == container.id] == [1], "only the container's own listener is left")

    def process(self, container, **fields):
        """runc exec --process with a document of its own."""
        document = dict(container.bundle.config["process"])
        document.update(fields)
        path = container.bundle.directory / "process.json"
        path.write_text(json.dumps(document))
        return log.run(container.argv("exec", "--process", path, container.id), env=container.environment())


class Confined(AgentCase):
    label = "confined"

    def test_by_every_runtime(self):
        for runtime in RUNTIMES:
            for no_new_privileges in (False, True):
                with self.subTest(runtime=runtime, noNewPrivileges=no_new_privileges):
                    def edit(config, value=no_new_privileges):
                        config["process"]["noNewPrivileges"] = value
                    container = self.injected(runtime=runtime, edit=edit)
                    with self.held(container, "read /srv/outside") as running:
                        self.assertEqual(Answers(running.out).errno("read /srv/outside"), "EACCES")
                        self.expect_exec(container, CONFINED)
                        self.expect_exec(container, [*CONFINED[:3], ("status Uid", "ok", "1000")],
                                         flags=["--user", "1000:1000"])
                        self.expect_exec(container, CONFINED[:3], flags=["--cwd", "/data"])

    def test_without_a_policy_the_same_session_may_everything(self):
        """So the test above tests something; and such a container never comes to the agent."""
        container = self.container(how="plain", node=self.agents_node)
        with self.held(container):
            self.expect_exec(container, [("read /srv/outside", "ok"), ("status NoNewPrivs", "ok", "0")])
            self.assertEqual(self.agent.containers(), [])

    def test_capabilities(self):
        container = self.injected({**POLICY, "capabilities": {"keep": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]}})
        with self.held(container):
            ended = self.process(container, args=["/bin/probe", "status CapEff"],
                                 capabilities={name: ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW"]
                                               for name in ("bounding", "effective", "permitted")})
            check(self, Answers(ended.out), [("status CapEff", "ok", f"{1:016x}")], ended)

    def test_audited(self):
        container = self.injected()
        with self.held(container):
            container.exec("/bin/true")
            record = self.agent.audited(event="exec_session", container=container.id)[0]
            self.assertEqual((record["verdict"], record["requestedPath"]), ("allow", "/bin/true"))
            self.assertGreater(record["pid"], 1)

    def test_many_at_a_time(self):
        for runtime in RUNTIMES:
            container = self.injected(runtime=runtime)
            with self.held(container):
                wrong = []

                def sessions(number):
                    for turn in range(5):
                        ended = container.exec("/bin/sh", "-c", f"echo {number}.{turn}; cat /srv/outside")
                        if ended.out != f"{number}.{turn}\n" or "Permission denied" not in ended.err:
                            wrong.append(str(ended))
                threads = [threading.Thread(target=sessions, args=(number,)) for number in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(wrong, [])
                self.settled(container)


class Exact(AgentCase):
    """What the program sees is what it would see without us."""
    label = "exact"

    def both(self, prepare=lambda root: None, **options):
        """The same bundle under the policy and without one."""
        pair = [self.injected(**options), self.container(how="plain", node=self.agents_node, **options)]
        for container in pair:
            prepare(container.bundle.root)
        return pair

    def compare(self, pair, act):
        """Exit status and output of `act` in both."""
        results = []
        for container in pair:
            with self.held(container):
                results.append(act(container))
        confined, native = results
        denied = "".join(map(str, self.agent.audit(event="exec_session", verdict="deny")))
        self.assertTrue(confined == native, f"{denied}\n{str(confined)[:4000]}\n{str(native)[:4000]}")
        return confined

    def test_arguments_and_environment(self):
        tell = "cat /proc/self/cmdline; echo; cat /proc/self/environ; echo; ls /proc/self/fd; pwd; ulimit -n; umask"
        sessions = [
            (["/bin/sh", "-c", tell], ["PATH=/bin"]),
            (["sh", "-c", tell, "", " ", "a b", "--version", "start"], ["PATH=/nowhere:/bin", "A=", "B=é\n"]),
            (["/bin/busybox", "sh", "-c", tell, "start"], ["PATH=/bin", "PATH2=x"]),
            (["/bin/env"], ["PATH=/bin", "Z=1", "A=2", "LANDGATE=x"]),
        ]
        for runtime in RUNTIMES:
            def act(container):
                return [(ended.status, ended.out, ended.err) for ended in (
                    self.process(container, args=args, env=env, cwd="/data") for args, env in sessions)]
            with self.subTest(runtime=runtime):
                for status, out, _ in self.compare(self.both(runtime=runtime), act):
                    self.assertEqual(status, 0, out)

    def test_names_of_every_length(self):
        def prepare(root):
            for name in ("a", "x" * 200):
                path = root / "data/bin" / name
                path.write_text("#!/bin/sh\necho \"here $0 $*\"\n")
                path.chmod(0o755)
            (root / "b").symlink_to("data/bin/a")
        slashes = "/" * (4000 - len("/data/bin/a")) + "data/bin/a"
        names = ["a", "./a", "/b", "/data/bin/a", "/data/bin/" + "x" * 200, slashes]

        for runtime in RUNTIMES:
            def act(container):
                return [(ended.status, ended.out) for ended in (
                    self.process(container, args=[name, "one", "two"], cwd="/data/bin",
                                 env=["PATH=/data/bin:/bin"]) for name in names)]
            with self.subTest(runtime=runtime):
                for status, out in self.compare(self.both(prepare, runtime=runtime), act):
                    self.assertEqual(status, 0, out)
                    self.assertIn("here", out)

    def test_a_mebibyte_of_arguments(self):
        few = ["/bin/sh", "-c", "cat /proc/$$/cmdline; true", *(["x" * 131000] * 8)]
        many = [*few[:3], *(str(i) * 10 for i in range(20000))]
        for runtime in RUNTIMES:
            def act(container):
                return [(ended.status, ended.err, ended.out) for ended in (
                    self.process(container, args=args) for args in (few, many))]
            with self.subTest(runtime=runtime):
                for (status, err, out), args in zip(self.compare(self.both(runtime=runtime), act), (few, many)):
                    self.assertEqual(status, 0, err)
                    self.assertEqual(out, "\0".join(args) + "\0")

    def test_how_it_ends(self):
        sessions = [["/bin/sh", "-c", f"exit {status}"] for status in (0, 1, 42, 126, 127, 255)]
        sessions += [["/bin/sh", "-c", f"kill -{name} $$"] for name in ("TERM", "KILL", "SEGV", "INT")]
        missing = [["/bin/absent"], ["absent"], ["/data"], ["/etc/passwd"], ["/etc/passwd/x"]]
        for runtime in RUNTIMES:
            def act(container):
                return ([container.exec(*args).status for args in sessions]
                        + [(ended.status, re.sub('time="[^"]*"', "", ended.err)) for ended in (
                            container.exec(*args) for args in missing)])
            with self.subTest(runtime=runtime):
                self.compare(self.both(runtime=runtime), act)
        # Denied by the policy and by nothing else.
        container = self.injected(policy(DATA))
        with self.held(container):
            ended = container.exec("/data/bin/tool")
            self.assertEqual(ended.status, 126, str(ended))
            self.assertIn("the policy must grant read and execute on /data/bin/tool", ended.err)

    def test_a_terminal(self):
        script = "tty; test -t 0 && test -t 1 && echo terminal; stty size 2>/dev/null; cat /srv/outside"
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.injected(runtime=runtime)
                with self.held(container):
                    controller, terminal = pty.openpty()
                    argv = [str(word) for word in container.argv("exec", "-t", container.id, "/bin/sh", "-c", script)]
                    process = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal,
                                               env=container.environment(), start_new_session=True)
                    os.close(terminal)
                    out = b""
                    try:
                        while chunk := os.read(controller, 65536):
                            out += chunk
                    except OSError:  # EIO: the other end is closed
                        pass
                    os.close(controller)
                    self.assertEqual(process.wait(log.TIMEOUT), 1, out)
                    self.assertIn(b"terminal", out)
                    self.assertIn(b"/dev/pts/", out)
                    self.assertIn(b"Permission denied", out)

    def test_detached(self):
        for runtime in RUNTIMES:
            container = self.injected(runtime=runtime)
            with self.held(container):
                file = container.bundle.root / "data/open/from-session"
                ended = container.exec("/bin/sh", "-c", "cat /srv/outside > /data/open/got 2>&1; echo done > "
                                       "/data/open/from-session", flags=["--detach"])
                self.assertEqual(ended.status, 0, str(ended))
                log.until(lambda f=file: f.exists() and f.read_text() == "done\n", "the detached session ran")
                self.assertIn("Permission denied", (container.bundle.root / "data/open/got").read_text())


class Start(AgentCase):
    """The container's own first process, with the same listener."""
    label = "start"

    def test_start_container_hooks(self):
        def edit(config):
            config["hooks"] = {"startContainer": [
                {"path": "/bin/sh", "args": ["sh", "-c", "/bin/echo hooked > /data/open/hooked; /bin/cat /srv/outside "
                                             ">> /data/open/hooked"]}]}
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.injected(runtime=runtime, edit=edit)
                self.expect(container, [("read /data/open/hooked", "ok", "hooked\noutside\n"),
                                        ("read /srv/outside", "EACCES"), ("exec /bin/true", "ok", "exit 0")])

    def test_a_profile_that_kills_for_the_launchers_question(self):
        def edit(config):
            config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["nfsservctl"], "action": "SCMP_ACT_KILL_PROCESS"}]}
        for runtime in RUNTIMES:
            for how in ("inject", "runtime"):
                with self.subTest(runtime=runtime, how=how):
                    container = self.container(POLICY, how=how, node=self.agents_node, runtime=runtime, edit=edit)
                    with self.held(container, *[row[0] for row in CONFINED]) as running:
                        check(self, Answers(running.out), CONFINED)
                        self.expect_exec(container, CONFINED)

    def test_programs_of_the_workload(self):
        for runtime in RUNTIMES:
            container = self.injected(runtime=runtime)
            self.expect(container, [*CONFINED, ("exec /bin/true", "ok", "exit 0"),
                                    ("exec /bin/sh -c true", "ok", "exit 0"), ("exec /srv/outside", "EACCES")])


class Policies(AgentCase):
    label = "policies"

    def test_refused(self):
        container = self.injected({**POLICY, "execSessions": "refused"})
        with self.held(container):
            ended = container.exec("/bin/probe", "read /data/open/file")
            self.assertNotEqual(ended.status, 0, str(ended))
            self.assertNotIn('"op"', ended.out)

    def test_unconfined(self):
        container = self.injected({**POLICY, "execSessions": "unconfined"})
        with self.held(container):
            self.expect_exec(container, [("read /srv/outside", "ok"), ("read /data/secret.txt", "EACCES")])

    def test_no_agent_no_session(self):
        """Agent and holder gone: nothing new is executed, and nothing is unconfined."""
        for runtime in RUNTIMES:
            container = self.injected(runtime=runtime)
            with self.held(container):
                self.expect_exec(container, CONFINED[:2])
                self.agent.stop()
                ended = container.exec("/bin/probe", "read /srv/outside")
                self.assertNotEqual(ended.status, 0, str(ended))
                self.assertNotIn('"op"', ended.out)
            self.agent.start()


class Attacks(AgentCase):
    """By root inside the container, with more capabilities than engines give."""
    label = "attacks"

    OPEN = {"landgate": 1, "paths": [allow("all", "/"), deny_file("/data/secret.txt"), deny("all", "/data/private")]}

    def test_the_launcher_taken_away(self):
        steal = [
            *((f"rename /dev/{name} /dev/x", "EBUSY") for name in ("lg", "lg.plan")),
            *((f"unlink /dev/{name}", "EBUSY") for name in ("lg", "lg.plan")),
            *((f"rename /bin/probe /dev/{name}", "EBUSY|EXDEV|EACCES") for name in ("lg", "lg.plan")),
            *((f"umount /dev/{name}", "EPERM") for name in ("lg", "lg.plan")),
            ("bindmount /bin/probe /dev/lg", "EPERM"),
            ("mount none /dev tmpfs", "EPERM"),
            ("rename /dev /x", "EBUSY|EXDEV"),
        ]
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.injected(self.OPEN, capabilities=CAPABLE, runtime=runtime)
                with self.held(container, *[row[0] for row in steal]) as running:
                    check(self, Answers(running.out), steal)
                    self.expect_exec(container, [("read /data/secret.txt", "EACCES"), ("umount /dev/lg", "EPERM"),
                                                 ("status NoNewPrivs", "ok", "1")])

    def test_the_main_process_in_another_root(self):
        container = self.injected(self.OPEN, capabilities=CAPABLE)
        fake = container.bundle.root / "data/fake"
        for directory in ("dev", "bin"):
            (fake / directory).mkdir(parents=True)
        (fake / "dev/lg").write_bytes(self.stage.probe.read_bytes())
        (fake / "dev/lg").chmod(0o755)
        (fake / "dev/lg.plan").write_text("")
        with self.held(container, "chroot /data/fake"):
            self.expect_exec(container, [("read /data/secret.txt", "EACCES"), ("status NoNewPrivs", "ok", "1")])

    def test_the_launcher_replaced_from_outside(self):
        """Whoever mounts something else over it from the host gets no session, and hears why."""
        container = self.injected()
        with self.held(container):
            pid = json.loads(log.run(container.argv("state", container.id)).out)["pid"]
            over = ["nsenter", "--target", pid, "--mount", "/bin/busybox", "mount", "-o", "bind", "/bin/probe", "/dev/lg"]
            log.must(over)
            ended = container.exec("/bin/probe", "read /srv/outside")
            self.assertNotEqual(ended.status, 0, str(ended))
            self.assertNotIn('"op"', ended.out)
            record = self.agent.audited(event="exec_session", verdict="deny")[0]
            self.assertEqual(record["reason"], "verification_failed")
            self.assertIn("/dev/lg", record["message"])

    def test_what_is_not_the_launcher_is_killed(self):
        """A launcher whose interpreter runs: the file is the registered one, what executes is not."""
        directory = self.stage.directory("launcher")
        (directory / "landgate-plan").write_text("")
        launcher = engines.script(directory / "landgate-init", 'if [ "$1" = start ]; then shift; exec "$@"; fi\n'
                                                               "while :; do :; done\n")
        config = {key: value for key, value in self.agents_node.config.items() if key not in ("policyDirs", "runDir")}
        self.agents_node.write_config(**config, initPath=str(launcher))
        for runtime in RUNTIMES:
            container = self.injected(runtime=runtime)
            with self.held(container):
                ended = container.exec("/bin/probe", "read /srv/outside")
                self.assertEqual(ended.status, 137, str(ended))
                self.assertNotIn('"op"', ended.out)
                record = self.agent.audited(event="exec_session", verdict="deny", container=container.id)[0]
                self.assertEqual(record["message"], "killed: it executes something that is not the launcher")

    def test_the_launcher_in_the_workloads_hands(self):
        """Run again by the main process and in a session it asks the agent in vain and only takes more away."""
        document = policy(DATA, deny_file("/data/secret.txt"), allow("read execute", "/dev"))
        for runtime in RUNTIMES:
            container = self.injected(document, capabilities=CAPABLE, runtime=runtime)
            rows = []
            for argv in ("/dev/lg", "/dev/lg start", "/dev/lg exec", "/dev/lg nothing /bin/true",
                         "/dev/lg start /data/bin/tool"):
                rows.append((f"exec {argv}", "ok|EACCES"))
            rows += [("exec /dev/lg start /bin/cat /data/open/file", "ok|EACCES"), ("read /srv/outside", "EACCES")]
            with self.held(container, *[row[0] for row in rows]) as running:
                check(self, Answers(running.out), rows)
                self.expect_exec(container, rows)
                # As a session's own program, with arguments that look like the launcher's.
                ended = container.exec("/dev/lg", "exec", "/bin/cat", "/srv/outside")
                self.assertIn("Permission denied", ended.err, str(ended))
                self.assertNotIn("outside\n", ended.out)

    def test_processes_that_stop_and_kill_sessions(self):
        """Root in the container signals every process it sees, over and over: sessions die or are confined."""
        for runtime in RUNTIMES:
            container = self.injected(self.OPEN, capabilities=CAPABLE, runtime=runtime)
            storm = ("while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = 1 ] || [ $p = $$ ] || "
                     "kill -STOP $p; [ $p = 1 ] || [ $p = $$ ] || kill -CONT $p; done 2>/dev/null; done")
            with self.held(container, script=storm):
                ran = 0
                for _ in range(15):
                    ended = container.exec("/bin/sh", "-c", "echo ran; cat /data/secret.txt")
                    self.assertNotIn("hunter2", ended.out + ended.err)
                    ran += ended.out == "ran\n" and "Permission denied" in ended.err
                self.assertGreater(ran, 0, "no session ever ran: this tests nothing")
                log.run(container.argv("kill", container.id, "KILL"), env=container.environment())


class Survival(AgentCase):
    """kill -9 of the agent at any moment: a session that was asked for runs, confined, and exactly once."""
    label = "survival"

    def test_killed_while_sessions_start(self):
        random.seed(4711)
        for runtime in RUNTIMES:
            container = self.injected(runtime=runtime)
            with self.held(container):
                wrong = []
                over = threading.Event()
                count = [0]

                def sessions(number):
                    turn = 0
                    while not over.is_set():
                        turn += 1
                        word = f"{number}.{turn}"
                        ended = container.exec("/bin/sh", "-c", f"echo {word}; cat /srv/outside")
                        count[0] += 1
                        if ended.out != word + "\n" or "Permission denied" not in ended.err:
                            wrong.append(str(ended))
                threads = [threading.Thread(target=sessions, args=(number,)) for number in range(3)]
                for thread in threads:
                    thread.start()
                for number in range(KILLS):
                    over.wait(random.uniform(0, 0.08))
                    if number % 5 == 4:  # an upgrade: the old one is asked to end
                        self.assertEqual(self.agent.end(), 0)
                        self.agent.start()
                    else:
                        self.agent.restart()
                over.set()
                for thread in threads:
                    thread.join(log.TIMEOUT)
                self.assertEqual(wrong, [])
                self.assertGreater(count[0], KILLS / 2)
                self.settled(container)


class Podman:
    """podman with hooks.d; mixed into one class an engine."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine = cls.make(stage.current)
        cls.engine.start()
        cls.addClassCleanup(cls.engine.stop)
        cls.engine.node.policy("tested", POLICY)

    def setUp(self):
        if self.engine.rootless:
            self.agent = Agent(self.engine.node, flags=[], environment=self.engine.environment_of_podman,
                               prefix=self.engine._as_user([]))
        else:
            self.agent = Agent(self.engine.node)
        self.agent.start()
        self.addCleanup(self.agent.stop)

    def podman(self, *words, **options):
        return log.run(self.engine._podman(*words), env=self.engine.environment_of_podman, cwd=self.engine.home,
                       **options)

    def test_sessions(self):
        with self.engine.held("lg-agent", "tested", ["read /srv/outside"]) as held:
            self.assertEqual(Answers(held.out).errno("read /srv/outside"), "EACCES")
            ops = [row[0] for row in CONFINED]
            ended = self.podman("exec", "lg-agent", "/bin/probe", *ops)
            check(self, Answers(ended.out), CONFINED, ended)
            for flags, rows in (
                    (["-u", "1000"], [("status Uid", "ok", "1000"), *CONFINED[:3]]),
                    (["-w", "/data"], [("in open read file", "ok"), *CONFINED[:3]]),
                    (["-e", "A=b"], [("env", "ok", "A=b"), *CONFINED[:3]]),
                    (["--privileged"], [("status NoNewPrivs", "ok", "1"), *CONFINED[:3]])):
                ended = self.podman("exec", *flags, "lg-agent", "/bin/probe", *[row[0] for row in rows])
                check(self, Answers(ended.out), rows, ended)
            self.assertEqual(self.podman("exec", "lg-agent", "/bin/sh", "-c", "exit 42").status, 42)
            self.assertEqual(self.podman("exec", "lg-agent", "/bin/absent").status, 127)
            self.assertEqual(self.podman("exec", "lg-agent", "/etc/passwd").status, 126)
            ended = self.podman("exec", "-t", "lg-agent", "/bin/sh", "-c", "test -t 1 && echo terminal; cat /srv/outside")
            self.assertIn("terminal", ended.out, str(ended))
            self.assertIn("Permission denied", ended.out)
            ended = self.podman("exec", "-i", "lg-agent", "/bin/cat", stdin="through\n")
            self.assertEqual(ended.out, "through\n", str(ended))
            self.agent.restart()
            ended = self.podman("exec", "lg-agent", "/bin/probe", *ops)
            check(self, Answers(ended.out), CONFINED, ended)


for _runtime in RUNTIMES:
    for _rootless in (False, True):
        _name = f"podman-{'rootless-' if _rootless else ''}{_runtime}"
        globals()[f"Podman_{_name}"] = type(f"Podman_{_name}", (Podman, Case), {
            "make": staticmethod(lambda where, runtime=_runtime, rootless=_rootless:
                                 engines.Podman(where, runtime, "hooks", rootless)),
            "label": _name, "__module__": __name__})


def tearDownModule():
    engines.remove_user()
