"""The engines, each with the same few verbs, so that one table of cases covers them all.

    engine.start()                       daemons, images; raises unittest.SkipTest with the reason
    engine.command(name, policy, ops)    argv and environment that run the probe in a container
    engine.exec(name, ops)               the same for an exec session
    engine.end(name), engine.remove(name), engine.stop()

`policy` is None for a container that has nothing to do with us. `exec_sessions` says what happens to them
without an agent: "confined" under landgate-runtime, "refused" in hook mode.

Where landgate-runtime is the engine's runtime, it is started through two spies: one in front of it and one
as its real runtime, each of which keeps a copy of the bundle's config.json, so that a test can compare what
the engine wrote with what the runtime got.
"""
import contextlib
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import unittest

from . import log
from .bundle import Bundle, Container, Held
from .stage import have

IMAGE = "landgate-e2e"
USER = "landgate-e2e"


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


# Copies BUNDLE/config.json on create and run, then goes on.
SPY = """bundle=.
take=
create=
for word in "$@"; do
  if [ -n "$take" ]; then bundle=$word; take=; fi
  case $word in
    --bundle|-b) take=1 ;;
    --bundle=*) bundle=${word#--bundle=} ;;
    create|run) create=1 ;;
  esac
done
if [ -n "$create" ] && [ -f "$bundle/config.json" ]; then cp "$bundle/config.json" '@COPY@'; fi
"""


class Engine:
    exec_sessions = "confined"
    policy_tail = {}  # merged into the policy: what this engine needs said

    def __init__(self, stage, runtime):
        self.stage, self.runtime = stage, runtime
        self.node = None
        self.directory = None

    @property
    def name(self):
        return f"{self.label}-{self.runtime}"

    def need(self, *programs):
        for program in (self.runtime, *programs):
            if not have(program):
                raise unittest.SkipTest(f"{program} is not installed")

    def start(self):
        self.need()
        self.node = self.stage.node()
        self.directory = self.stage.directory("e")

    def stop(self):
        pass

    def remove(self, name):
        pass

    def held(self, name, policy, ops):
        argv, environment = self.command(name, policy, [*ops, "hold"])
        return Held(argv, end=lambda: self.end(name), after=lambda: self.remove(name), env=environment)

    def run(self, name, policy, ops):
        argv, environment = self.command(name, policy, ops)
        try:
            return log.run(argv, env=environment)
        finally:
            self.remove(name)

    # What the engine wrote and what the runtime got for the last container, or None.
    def config_pair(self):
        before, after = self.directory / "before.json", self.directory / "after.json"
        if not before.exists() or not after.exists():
            return None
        return before.read_bytes(), after.read_bytes()

    def wrapped_runtime(self):
        """landgate-runtime between two spies, as one program that an engine can be given."""
        real = have(self.runtime)
        inner = script(self.directory / f"{self.runtime}-spied",
                       SPY.replace("@COPY@", str(self.directory / "after.json"))
                       + f'exec {real} "$@"\n')
        return script(
            self.directory / f"landgate-runtime-{self.runtime}",
            SPY.replace("@COPY@", str(self.directory / "before.json"))
            + self.wrapper_environment()
            + f"LANDGATE_RUNTIME={inner} exec {self.stage.bin('landgate-runtime')} \"$@\"\n")

    def wrapper_environment(self):
        return f"export LANDGATE_CONFIG={self.node.config_file}\n"


class Bundles(Engine):
    """Plain runc and crun on a bundle, patched in place by `landgate-hook inject` or at `create` by
    landgate-runtime."""

    def __init__(self, stage, runtime, how):
        super().__init__(stage, runtime)
        self.how = how
        self.label = how
        self.containers = {}
        if how == "inject":
            # Plain crun connects to a listener before any hook of a bundle has run.
            self.exec_sessions = "refused" if runtime == "runc" else "unconfined"
            if runtime == "crun":
                self.policy_tail = {"execSessions": "unconfined"}

    def command(self, name, policy, ops):
        bundle = Bundle(self.node, policy=policy).probe(*ops)
        container = Container(bundle, self.how, self.runtime)
        self.containers[name] = container
        before = bundle.config_file.read_bytes()
        if self.how == "inject":
            injected = container.inject()
            if injected.status != 0:
                raise AssertionError(str(injected))
        (self.directory / "before.json").write_bytes(before)
        (self.directory / "after.json").write_bytes(bundle.config_file.read_bytes())
        if self.how == "runtime":
            # The engine's own runtime word stands for the wrapped program.
            argv = [self.wrapped_runtime(), "--root", container.state]
        else:
            argv = [self.runtime, "--root", container.state]
        return [*argv, "run", "--bundle", bundle.directory, container.id], container.environment()

    def exec(self, name, ops):
        return self.containers[name].exec("/bin/probe", *ops)

    def end(self, name):
        container = self.containers[name]
        log.run(container.argv("kill", container.id, "TERM"), env=container.environment())

    def remove(self, name):
        if name in self.containers:
            self.containers[name].delete()


CONTAINERS_CONF = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman(Engine):
    """podman, as root or as an ordinary user, with a hooks.d directory or with --runtime."""

    def __init__(self, stage, runtime, how, rootless):
        super().__init__(stage, runtime)
        self.how, self.rootless = how, rootless
        self.label = f"podman-{'rootless-' if rootless else ''}{how}"
        self.exec_sessions = "refused" if how == "hooks" else "confined"

    def start(self):
        super().start()
        self.need("podman", "conmon", *(("newuidmap",) if self.rootless else ()))
        self.home = self.directory / "h"
        self.home.mkdir()
        (self.directory / "containers.conf").write_text(CONTAINERS_CONF)
        self.environment_of_podman = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home), "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "XDG_RUNTIME_DIR": str(self.home / "r")}
        (self.home / "r").mkdir(mode=0o700)  # podman wants a short path
        if self.rootless:
            self.user = an_ordinary_user()
            self.directory.chmod(0o755)
            self._user_configuration()
        self.hooks = self.directory / "hooks.d"
        self.hooks.mkdir()
        if self.how == "hooks":
            self._write_hook()
            self.options = ["--hooks-dir", self.hooks, "--runtime", have(self.runtime)]
        else:
            self.options = ["--hooks-dir", self.hooks, "--runtime", self.wrapped_runtime()]
        if self.rootless:
            log.must(["chown", "-R", USER, self.directory])
            self.directory.chmod(0o755)
        log.must(self._podman("import", self.stage.image_tar(), IMAGE),
                 env=self.environment_of_podman, cwd=self.home)

    def _user_configuration(self):
        """A user's own node: the default places, no --config and no environment variable."""
        directory = self.home / ".config" / "landgate"
        (directory / "policies").mkdir(parents=True)
        self.node.config_file = directory / "config.json"
        self.node.policies = directory / "policies"
        self.node.run_dir = self.home / "r" / "landgate"
        self.node.config_file.write_text(json.dumps(
            {"policyDirs": [str(self.node.policies), str(self.stage.shipped)]}))

    def wrapper_environment(self):
        return "" if self.rootless else super().wrapper_environment()

    def _write_hook(self):
        """The shipped example, with the programs of this test and a spy around it."""
        command = [str(self.stage.bin("landgate-hook")), "precreate"]
        if not self.rootless:
            command += ["--config", str(self.node.config_file)]
        spy = script(self.directory / "precreate-spied",
                     f"tee '{self.directory}/before.json' | {' '.join(command)} "
                     f"> '{self.directory}/after.json'\n"
                     f"status=$?\ncat '{self.directory}/after.json'\nexit $status\n")
        hook = {"path": str(spy), "args": ["landgate-hook"]}
        if self.rootless:  # podman gives hooks no environment, and there is no /run/user/UID here
            hook["env"] = [f"{name}={self.environment_of_podman[name]}"
                           for name in ("PATH", "HOME", "XDG_RUNTIME_DIR")]
        (self.hooks / "landgate.json").write_text(json.dumps(
            {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": ["precreate"]}))

    def _as_user(self, argv):
        if not self.rootless:
            return argv
        return ["setpriv", "--reuid", self.user.pw_uid, "--regid", self.user.pw_gid, "--init-groups", *argv]

    def _podman(self, *words):
        return self._as_user(["podman", "--root", self.home / "storage", "--runroot",
                              self.home / "r" / "s", "--storage-driver", "vfs", *self.options, *words])

    def command(self, name, policy, ops):
        annotation = ["--annotation", f"io.landgate.policy={policy}"] if policy else []
        return (self._podman("run", "--name", name, "--network", "none", *annotation, IMAGE, "/bin/probe",
                             *ops), self.environment_of_podman)

    def held(self, name, policy, ops):
        held = super().held(name, policy, ops)
        held._popen["cwd"] = self.home
        return held

    def run(self, name, policy, ops):
        argv, environment = self.command(name, policy, ops)
        try:
            return log.run(argv, env=environment, cwd=self.home)
        finally:
            self.remove(name)

    def exec(self, name, ops):
        return log.run(self._podman("exec", name, "/bin/probe", *ops), env=self.environment_of_podman,
                       cwd=self.home)

    def end(self, name):
        log.run(self._podman("kill", "--signal", "TERM", name), env=self.environment_of_podman, cwd=self.home)

    def remove(self, name):
        log.run(self._podman("rm", "--force", "--time", "0", name), env=self.environment_of_podman,
                cwd=self.home)

    def stop(self):
        if not self.rootless:
            return
        pause = self.home / "r" / "libpod" / "tmp" / "pause.pid"
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pause.read_text()), 9)
        # Files of the user's subordinate ids; root removes them with the scratch directory.


def an_ordinary_user():
    """A user with subordinate ids; made once, and removed by `remove_user` at the end."""
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        log.must(["useradd", "--no-create-home", "--shell", "/bin/sh", USER])
        for file in ("/etc/subuid", "/etc/subgid"):
            if not any(line.startswith(USER + ":") for line in pathlib.Path(file).read_text().splitlines()):
                option = "--add-subuids" if file.endswith("uid") else "--add-subgids"
                log.must(["usermod", option, "700000-765535", USER])
        return pwd.getpwnam(USER)


def remove_user():
    with contextlib.suppress(KeyError):
        pwd.getpwnam(USER)
        log.run(["userdel", USER])


class Daemon:
    """A process of ours that serves a socket."""

    def __init__(self, argv, log_file, env=None):
        self.output = open(log_file, "w")
        self.log_file = log_file
        self.process = subprocess.Popen([str(word) for word in argv], stdout=self.output,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env)

    def ready(self, argv):
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended: {pathlib.Path(self.log_file).read_text()[-3000:]}")
            return subprocess.run([str(word) for word in argv], capture_output=True).returncode == 0
        log.until(answers, f"{self.process.args[0]} answers", 40)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()


class Docker(Engine):
    """dockerd of our own; the policy by daemon.json's runtimeArgs, as Docker before 25 needs it."""

    label = "docker"

    def start(self):
        super().start()
        self.need("dockerd", "containerd")
        if not os.path.exists("/usr/bin/docker"):
            raise unittest.SkipTest("/usr/bin/docker is not installed")
        wrapper = self.wrapped_runtime()
        (self.directory / "daemon.json").write_text(json.dumps({"runtimes": {
            "landgate": {"path": str(wrapper), "runtimeArgs": ["--landgate-policy", "matrix"]},
            "landgate-default": {"path": str(wrapper)},
            "landgate-unknown": {"path": str(wrapper),
                                 "runtimeArgs": ["--landgate-policy", "no-such-policy"]}}}))
        # A socket's path must be short.
        self.socket = self.directory / "d.sock"
        self.daemon = Daemon(
            ["dockerd", "--config-file", self.directory / "daemon.json", "--iptables=false",
             "--ip6tables=false", "--bridge=none", "--data-root", self.directory / "data", "--exec-root",
             self.directory / "exec", "--pidfile", self.directory / "pid", "--host", f"unix://{self.socket}",
             "--storage-driver", "vfs"], self.directory / "dockerd.log")
        try:
            self.daemon.ready(self._docker("version"))
            log.must(self._docker("import", self.stage.image_tar(), IMAGE))
        except AssertionError:
            self.daemon.stop()
            raise

    def _docker(self, *words):
        return ["/usr/bin/docker", "--host", f"unix://{self.socket}", *words]

    def command(self, name, policy, ops):
        runtime = {"matrix": "landgate", None: "landgate-default"}.get(policy, "landgate-unknown")
        return (self._docker("run", "--name", name, "--network", "none", "--runtime", runtime, IMAGE,
                             "/bin/probe", *ops), None)

    def exec(self, name, ops):
        return log.run(self._docker("exec", name, "/bin/probe", *ops))

    def end(self, name):
        log.run(self._docker("kill", "--signal", "TERM", name))

    def remove(self, name):
        log.run(self._docker("rm", "--force", name))

    def stop(self):
        self.daemon.stop()


class Containerd(Engine):
    """containerd of our own; ctr gives the runtime's program and the annotation."""

    label = "containerd"

    def start(self):
        super().start()
        self.need("containerd", "ctr", "containerd-shim-runc-v2")
        self.socket = self.directory / "c.sock"
        (self.directory / "config.toml").write_text(
            f'version = 2\nroot = "{self.directory}/root"\nstate = "{self.directory}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.socket}"\n')
        self.wrapper = self.wrapped_runtime()
        self.root = self.directory / "rootfs"
        self.root.mkdir()
        self.stage.rootfs(self.root)
        self.daemon = Daemon(["containerd", "--config", self.directory / "config.toml"],
                             self.directory / "containerd.log")
        try:
            self.daemon.ready(self._ctr("version"))
        except AssertionError:
            self.daemon.stop()
            raise

    def _ctr(self, *words):
        return ["ctr", "--address", self.socket, *words]

    def command(self, name, policy, ops):
        root = self.directory / f"rootfs-{name}"
        root.mkdir(exist_ok=True)
        self.stage.rootfs(root)
        annotation = ["--annotation", f"io.landgate.policy={policy}"] if policy else []
        return (self._ctr("run", "--rm", "--rootfs", "--runc-binary", self.wrapper, *annotation, root, name,
                          "/bin/probe", *ops), None)

    def exec(self, name, ops):
        return log.run(self._ctr("tasks", "exec", "--exec-id", f"{name}-exec", name, "/bin/probe", *ops))

    def end(self, name):
        log.run(self._ctr("tasks", "kill", "--signal", "SIGTERM", name))

    def remove(self, name):
        log.run(self._ctr("tasks", "delete", "--force", name))
        log.run(self._ctr("containers", "delete", name))
        shutil.rmtree(self.directory / f"rootfs-{name}", ignore_errors=True)

    def stop(self):
        self.daemon.stop()


# (class, arguments after the stage): a fresh object each time it is started.
ALL = [
    *((Bundles, (runtime, how)) for runtime in ("runc", "crun") for how in ("inject", "runtime")),
    *((Podman, (runtime, how, rootless)) for runtime in ("runc", "crun")
      for rootless in (False, True) for how in ("hooks", "runtime")),
    *((kind, (runtime,)) for kind in (Docker, Containerd) for runtime in ("runc", "crun")),
]
