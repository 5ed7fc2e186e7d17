#!/usr/bin/env python3
"""The measurements behind bench/run.sh: measure.py BUILD ROUNDS."""
import contextlib
import copy
import ctypes
import json
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

# Twenty rules on twenty directories; two of them deny, so masks and a pin are part of what is measured.
DIRECTORIES = [f"/data/{name:02d}" for name in range(18)]
POLICY = {
    "landgate": 1,
    "paths": [
        *({"allow": ["read", "execute"], "beneath": [path]} for path in ["/bin", *DIRECTORIES[1:]]),
        {"deny": ["all"], "beneath": ["/data/01/private"]},
        {"deny": ["all"], "file": ["/data/02/secret"]},
    ],
}
CONFIG = {
    "ociVersion": "1.0.2",
    "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/",
                "env": ["PATH=/bin"],
                "capabilities": {name: ["CAP_CHOWN", "CAP_SETPCAP"] for name in
                                 ("bounding", "effective", "permitted")}},
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {"namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")]},
}


class Bench:
    def __init__(self, build, rounds):
        self.rounds = rounds
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="landgate-bench."))
        # Bundles of engines lie in memory (/run), so these do; the mount ends with this process.
        libc = ctypes.CDLL(None)
        libc.unshare(0x20000)  # CLONE_NEWNS
        libc.mount(None, b"/", None, 0x84000, None)  # MS_REC | MS_SLAVE
        libc.mount(b"bench", str(self.scratch).encode(), b"tmpfs", 0, b"mode=755")
        prefix = self.scratch / "prefix"
        subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True, capture_output=True)
        self.hook = prefix / "bin" / "landgate-hook"
        (self.scratch / "policies").mkdir()
        for name, more in (("bench", {}), ("bench-unconfined", {"execSessions": "unconfined"})):
            (self.scratch / "policies" / f"{name}.json").write_text(json.dumps({**POLICY, **more}))
        self.config_file = self.scratch / "config.json"
        self.environment = {**ENVIRONMENT, "LANDGATE_CONFIG": str(self.config_file)}
        self.config_file.write_text(json.dumps({"policyDirs": [str(self.scratch / "policies")],
                                                "runDir": str(self.scratch / "run")}))
        self.root = self.scratch / "rootfs"
        for path in ("bin", "proc", "dev", "sys", "data/01/private", *(path[1:] for path in DIRECTORIES)):
            (self.root / path).mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/busybox", self.root / "bin" / "busybox")
        (self.root / "bin" / "true").symlink_to("busybox")
        for program in ("open-loop", "landlock-only"):
            shutil.copy(pathlib.Path(build) / "bench" / program, self.root / "bin" / program)
        (self.root / "data/02/secret").write_text("secret\n")
        (self.root / "data/05/file").write_text("file\n")
        self.failed = 0
        self.count = 0

    def bundle(self, name, args=("/bin/true",), policy="", hooks=False, inject=True):
        """A bundle on the common root file system; under a policy, patched by `inject` or left to landgate-runtime."""
        directory = self.scratch / name
        directory.mkdir()
        config = copy.deepcopy(CONFIG)
        config["root"]["path"] = str(self.root)
        config["process"]["args"] = list(args)
        if policy:
            config["annotations"] = {"io.landgate.policy": policy}
        if hooks:
            config["hooks"] = {stage: [{"path": "/bin/true", "args": ["true"]}]
                               for stage in ("prestart", "poststop")}
        (directory / "config.json").write_text(json.dumps(config))
        if policy and inject:
            subprocess.run([self.hook, "inject", "--bundle", directory, "--config", self.config_file], check=True,
                           env=ENVIRONMENT, capture_output=True)
        return directory

    def start(self, bundle, runtime=("runc",)):
        """Seconds from `runc run` to its end, and what the container printed."""
        self.count += 1
        argv = [*map(str, runtime), "--root", str(self.scratch / "runc"),
                "run", "--bundle", str(bundle), f"bench-{self.count}"]
        began = time.perf_counter()
        done = subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode != 0:
            sys.exit(f"bench: {argv}: {done.stderr}")
        return seconds, done.stdout

    def interleaved(self, *measures):
        """Rounds of all measures in turn, the order reversed every other round."""
        for measure in measures:
            measure()
        results = [[] for _ in measures]
        for turn in range(self.rounds):
            order = range(len(measures)) if turn % 2 == 0 else reversed(range(len(measures)))
            for index in order:
                results[index].append(measures[index]())
        return results

    def report(self, what, measured, bound, good):
        self.failed += not good
        print(f"{'PASS' if good else 'FAIL'}  {what:<52} {measured:<46} bound: {bound}", flush=True)

    def container_start(self):
        """The one start without Landgate, and the ways to start under the same floor, in turns."""
        plain = self.bundle("plain", hooks=True)
        injected = self.bundle("injected", policy="bench")
        unconfined = self.bundle("unconfined", policy="bench-unconfined")
        through = self.bundle("through", policy="bench", inject=False)
        runtime = [self.hook.parent / "landgate-runtime"]
        ways = {
            "inject, execSessions unconfined": lambda: self.start(unconfined)[0],
            "inject (exec sessions are refused)": lambda: self.start(injected)[0],
            "landgate-runtime": lambda: self.start(through, runtime)[0],
        }
        before, *results = self.interleaved(lambda: self.start(plain)[0], *ways.values())
        base = statistics.median(before) * 1e3
        print(f"runc run with two no-op hooks: {base:.2f} ms; under a floor of 20 rules:")
        for way, seconds in zip(ways, results):
            after = statistics.median(seconds) * 1e3
            paired = statistics.median(x - y for x, y in zip(seconds, before)) * 1e3
            self.report(f"  {way}", f"{after:.2f} ms ({after / base:.3f}x; paired {paired:+.2f} ms)", "1.05x",
                        after <= base * 1.05)

    def precreate(self):
        config = json.loads((HERE.parent / "tests/data/configs/podman.before.json").read_text())
        config["annotations"].pop("io.landgate.policy", None)
        plain = json.dumps(config)
        config["annotations"]["io.landgate.policy"] = "bench"
        named = json.dumps(config)

        def run(document):
            began = time.perf_counter()
            done = subprocess.run([str(self.hook), "precreate", "--config", str(self.config_file)], input=document,
                                  env=ENVIRONMENT, capture_output=True, text=True)
            seconds = time.perf_counter() - began
            if done.returncode != 0:
                sys.exit(f"bench: precreate: {done.stderr}")
            # What refuses exec sessions waits for the runtime's one connection: this is it.
            for path in (self.scratch / "run" / "exec").glob("*.sock"):
                with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
                    connection.connect(str(path))  # the one before takes its socket away by itself
            return seconds
        none, policy, true = (statistics.median(values) * 1e3 for values in self.interleaved(
            lambda: run(plain), lambda: run(named), lambda: timed(["/bin/true"])))
        self.report(f"landgate-hook precreate, podman's config ({len(named) // 1024} KiB)",
                    f"{policy:.2f} ms (no policy {none:.2f}, /bin/true {true:.2f})", "5 ms", policy <= 5)

    def opens(self):
        # Engines' containers have a seccomp profile already; so have these, with and without the floor.
        podman = json.loads((HERE.parent / "tests/data/configs/podman.before.json").read_text())
        CONFIG["linux"]["seccomp"] = podman["linux"]["seccomp"]
        loop = ["/bin/open-loop", "/data/05/file", "20000"]
        floor = self.bundle("open-floor", args=loop, policy="bench")
        allowed = ["/bin", *DIRECTORIES[1:]]
        alone = self.bundle("open-landlock", args=["/bin/landlock-only", *allowed, "--", *loop])
        none = self.bundle("open-none", args=loop)
        first, ours, second, native = self.interleaved(*(
            (lambda bundle=bundle: float(self.start(bundle)[1])) for bundle in (alone, floor, alone, none)))
        reference = statistics.median(first + second)
        # Noise: how far two measurements of the same thing lie apart within one round.
        noise = statistics.median(abs(a - b) for a, b in zip(first, second))
        cost = statistics.median(value - (a + b) / 2 for value, a, b in zip(ours, first, second))
        self.report("open+close under the floor, and by Landlock alone",
                    f"{statistics.median(ours):.0f} ns, {reference:.0f} ns ({cost:+.0f} ns; none: "
                    f"{statistics.median(native):.0f} ns)", f"noise, {noise:.0f} ns", cost <= noise)

    def run(self):
        try:
            print(f"medians of {self.rounds} interleaved rounds")
            self.container_start()
            self.precreate()
            self.opens()
        finally:
            ctypes.CDLL(None).umount2(str(self.scratch).encode(), 2)
            self.scratch.rmdir()
        return 1 if self.failed else 0


def timed(argv):
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(Bench(sys.argv[1], int(sys.argv[2])).run())
