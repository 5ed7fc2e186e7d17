"""An agent of a test's own, and what talks to it: processes with a real filter and listener, connections as
runtimes and hooks make them. Needs root; x86-64 or arm64.
"""
import array
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import platform
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

BIN = pathlib.Path(os.environ.get("LANDGATE_BIN_DIR", "build/release/bin"))
PATIENCE = 20
SANITIZED = "TSAN_OPTIONS" in os.environ  # then what memory it takes says nothing

LIBC = ctypes.CDLL(None, use_errno=True)
ARCH = platform.machine()
GETPPID, NFSSERVCTL, SECCOMP = {"x86_64": (110, 180, 317), "aarch64": (173, 42, 277)}.get(ARCH, (0, 0, 0))
PIDFD_OPEN, PIDFD_GETFD = 434, 438


def until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def readable(fd, seconds):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def syscall(number, *arguments):
    ctypes.set_errno(0)
    value = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
    return value, ctypes.get_errno()


def install_listener():
    """getppid and nfsservctl of this process are notified from now on; the listener."""
    load, equal, answer = 0x20, 0x15, 0x06
    notify, allow = 0x7FC00000, 0x7FFF0000
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in [
        (load, 0, 0, 0), (equal, 2, 0, GETPPID), (equal, 1, 0, NFSSERVCTL), (answer, 0, 0, allow),
        (answer, 0, 0, notify)])
    text = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(text))
    fprog = ctypes.create_string_buffer(head, len(head))
    if LIBC.prctl(38, 1, 0, 0, 0) != 0:  # no_new_privs
        raise OSError(ctypes.get_errno(), "no_new_privs")
    fd, error = syscall(SECCOMP, 1, 8, ctypes.addressof(fprog))  # SET_MODE_FILTER, NEW_LISTENER
    if fd < 0:
        raise OSError(error, "seccomp")
    return fd


class Workload:
    """A process whose getppid is notified. `listener` is ours until it is given away."""

    def __init__(self, filtered=True):
        asks, self._to = os.pipe()
        self._from, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._to)
                os.close(self._from)
                self._live(asks, answers, filtered)
            finally:
                os._exit(1)
        os.close(asks)
        os.close(answers)
        self.pidfd = os.pidfd_open(self.pid)
        self.listener = -1
        if filtered:
            number, = struct.unpack("i", self._answer(4))
            self.listener, error = syscall(PIDFD_GETFD, self.pidfd, number, 0)
            assert self.listener >= 0, os.strerror(error)
            os.set_inheritable(self.listener, False)
            os.write(self._to, b"k")  # it may close its own

    @staticmethod
    def _live(asks, answers, filtered):
        if filtered:
            fd = install_listener()
            os.write(answers, struct.pack("i", fd))
            if os.read(asks, 1) != b"k":
                os._exit(1)
            os.close(fd)
        while os.read(asks, 1):
            os.write(answers, struct.pack("qi", *syscall(GETPPID)))
        os._exit(0)

    def _answer(self, size, seconds=PATIENCE):
        if not readable(self._from, seconds):
            raise AssertionError("the notified call hangs")
        data = os.read(self._from, size)
        assert len(data) == size, "the workload has ended"
        return data

    def ask(self):
        os.write(self._to, b"g")

    def answered(self, seconds=PATIENCE):
        """(value, errno) of the call that `ask` began."""
        return struct.unpack("qi", self._answer(12, seconds))

    def call(self):
        self.ask()
        return self.answered()

    def served(self):
        return self.call() == (os.getpid(), 0)

    def start_time(self):
        return int(pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19])

    def give_away(self):
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1

    def end(self):
        self.give_away()
        if self.pid:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            for fd in (self.pidfd, self._to, self._from):
                os.close(fd)
            self.pid = 0


def state(identity, *, status="creating", pid=0, fds=("seccompFd",), annotations=None, bundle="/bundle", indent=None):
    """As runc sends it."""
    return json.dumps({
        "ociVersion": "1.0.2-dev", "fds": list(fds), "pid": pid, "metadata": "landgate",
        "state": {"ociVersion": "1.0.2-dev", "id": identity, "status": status, "pid": pid, "bundle": bundle,
                  "annotations": annotations or {}}}, indent=indent).encode()


POLICY = {"name": "test", "file": "/policies/test.json", "document": {"landgate": 1},
          "origins": {"files": [], "keys": {}}}


def registration(identity, workload, **changes):
    nothing = {"major": 0, "minor": 0, "inode": 0}
    return {"id": identity, "pid": workload.pid, "startTime": workload.start_time(), "bundle": "/bundle",
            "root": "/bundle/rootfs", "mode": "audit", "frontEnd": "inject", "listenerExpected": True,
            "execSessions": "confined", "policies": [POLICY], "launcher": nothing, "plan": nothing, **changes}


class Peer(socket.socket):
    """A connection to the agent."""

    def __init__(self, path):
        super().__init__(socket.AF_UNIX)
        self.settimeout(PATIENCE)
        self.connect(str(path))

    def send_with(self, data, fds):
        """All of `data`; `fds` with its first byte."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sendmsg([data], rights)
        if sent < len(data):
            self.sendall(data[sent:])

    def unread(self):
        """Bytes that the agent has not taken out of the socket."""
        buffer = array.array("i", [0])
        fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, buffer)
        return buffer[0]

    def answer(self):
        data = b""
        while piece := self.recv(65536):
            data += piece
        return json.loads(data) if data else None

    def closed(self):
        """True when the agent has closed its end, within PATIENCE."""
        try:
            return self.recv(1) == b""
        except ConnectionResetError:
            return True


class Agent:
    def __init__(self, directory, program=None, prefix=(), environment=None, **config):
        self.directory = pathlib.Path(directory)
        self.audit_file = self.directory / "audit.jsonl"
        self.run = self.directory / "run"
        self.config = self.directory / "config.json"
        self.config.write_text(json.dumps(
            {"runDir": str(self.run), "audit": {"file": str(self.audit_file)},
             "policyDirs": [str(self.directory / "policies")], **config}))
        self.socket = self.run / "agent.sock"
        self.program = program or BIN / "landgate-agent"
        self.prefix = list(prefix)
        # Its holder and helpers have it as well, which is how they are known.
        self.environment = {**(os.environ if environment is None else environment), "LANDGATE_TEST": str(self.directory)}
        self.process = None
        self.errors = ""

    def start(self):
        if self.process:
            self.process.stdout.close()
        self.process = subprocess.Popen([*self.prefix, str(self.program), "--config", str(self.config)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=self.environment)
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        line = self.process.stdout.readline()
        if not line.startswith("landgate-agent: ready: listening on "):
            self.process.wait(PATIENCE)
            raise AssertionError(f"the agent did not get ready: {line}{self.errors}")
        return self

    def _listen(self, process):
        with process.stderr:
            for line in process.stderr:
                self.errors += line

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        self.process.kill()
        return self.process.wait(PATIENCE)

    def end(self):
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def holder(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(str(self.run / "holder.sock"))
            except OSError:
                return None
            return struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def stop(self):
        holder = self.holder()
        if self.process and self.process.poll() is None:
            self.kill()
        if self.process:
            self.process.stdout.close()
        if holder:
            os.kill(holder, signal.SIGKILL)
        self.assert_nothing_left()

    def processes(self):
        """Pids of all that has to do with this agent: itself, its holder, its helpers."""
        mark = f"LANDGATE_TEST={self.directory}".encode()
        found = []
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                if mark in pathlib.Path(entry.path, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended
        return found

    def assert_nothing_left(self):
        try:
            until(lambda: not self.processes(), "all processes of the agent have ended", 5)
        except AssertionError:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            raise

    def peer(self):
        return Peer(self.socket)

    def hook(self, request, fds=()):
        """A hook's question, and the agent's answer."""
        with self.peer() as peer:
            peer.send_with(json.dumps({"landgate": request}).encode(), list(fds))
            peer.shutdown(socket.SHUT_WR)
            return peer.answer()

    def register(self, identity, workload, **changes):
        namespace = os.open(f"/proc/{workload.pid}/ns/mnt", os.O_RDONLY)
        try:
            return self.hook({"register": registration(identity, workload, **changes)}, [workload.pidfd, namespace])
        finally:
            os.close(namespace)

    def unregister(self, identity):
        return self.hook({"unregister": {"id": identity}})

    def listen(self, identity, workload, data=None):
        """A runtime hands over the workload's listener in one piece, and closes."""
        with self.peer() as peer:
            peer.send_with(data or state(identity, pid=workload.pid), [workload.listener])
        workload.give_away()

    def audit(self, **fields):
        records = [json.loads(line) for line in self.audit_file.read_text().splitlines()]
        return [record for record in records if all(record.get(key) == value for key, value in fields.items())]

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.run / "control.sock"))
            client.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            data = b""
            while piece := client.recv(65536):
                data += piece
        return json.loads(data.partition(b"\r\n\r\n")[2])

    def containers(self):
        return {container["id"]: container for container in self.get("/v1/containers")["containers"]}

    def resources(self):
        """Descriptors and threads of the agent, and descriptors of its holder."""
        holder = self.holder()
        return (fds(self.pid), len(os.listdir(f"/proc/{self.pid}/task")), fds(holder) if holder else None)


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class AgentTest(unittest.TestCase):
    """Each test with an agent of its own."""

    config = {}

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        if not GETPPID:
            self.skipTest(f"no system call numbers for {ARCH} here")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="landgate-agent-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        os.chmod(self.directory, 0o755)
        self.agent = Agent(self.directory, **self.config)
        self.addCleanup(self.agent.stop)
        self.agent.start()
        # The sockets of this test's own question are gone again.
        self.before = self.settled()

    def settled(self):
        seen = self.agent.resources()
        def same():
            nonlocal seen
            now = self.agent.resources()
            same, seen = now == seen, now
            return same
        until(same, "the number of descriptors settles")
        return seen

    def workload(self, **how):
        workload = Workload(**how)
        self.addCleanup(workload.end)
        return workload

    def container(self, identity, **changes):
        """A registered container, and its listener at the agent."""
        workload = self.workload()
        self.assertEqual(self.agent.register(identity, workload, **changes), {"ok": True})
        self.agent.listen(identity, workload)
        return workload

    def assert_all_given_back(self):
        until(lambda: self.agent.resources() == self.before,
              f"descriptors and threads are back at {self.before}; now {self.agent.resources()}")

    def pipe(self):
        """(reader, writer): the reader sees the end when every copy of the writer is closed."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        return reader, writer

    def assert_closed(self, reader):
        self.assertTrue(readable(reader, PATIENCE), "a descriptor is still open in the agent")
        self.assertEqual(os.read(reader, 1), b"")


ENOSYS_ANSWER = (-1, errno.ENOSYS)
