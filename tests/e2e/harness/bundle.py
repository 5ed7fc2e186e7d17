"""OCI bundles for plain runc and crun, and how a container of one is run, entered and ended."""
import copy
import json
import os
import subprocess
import threading

from . import log
from .answers import Answers, ops

# What Docker gives by default.
DEFAULT_CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"]

BASE = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": [],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
        "cwd": "/",
        "noNewPrivileges": False,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "probe",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


class Bundle:
    """A bundle of its own with a root file system of its own."""

    def __init__(self, node, *, annotations=None, policy=None, uid=0, capabilities=None, mounts=(),
                 namespaces=None, args=None, rootfs=True, edit=None):
        self.node = node
        self.directory = node.stage.directory("bundle")
        self.root = self.directory / "rootfs"
        self.root.mkdir()
        if rootfs:
            node.stage.rootfs(self.root)
        config = copy.deepcopy(BASE)
        granted = DEFAULT_CAPABILITIES if capabilities is None else capabilities
        config["process"]["capabilities"] = {
            name: list(granted) for name in ("bounding", "effective", "permitted")}
        config["process"]["user"] = {"uid": uid, "gid": uid}
        config["process"]["args"] = list(args or ["/bin/true"])
        config["mounts"] += list(mounts)
        if namespaces is not None:
            config["linux"]["namespaces"] = [{"type": name} for name in namespaces]
        given = dict(annotations or {})
        if policy is not None:
            given["io.landgate.policy"] = policy if isinstance(policy, str) else json.dumps(policy)
        if given:
            config["annotations"] = given
        if edit:
            edit(config)
        self.config = config
        self.write()

    @property
    def config_file(self):
        return self.directory / "config.json"

    def write(self):
        self.config_file.write_text(json.dumps(self.config, indent="\t"))

    def probe(self, *operations):
        self.config["process"]["args"] = ["/bin/probe", *operations]
        self.write()
        return self


class Container:
    """One container made from a bundle: `how` is "plain", "inject" or "runtime"."""

    _count = 0

    def __init__(self, bundle, how="runtime", runtime="runc"):
        Container._count += 1
        self.bundle, self.how, self.runtime = bundle, how, runtime
        # Unlike those of another run on this machine: crun ends whatever is in the cgroup of that name.
        self.id = f"lg-e2e-{os.getpid()}-{Container._count}"
        self.state = bundle.directory / "state"

    def argv(self, *words, wrapped=True):
        program = [self.runtime]
        if self.how == "runtime" and wrapped:
            program = [self.bundle.node.stage.bin("landgate-runtime")]
        return [*program, "--root", self.state, *words]

    def environment(self):
        return self.bundle.node.environment(LANDGATE_RUNTIME=self.runtime)

    def inject(self):
        return log.run([self.bundle.node.stage.bin("landgate-hook"), "inject", "--bundle",
                        self.bundle.directory], env=self.environment())

    def run(self, **options):
        """Runs to its end."""
        if self.how == "inject":
            injected = self.inject()
            if injected.status != 0:
                return injected
        try:
            return log.run(self.argv("run", "--bundle", self.bundle.directory, self.id),
                           env=self.environment(), **options)
        finally:
            self.delete()

    def answers(self, table_or_ops):
        """Runs the probe on the operations of a table."""
        operations = ops(table_or_ops) if isinstance(table_or_ops[0], tuple) else table_or_ops
        self.bundle.probe(*operations)
        ended = self.run()
        if ended.status != 0:
            raise AssertionError(f"the container failed:\n{ended}")
        return Answers(ended.out)

    def exec(self, *args, **options):
        return log.run(self.argv("exec", *options.pop("flags", ()), self.id, *args),
                       env=self.environment(), **options)

    def delete(self):
        log.run(self.argv("delete", "--force", self.id), env=self.environment())


class Held:
    """A command that prints the probe's "hold" line and goes on; `with` gives it until the block ends."""

    def __init__(self, argv, end, after=lambda: None, **popen):
        self._argv, self._end, self._after = [str(word) for word in argv], end, after
        self._popen = popen
        self.out = ""

    def __enter__(self):
        log.note(f"$ {self._argv} &")
        self.process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, errors="replace",
                                        **self._popen)
        held = threading.Event()
        errors = []

        def read_output():
            for line in self.process.stdout:
                self.out += line
                if '"op": "hold"' in line:
                    held.set()
            held.set()

        self._readers = [threading.Thread(target=read_output, daemon=True),
                         threading.Thread(target=lambda: errors.append(self.process.stderr.read()),
                                          daemon=True)]
        for reader in self._readers:
            reader.start()
        if not held.wait(log.TIMEOUT) or '"op": "hold"' not in self.out:
            self.process.kill()
            for reader in self._readers:
                reader.join(5)
            self._after()
            raise AssertionError(f"the container did not start: {self._argv}\n{self.out}{''.join(errors)}")
        self._errors = errors
        return self

    def wait(self, seconds=20):
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        self.err = "".join(self._errors)
        log.note(f"[exit {status}]\n{self.out}{self.err}")
        return status

    def __exit__(self, *_):
        try:
            if self.process.poll() is None:
                self._end()
                try:
                    self.wait()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.wait()
                    raise AssertionError(f"the container did not end: {self._argv}\n{self.out}") from None
            else:
                self.wait()
        finally:
            self.process.stdout.close()
            self.process.stderr.close()
            self._after()


HOLD_LINE = '{"op": "hold", "errno": "ok", "value": ""}'


def held(container, *operations, script=None):
    """A running container whose probe did `operations` and then waits; SIGTERM ends it. `script`: a shell
    script instead, which starts when HOLD_LINE was printed."""
    if script is None:
        container.bundle.probe(*operations, "hold")
    else:
        container.bundle.config["process"]["args"] = ["/bin/sh", "-c", f"echo '{HOLD_LINE}'; {script}"]
        container.bundle.write()
    if container.how == "inject":
        injected = container.inject()
        if injected.status != 0:
            raise AssertionError(f"inject failed:\n{injected}")

    return Held(container.argv("run", "--bundle", container.bundle.directory, container.id),
                end=lambda: log.run(container.argv("kill", container.id, "TERM"),
                                    env=container.environment()),
                after=container.delete, env=container.environment())
