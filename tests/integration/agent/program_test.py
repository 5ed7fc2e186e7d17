"""landgate-agent as a program: its confinement, its exit statuses, what it does when resources are short, and
how it gets on with a service manager."""
import json
import os
import pathlib
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from fake_runtime import BIN, ENOSYS_ANSWER, SANITIZED, Agent, AgentTest, fds, state, until


def run(*argv, **how):
    return subprocess.run([str(BIN / "landgate-agent"), *map(str, argv)], capture_output=True, text=True, timeout=30,
                          check=False, **how)


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="landgate-agent-"))
        self.addCleanup(shutil.rmtree, self.directory, True)

    def config(self, **keys):
        file = self.directory / "config.json"
        file.write_text(json.dumps({"runDir": str(self.directory / "run"),
                                    "audit": {"file": str(self.directory / "audit.jsonl")}, **keys}))
        return file

    def refused(self, status, words, *argv, **how):
        result = run(*argv, **how)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("landgate-agent: "), result.stderr)
        self.assertIn(words, result.stderr)

    def test_help_and_version(self):
        self.assertRegex(run("--version").stdout, r"^landgate-agent \d+\.\d+\.\d+\n$")
        help_ = run("--help")
        self.assertEqual(help_.returncode, 0)
        for word in ("--config", "serve", "hold", "Exit status"):
            self.assertIn(word, help_.stdout)
        self.assertNotIn("helper", help_.stdout)

    def test_bad_command_lines(self):
        for argv in (["--nothing"], ["fly"], ["hold", "--socket"], ["serve", "more"]):
            with self.subTest(argv=argv):
                self.refused(2, "--help", *argv)

    def test_bad_configurations(self):
        missing = self.directory / "missing.json"
        self.refused(1, str(missing), "--config", missing)
        self.refused(1, "runDirr", "--config", self.config(runDirr="/x"))
        file = self.config()
        file.chmod(0o666)
        self.refused(1, "chmod go-w", "--config", file)

    def test_directories_that_others_can_write(self):
        policies = self.directory / "policies"
        policies.mkdir()
        policies.chmod(0o777)
        self.refused(1, f"{policies}: others can write this directory", "--config",
                     self.config(policyDirs=[str(policies)]))
        policies.chmod(0o755)
        runtime = self.directory / "run"
        runtime.mkdir(exist_ok=True)
        runtime.chmod(0o770)
        self.refused(1, f"{runtime}: others can write this directory", "--config",
                     self.config(policyDirs=[str(policies)]))


class Program(AgentTest):
    def test_it_keeps_no_more_than_it_needs(self):
        status = status_of(self.agent.pid)
        needed = sum(1 << bit for bit in (2, 5, 18, 19, 21, 24))  # docs/agent.md
        for capabilities in ("CapEff", "CapPrm", "CapBnd"):
            self.assertEqual(int(status[capabilities], 16) & ~needed, 0, capabilities)
        for capabilities in ("CapInh", "CapAmb"):
            self.assertEqual(int(status[capabilities], 16), 0, capabilities)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        for task in os.listdir(f"/proc/{self.agent.pid}/task"):
            self.assertEqual(status_of(f"{self.agent.pid}/task/{task}")["Seccomp"], "2", task)
        holder = status_of(self.agent.holder())
        self.assertEqual(int(holder["CapEff"], 16) & ~(1 << 24), 0)
        self.assertEqual((holder["NoNewPrivs"], holder["Seccomp"]), ("1", "2"))

    def test_no_room_for_descriptors(self):
        """Nothing is lost: what came meanwhile is served when there is room again."""
        hard = resource.prlimit(self.agent.pid, resource.RLIMIT_NOFILE)[1]
        for room in (0, 1):
            # 0: not even the connection fits. 1: that does, the listener doesn't.
            with self.subTest(room=room):
                workload = self.workload()
                identity = f"late{room}"
                self.assertEqual(self.agent.register(identity, workload), {"ok": True})
                self.settled()
                taken = set(map(int, os.listdir(f"/proc/{self.agent.pid}/fd")))
                free = [number for number in range(max(taken) + 3) if number not in taken]
                resource.prlimit(self.agent.pid, resource.RLIMIT_NOFILE, (free[room], hard))
                self.agent.listen(identity, workload)
                workload.ask()
                before = self.cpu()
                with self.assertRaises(AssertionError):
                    workload.answered(seconds=1)
                self.assertLess(self.cpu() - before, 0.5, "the agent spins")
                resource.prlimit(self.agent.pid, resource.RLIMIT_NOFILE, (hard, hard))
                self.assertEqual(workload.answered(), (os.getpid(), 0))
                workload.end()
        self.assert_all_given_back()

    def test_no_memory(self):
        """What there is no memory for is refused, and nothing else."""
        if SANITIZED:
            self.skipTest("a sanitizer takes memory of its own")
        workload = self.container("small")
        before = resource.prlimit(self.agent.pid, resource.RLIMIT_AS)
        size = int(status_of(self.agent.pid)["VmSize"].split()[0]) * 1024
        resource.prlimit(self.agent.pid, resource.RLIMIT_AS, (size + (1 << 20), before[1]))
        for length in (30_000, 3 << 20):
            with self.subTest(length), self.agent.peer() as peer:
                data = state("big", annotations={"a": "x" * length, **{str(n): "y" for n in range(length // 50)}})
                try:
                    peer.send_with(data, [])
                except OSError:
                    pass  # refused before all of it was sent
                self.assertTrue(peer.closed())
        self.assertTrue(workload.served())
        resource.prlimit(self.agent.pid, resource.RLIMIT_AS, before)
        self.assertIsNone(self.agent.process.poll())
        self.assertTrue(self.container("after").served())

    def cpu(self):
        """Seconds of processor time."""
        times = pathlib.Path(f"/proc/{self.agent.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def test_idle_costs_nothing(self):
        workloads = [self.container(f"c{number}") for number in range(20)]
        for workload in workloads[:10]:
            workload.end()
        until(lambda: len(self.agent.containers()) == 10, "half of them are collected")
        before = self.cpu()
        # A second in which nothing is to do; the sockets of the question are closed.
        self.settled()
        with self.assertRaises(subprocess.TimeoutExpired):
            self.agent.process.wait(1)
        self.assertLess(self.cpu() - before, 0.1)

    def test_a_log_that_can_grow_no_more(self):
        resource.prlimit(self.agent.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        self.agent.audit_file.write_text("x" * 4095 + "\n")
        workload = self.container("full")
        self.assertTrue(workload.served())
        until(lambda: "audit" in self.agent.errors, "the log says so")
        self.assertIsNone(self.agent.process.poll())

    def test_nobody_reads_its_output(self):
        self.agent.process.stdout.close()
        self.agent.listen("nobody", self.workload())
        self.assertTrue(self.container("after").served())

    def test_hup_opens_the_audit_log_again(self):
        self.container("before").end()
        until(lambda: self.agent.audit(event="container_ended"), "the record")
        old = self.agent.audit_file.rename(self.directory / "old.jsonl")
        self.agent.process.send_signal(signal.SIGHUP)
        until(lambda: "SIGHUP" in self.agent.errors, "it is noticed")
        self.container("after").end()
        until(lambda: self.agent.audit_file.exists() and self.agent.audit(event="container_ended", container="after"),
              "the record in the new file")
        self.assertNotIn("after", old.read_text())

    def test_a_clean_end(self):
        self.assertEqual(self.agent.end(), 0)
        self.assertFalse((self.agent.run / "control.sock").exists())
        self.agent.start()
        self.agent.process.send_signal(signal.SIGINT)
        self.assertEqual(self.agent.process.wait(20), 0)
        self.agent.start()

    def test_a_second_agent_refuses(self):
        result = run("--config", self.agent.config)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("another agent", result.stderr)
        self.assertTrue(self.container("still").served())


class ServiceManager(AgentTest):
    def setUp(self):
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.settimeout(20)
        name = f"landgate-test-{os.getpid()}-{id(self)}"
        self.manager.bind("\0" + name)
        environment = {**os.environ, "NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "200000"}
        make = Agent.__init__

        def with_environment(agent, *args, **how):
            make(agent, *args, **{**how, "environment": environment})
        Agent.__init__ = with_environment
        try:
            super().setUp()
        finally:
            Agent.__init__ = make

    def told(self, word):
        while True:
            message = self.manager.recv(65536).decode()
            if word in message.splitlines():
                return message

    def test_ready_watchdog_stopping(self):
        self.assertIn("STATUS=0 containers, 0 listeners", self.told("READY=1"))
        for _ in range(3):
            self.told("WATCHDOG=1")
        self.agent.process.send_signal(signal.SIGHUP)
        self.assertIn("MONOTONIC_USEC=", self.told("RELOADING=1"))
        self.told("READY=1")
        self.agent.process.terminate()
        self.told("STOPPING=1")
        self.assertEqual(self.agent.process.wait(20), 0)


class OrdinaryUser(unittest.TestCase):
    def test_it_runs_in_the_user_s_own_directories(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        try:
            user = pwd.getpwnam("nobody")
        except KeyError:
            self.skipTest("no user nobody")
        directory = pathlib.Path(tempfile.mkdtemp(prefix="landgate-agent-"))
        self.addCleanup(shutil.rmtree, directory, True)
        program = shutil.copy(BIN / "landgate-agent", directory)
        shutil.copy(BIN / "landgate-init", directory)
        for file in BIN.glob("landgate-plan"):
            shutil.copy(file, directory)
        os.chmod(directory, 0o755)
        places = {}
        for name in ("CONFIG", "RUNTIME", "STATE"):
            place = directory / name.lower()
            place.mkdir(mode=0o700)
            os.chown(place, user.pw_uid, user.pw_gid)
            places["XDG_RUNTIME_DIR" if name == "RUNTIME" else f"XDG_{name}_HOME"] = str(place)
        become = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        process = subprocess.Popen([program], env={"HOME": str(directory), "PATH": os.environ["PATH"], **places},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **become)
        try:
            line = process.stdout.readline()
            expected = directory / "runtime" / "landgate" / "agent.sock"
            self.assertEqual(line, f"landgate-agent: ready: listening on {expected}\n")
            self.assertEqual(int(status_of(process.pid)["CapEff"], 16), 0)
            self.assertTrue((directory / "state" / "landgate" / "audit.jsonl").exists())
            agent = Agent.__new__(Agent)
            agent.socket, agent.run = expected, expected.parent
            self.assertEqual(agent.unregister("nothing"), {"ok": True})  # root may
            holder = agent.holder()
        finally:
            process.terminate()
            process.communicate(timeout=20)
        os.kill(holder, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
