"""Where a run of the tests lives: installed programs, a root file system, nodes with their policies.

Everything lies beneath one scratch directory that root owns, because policies and configuration that
others could write are refused.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import log

APPLETS = ("sh", "ls", "cat", "echo", "id", "true", "false", "sleep", "httpd", "wget", "mv", "rm", "mkdir",
           "ln", "cp", "touch", "mount", "umount", "kill", "ps", "env", "chmod", "head", "tail", "test")

# The tree that every image has; see MATRIX in test_engines.py for what policies make of it.
FILES = {
    "data/open/file": "open\n",
    "data/ro/file": "read-only\n",
    "data/secret.txt": "hunter2\n",
    "data/private/key": "PRIVATE KEY\n",
    "srv/outside": "outside\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}


current = None  # the run's Stage; set by run.py


class Stage:
    def __init__(self, build):
        self.build = pathlib.Path(build)
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="lg-e2e."))
        self.scratch.chmod(0o755)
        self.prefix = self.scratch / "prefix"
        self.probe = self.build / "tests" / "probe"
        self._nodes = 0
        # The installed layout is what users have, so it is what is tested.
        log.must(["cmake", "--install", self.build, "--prefix", self.prefix], timeout=120)
        for path in [self.prefix, *self.prefix.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        self.template = self._make_template()

    def remove(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def bin(self, program):
        return self.prefix / "bin" / program

    @property
    def shipped(self):
        return self.prefix / "share" / "landgate" / "policies"

    def directory(self, name):
        path = pathlib.Path(tempfile.mkdtemp(prefix=name + ".", dir=self.scratch))
        path.chmod(0o755)
        return path

    def _make_template(self):
        root = self.scratch / "template"
        for directory in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var", "data/open",
                          "data/ro", "data/private", "srv", "data/bin"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        (root / "tmp").chmod(0o1777)
        shutil.copy(busybox(), root / "bin" / "busybox")
        for applet in APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        shutil.copy(self.probe, root / "bin" / "probe")
        shutil.copy(self.build / "tests" / "worker", root / "bin" / "worker")
        shutil.copy(self.probe, root / "data" / "bin" / "tool")  # readable, not executable, by policy
        for name, text in FILES.items():
            (root / name).write_text(text)
        return root

    def rootfs(self, where):
        """A copy of the template that a test may spoil. No hard links: those are part of the tests."""
        target = pathlib.Path(where)
        log.must(["cp", "-a", "--no-preserve=links", f"{self.template}/.", target])
        return target

    def image_tar(self):
        tar = self.scratch / "image.tar"
        if not tar.exists():
            log.must(["tar", "-C", self.template, "-cf", tar, "."])
        return tar

    def node(self, **config):
        self._nodes += 1
        return Node(self, self.scratch / f"node{self._nodes}", config)


class Node:
    """One node: config.json, a policy directory, a run directory."""

    def __init__(self, stage, directory, config):
        self.stage, self.directory = stage, directory
        self.policies = directory / "policies"
        self.run_dir = directory / "run"
        self.config_file = directory / "config.json"
        for path in (directory, self.policies, self.run_dir):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        self.write_config(**config)

    def write_config(self, **config):
        self.config = {"policyDirs": [str(self.policies), str(self.stage.shipped)],
                       "runDir": str(self.run_dir), **config}
        self.config_file.write_text(json.dumps(self.config, indent=2))
        self.config_file.chmod(0o644)

    def policy(self, name, document, text=None):
        path = self.policies / f"{name}.json"
        path.write_text(text if text is not None else json.dumps(document, indent=2))
        path.chmod(0o644)
        return name

    def environment(self, **more):
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME": "/root", "LANDGATE_CONFIG": str(self.config_file)}
        environment.update(more)
        return environment

    def containers(self):
        path = self.run_dir / "containers"
        return sorted(os.listdir(path)) if path.is_dir() else []


def busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            return path
    raise RuntimeError("busybox is missing: install the package busybox-static")


def have(program):
    return shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def kernel_landlock_abi():
    """0 where Landlock is missing."""
    code = ("import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
            "print(libc.syscall(444, None, 0, 1))")
    out = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=True)
    return max(0, int(out.stdout))
