"""landgatectl ps, inspect and events: against an agent with processes that are registered as containers, without an
agent, and on audit logs as they lie on disk."""

import contextlib
import json
import os
import pathlib
import pty
import select
import socket
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request

import landgatectl
from landgatectl import CtlTest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "agent"))
from fake_runtime import AgentTest, until  # noqa: E402

FLOOR = {"landlock": "partial",
         "degraded": [{"policy": "test", "right": "fs.ioctl_dev", "neededAbi": 5, "foundAbi": 4}],
         "rules": [], "layers": [], "filter": [],
         "mounts": [{"kind": "mask-file", "path": "/work/.env", "rule": "/paths/3", "flags": "ro,nosuid"}],
         "warnings": ["older names are not searched for"]}
LONG = "4f" * 32


class WithAgent(AgentTest):
    def ctl(self, *arguments, **options):
        return landgatectl.run("--config", self.agent.config, *arguments, **options)

    def expect(self, status, *arguments, **options):
        result = self.ctl(*arguments, **options)
        self.assertEqual(result.returncode, status, f"{arguments}\n{result.stdout}{result.stderr}")
        return result

    def enforced(self, identity, **changes):
        return self.container(identity, mode="enforce", floor=json.dumps(FLOOR), **changes)

    @contextlib.contextmanager
    def following(self, *arguments, probe="probe"):
        """`events --follow`, which has shown by then that it gets what happens; `probe` begins a name that it shows."""
        process = subprocess.Popen(
            [landgatectl.PROGRAM, "--config", str(self.agent.config), "events", "--follow", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        workload = self.workload(filtered=False)
        try:
            for number in range(10000):
                self.agent.register(f"{probe}{number}", workload)
                self.agent.unregister(f"{probe}{number}")
                if select.select([process.stdout], [], [], 0.01)[0]:
                    break
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()

    def line(self, process, probe="probe"):
        """The next one that is not about a probe."""
        while True:
            # Unbuffered, so that what select says is what there is.
            self.assertTrue(select.select([process.stdout], [], [], 20)[0], "nothing is shown")
            line = process.stdout.readline().decode()
            if probe not in line:
                return line


class Ps(WithAgent):
    def test_nothing(self):
        self.assertRegex(self.expect(0, "ps").stdout, r"\AID +NAME +POLICY +MODE +FLOOR +LISTENERS +DENIED +ASKED\n\Z")
        self.assertEqual(json.loads(self.expect(0, "ps", "--json").stdout), {"containers": []})

    def test_containers(self):
        self.enforced(LONG, pod="shop", containerName="web")
        self.container("watched")
        until(lambda: all(c["listeners"] == 1 for c in self.agent.containers().values()), "both listeners are served")
        rows = [line.split() for line in self.expect(0, "ps").stdout.splitlines()]
        self.assertEqual(rows[1], [LONG[:12], "shop/web", "test", "enforce", "partial", "1", "0", "0"])
        self.assertEqual(rows[2], ["watched", "-", "test", "audit", "(nothing", "enforced)", "none", "1", "0", "0"])
        found = {c["id"]: c for c in json.loads(self.expect(0, "ps", "--json").stdout)["containers"]}
        self.assertEqual(set(found), {LONG, "watched"})
        self.assertEqual(found[LONG]["degraded"], FLOOR["degraded"])

    def test_ids_are_long_enough_to_be_told_apart(self):
        self.container(LONG)
        self.container(LONG[:20] + "0" * 44)
        shown = [line.split()[0] for line in self.expect(0, "ps").stdout.splitlines()[1:]]
        self.assertEqual(shown, [LONG[:21], LONG[:20] + "0"])
        for identity in shown:
            self.expect(0, "inspect", identity)


class Inspect(WithAgent):
    def test_enforced(self):
        workload = self.enforced(LONG, pod="shop", containerName="web")
        until(lambda: self.agent.containers()[LONG]["listeners"] == 1, "the listener is served")
        text = self.expect(0, "inspect", LONG[:5]).stdout
        for expected in (LONG, "shop/web", "partial", "fs.ioctl_dev of test (needs ABI 5, found 4)", "confined",
                         "mask-file  /work/.env  ro,nosuid  /paths/3", "older names", str(workload.pid),
                         "test (/policies/test.json)", "1: container (runtime)"):
            self.assertIn(expected, text)
        self.assertNotIn("NOTHING IS ENFORCED", text)
        container = json.loads(self.expect(0, "inspect", LONG, "--json").stdout)
        self.assertEqual(container["enforcement"], FLOOR)
        self.assertEqual(container["policyDocuments"][0]["policy"], {"landgate": 1})
        self.assertEqual(container["pid"], workload.pid)

    def test_audit_mode_says_loudly_that_nothing_is_enforced(self):
        self.container("watched")
        text = self.expect(0, "inspect", "watched").stdout
        self.assertIn("NOTHING IS ENFORCED", text.splitlines()[1])
        container = json.loads(self.expect(0, "inspect", "watched", "--json").stdout)
        self.assertEqual((container["mode"], container["floor"]), ("audit", "none"))

    def test_which(self):
        self.container("abc-1")
        self.container("abc-2")
        self.container("abc")
        self.assertIn("Container      abc\n", self.expect(0, "inspect", "abc").stdout)  # an id, though also a beginning
        result = self.expect(1, "inspect", "abc-")
        self.assertIn("begins the ids of 2 containers", result.stderr)
        result = self.expect(1, "inspect", "nothing")
        self.assertRegex(result.stderr, r"\Alandgatectl: nothing: the agent serves no such container[^\n]*\n\Z")
        self.expect(2, "inspect")

    def test_text_of_others_stays_text(self):
        self.container("plain", containerName="\x1b[2Jname\nContainer  fake", pod="p")
        text = self.expect(0, "inspect", "plain").stdout
        self.assertNotIn("\x1b", text)
        self.assertIn("\\x1b[2Jname\\x0aContainer", text)


class Events(WithAgent):
    def test_follow(self):
        with self.following() as process:
            workload = self.container("one")
            self.assertRegex(self.line(process), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z one container_started")
            workload.end()
            while "container_ended" not in (line := self.line(process)):
                self.assertNotEqual(line, "")

    def test_follow_of_one_container_as_json(self):
        with self.following("--json", "--container", "tw", probe="tw-probe") as process:
            self.container("one")
            self.container("two")
            record = json.loads(self.line(process, "tw-probe"))
            self.assertEqual((record["event"], record["container"]), ("container_started", "two"))

    def test_follow_ends_with_the_agent(self):
        with self.following() as process:
            self.agent.end()
            self.assertEqual(process.wait(20), 3)
            self.assertRegex(process.stderr.read().decode(), r"\Alandgatectl: the agent at [^\n]+ has ended the connection\n\Z")

    def test_the_log_has_what_happened(self):
        self.container("one")
        until(lambda: self.agent.audit(event="container_started"), "it is in the log")
        self.assertIn(" one container_started", self.expect(0, "events").stdout)
        record = json.loads(self.expect(0, "events", "--json", "--container", "one").stdout.splitlines()[0])
        self.assertEqual(record["event"], "container_started")
        self.assertEqual(self.expect(0, "events", "--denied").stdout, "")

    def test_every_record_is_what_the_schema_says(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("no python3-jsonschema")
        self.container("one")
        stranger = self.workload()
        self.agent.listen("stranger", stranger)
        until(lambda: self.agent.audit(event="listener_refused"), "the stranger's listener is reported")
        schema = json.loads((pathlib.Path(__file__).resolve().parents[3] / "agent/audit.schema.json").read_text())
        for record in self.agent.audit():
            jsonschema.validate(record, schema)


class Access(WithAgent):
    def test_the_socket_is_its_owners(self):
        mode = (self.agent.run / "control.sock").stat().st_mode & 0o777
        self.assertIn(mode, (0o600, 0o660))
        os.chmod(self.agent.run, 0o755)
        result = subprocess.run(
            [landgatectl.PROGRAM, "ps", "--socket", str(self.agent.run / "control.sock")], user=65534, group=65534,
            extra_groups=[], capture_output=True, text=True, timeout=60, check=False, cwd="/")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stderr, r"\Alandgatectl: /[^\n]+control\.sock: permission denied[^\n]*\n\Z")
        self.expect(0, "ps", "--socket", self.agent.run / "control.sock")

    def test_the_environments_proxy_is_not_asked(self):
        environment = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
        self.expect(0, "ps", environment=environment)

    def test_a_clean_stop_leaves_no_socket(self):
        self.assertEqual(self.agent.end(), 0)
        self.assertFalse((self.agent.run / "control.sock").exists())
        result = self.expect(3, "ps")
        self.assertIn("no agent answers at", result.stderr)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Metrics(AgentTest):
    config = {"metrics": {"listen": f"127.0.0.1:{free_port()}"}}

    def test_on_tcp_there_is_nothing_else(self):
        base = "http://" + self.config["metrics"]["listen"]
        self.container("one")
        until(lambda: self.agent.containers()["one"]["listeners"] == 1, "the listener is served")
        with urllib.request.urlopen(base + "/metrics", timeout=20) as answer:
            text = answer.read().decode()
        self.assertIn('\nlandgate_containers{mode="audit"} 1\n', text)
        self.assertIn("\nlandgate_listeners 1\n", text)
        for path in ("/v1/containers", "/v1/events", "/"):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(base + path, timeout=20)
            self.assertEqual(refused.exception.code, 404)
            refused.exception.close()


class WithoutAgent(CtlTest):
    def setUp(self):
        super().setUp()
        self.log = self.scratch / "audit.jsonl"
        self.write_config(audit={"file": str(self.log), "keep": 2})

    @staticmethod
    def record(number, **fields):
        return json.dumps({"time": f"2026-11-22T04:00:{number:02}.000001Z", "event": "access", "container": "web-1",
                           **fields}) + "\n"

    def test_no_agent_says_what_to_start(self):
        for arguments in (["ps"], ["inspect", "x"], ["events", "--follow"], ["ps", "--socket", "/nowhere/control.sock"]):
            result = self.expect(3, *arguments)
            self.assertIn("no agent answers at", result.stderr)
            self.assertIn("start landgate-agent", result.stderr)
        # Somebody's socket that nobody listens on any more.
        (self.scratch / "run").mkdir()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(self.scratch / "run/control.sock"))
        self.expect(3, "ps")

    def test_something_else_answers(self):
        for answer in (b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}x",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1]\n",
                       b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
                       b"HTTP/1.1 500 Oops\r\nContent-Length: 16\r\n\r\n{\"error\": \"oops\"}"[:-1]):
            path = self.scratch / "other.sock"
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
                server.listen()

                def serve():
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                thread = threading.Thread(target=serve)
                thread.start()
                result = self.ctl("ps", "--socket", path)
                thread.join()
            path.unlink()
            with self.subTest(answer=answer):
                if answer.endswith(b"[1]\n"):
                    self.assertEqual(result.returncode, 0)  # nothing in it that is a container
                else:
                    self.assertIn(result.returncode, (1, 3))
                    self.assertRegex(result.stderr, r"\Alandgatectl: [^\n]+\n\Z")

    def test_the_log_with_what_was_rotated(self):
        self.log.write_text(self.record(5))
        (self.scratch / "audit.jsonl.1").write_text(self.record(3) + self.record(4))
        (self.scratch / "audit.jsonl.2").write_text(self.record(1) + self.record(2))
        (self.scratch / "audit.jsonl.3").write_text(self.record(0))  # beyond `keep`
        times = [line[17:19] for line in self.expect(0, "events").stdout.splitlines()]
        self.assertEqual(times, ["01", "02", "03", "04", "05"])

    def test_filters(self):
        self.log.write_text(self.record(1, verdict="allow") + self.record(2, verdict="deny") +
                            self.record(3, verdict="audit") + self.record(4, verdict="deny", container="db"))
        def times(*arguments):
            return [line[17:19] for line in self.expect(0, "events", *arguments).stdout.splitlines()]
        self.assertEqual(times("--denied"), ["02", "03", "04"])
        self.assertEqual(times("--container", "web"), ["01", "02", "03"])
        self.assertEqual(times("--container", "web", "--denied"), ["02", "03"])

    def test_one_line_a_record(self):
        self.log.write_text(self.record(
            1, pid=4242, nspid=7, comm="ca\nt", exe="/bin/cat", syscall="openat", rights=["fs.read_file"],
            path="/etc/\x1b[31mshadow", requestedPath="../shadow", verdict="deny", reason="not_covered", rule="web#/paths/1",
            errno="EACCES", latencyUs=3))
        line = self.expect(0, "events").stdout
        self.assertEqual(
            line, "2026-11-22T04:00:01.000Z web-1 deny openat /etc/\\x1b[31mshadow as ../shadow  fs.read_file  not_covered "
                  "web#/paths/1  EACCES  ca\\x0at[4242, inside 7]\n")

    def test_json_is_what_lies_there(self):
        self.log.write_text(self.record(1, verdict="deny") + self.record(2))
        self.assertEqual(self.expect(0, "events", "--json").stdout, self.log.read_text())

    def test_a_torn_line_is_left_out_and_told(self):
        self.log.write_text(self.record(1) + '{"time":"20' + "\n" + self.record(2))
        result = self.expect(1, "events")
        self.assertEqual(len(result.stdout.splitlines()), 2)
        self.assertIn("1 line is no audit record", result.stderr)

    def test_no_log_yet(self):
        self.assertIn("no audit log", self.expect(3, "events").stderr)

    def test_a_log_of_somebody_else(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to be another user")
        self.log.write_text(self.record(1))
        self.log.chmod(0o600)
        os.chmod(self.scratch, 0o755)
        os.chmod(self.config, 0o644)
        result = subprocess.run(
            [landgatectl.PROGRAM, "--config", str(self.config), "events"], user=65534, group=65534, extra_groups=[],
            capture_output=True, text=True, timeout=60, check=False, cwd="/")
        self.assertEqual(result.returncode, 1)
        self.assertIn("events --follow asks the agent", result.stderr)

    def test_colour_is_for_terminals(self):
        self.log.write_text(self.record(1, verdict="deny"))
        self.assertNotIn("\x1b", self.expect(0, "events", environment={"TERM": "xterm"}).stdout)
        ours, theirs = pty.openpty()
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
        process = subprocess.Popen([landgatectl.PROGRAM, "--config", str(self.config), "events"], stdout=theirs,
                                   env=environment)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        self.assertEqual(process.wait(60), 0)
        self.assertIn(b"\x1b[31mdeny\x1b[0m", shown)

    def test_usage(self):
        for arguments in (["ps", "extra"], ["events", "--socket", "/x"], ["events", "--since", "1h"], ["inspect"]):
            self.expect_usage_error(*arguments)


if __name__ == "__main__":
    landgatectl.main()
