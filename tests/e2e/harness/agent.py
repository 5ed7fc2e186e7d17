"""A landgate-agent of a test's own, with the node's run directory, audit log and sockets.

    node = self.node(requireAgent=True)
    agent = Agent(node).start()
    self.addCleanup(agent.stop)

The holder that the agent starts outlives it, as it should; `stop` ends both, and fails when one of them
does not go. `kill` leaves the holder alone: `start` again is the successor.
"""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

from . import log

READY_SECONDS = 20


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Agent:
    """`prefix` and `environment`: for an agent of another user (setpriv …)."""

    def __init__(self, node, *, prefix=(), environment=None, program=None, flags=None):
        self.node = node
        self.prefix = [str(word) for word in prefix]
        self.environment = environment or node.environment()
        self.program = program or node.stage.bin("landgate-agent")
        self.flags = ["--config", str(node.config_file)] if flags is None else [str(flag) for flag in flags]
        self.directory = pathlib.Path(node.run_dir)
        self.audit_file = node.directory / "audit.jsonl"
        self.process = None
        self.errors = []  # what the agent said, all its lives
        if "audit" not in node.config and flags is None:
            more = {key: value for key, value in node.config.items() if key not in ("policyDirs", "runDir")}
            node.write_config(**{**more, "audit": {"file": str(self.audit_file)}})

    @property
    def socket(self):
        return self.directory / "agent.sock"

    @property
    def control_socket(self):
        return self.directory / "control.sock"

    @property
    def holder_socket(self):
        return self.directory / "holder.sock"

    # --- its life

    def start(self, *flags):
        """Returns when it has said that it is ready: sockets accept from then on."""
        assert self.process is None or self.process.poll() is not None, "it is running"
        argv = [*self.prefix, str(self.program), *self.flags, *flags]
        log.note(f"$ {argv} &")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, errors="replace",
                                        env=self.environment, cwd="/")
        ready = threading.Event()
        self._lines = []

        def read_output(stream):
            for line in stream:
                self._lines.append(line)
                ready.set()
            ready.set()

        def read_errors(stream):
            for line in stream:
                self.errors.append(line)
                with contextlib.suppress(ValueError):  # the log of a test that has ended
                    log.note("agent: " + line)

        self._readers = [threading.Thread(target=read_output, args=(self.process.stdout,), daemon=True),
                         threading.Thread(target=read_errors, args=(self.process.stderr,), daemon=True)]
        for reader in self._readers:
            reader.start()
        if not ready.wait(READY_SECONDS) or not self._lines:
            self.process.kill()
            self.process.wait()
            for reader in self._readers:
                reader.join(5)
            raise AssertionError(f"the agent did not get ready: {argv}\n{''.join(self.errors)}")
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=20):
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        log.note(f"agent: [exit {status}]")
        return status

    def kill(self):
        """kill -9 of the serving process; the holder goes on."""
        self.process.kill()
        return self.wait()

    def restart(self):
        self.kill()
        return self.start()

    def end(self):
        """SIGTERM to the serving process; the holder goes on as long as it holds anything."""
        if self.running():
            self.process.terminate()
        return self.wait()

    def holder_pid(self):
        """The process of `landgate-agent hold` with this socket; None: there is none. (The socket's peer
        credentials are those of whoever began to listen and has ended since.)"""
        wanted = str(self.holder_socket).encode()
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = pathlib.Path(entry.path, "cmdline").read_bytes().split(b"\0")
                    if b"hold" in words and wanted in words:
                        return int(entry.name)
        return None

    def stop(self):
        """Ends the agent and its holder, whatever they hold."""
        holder = self.holder_pid()
        if self.process is not None:
            try:
                self.end()
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("the agent did not end on SIGTERM") from None
        if holder:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGKILL)
            log.until(lambda: not alive(holder), "the holder ended")

    # --- what it says

    def control(self, method, path, body=None):
        """(status, text) of a request to the control socket."""
        connection = UnixConnection(self.control_socket)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        log.note(f"agent: {method} {path} -> {answer.status}\n{text[:4000]}")
        return answer.status, text

    def get(self, path):
        status, text = self.control("GET", path)
        assert status == 200, f"GET {path}: {status} {text}"
        return json.loads(text)

    def containers(self):
        return self.get("/v1/containers")["containers"]

    def metrics(self):
        """NAME{LABELS} → value."""
        status, text = self.control("GET", "/metrics")
        assert status == 200, text
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))}

    def audit(self, **fields):
        """Records of the audit log whose fields have these values."""
        if not self.audit_file.exists():
            return []
        records = [json.loads(line) for line in self.audit_file.read_text().splitlines() if line]
        return [record for record in records
                if all(record.get(key) == value for key, value in fields.items())]

    def audited(self, **fields):
        """The same, waited for: records are written a moment after the answer."""
        return log.until(lambda: self.audit(**fields), f"an audit record with {fields}", 10)


def alive(pid):
    """False for a zombie too."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(") ")[2][:1] not in ("Z", "X")


__all__ = ["Agent", "alive"]
