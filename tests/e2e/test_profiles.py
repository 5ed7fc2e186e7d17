"""The shipped profiles with the programs that they are for."""
import os
import re
import shutil

from harness import log
from harness.answers import Answers, check
from harness.bundle import DEFAULT_CAPABILITIES
from harness.case import Case

CAPABLE = [*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON",
           "CAP_DAC_READ_SEARCH"]
GIT = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost", "-c", "init.defaultBranch=main"]


def system_mounts():
    """A Debian-like root without an image: this machine's own system, read-only."""
    return [{"destination": where, "type": "bind", "source": where, "options": ["rbind", "ro", "rprivate"]}
            for where in ("/usr", "/etc")]


def system_root(container):
    root = container.bundle.root
    shutil.copy(root / "bin" / "probe", root / "probe")
    shutil.rmtree(root / "bin")
    (root / "usr").mkdir()
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink("/" + name):
            (root / name).symlink_to(f"usr/{name}")
    (root / "workspace").mkdir()
    (root / "root/.ssh").mkdir(parents=True)
    (root / "root/.ssh/id_ed25519").write_text("PRIVATE KEY\n")
    return root


class Shipped(Case):
    label = "shipped"

    def test_every_profile_is_valid(self):
        for path in sorted(self.stage.shipped.glob("*.json")):
            with self.subTest(path.name):
                ended = log.run([self.stage.bin("landgatectl"), "policy", "validate", path],
                                env=self.node().environment())
                self.assertEqual(ended.status, 0, str(ended))
                self.assertIn('"description"', path.read_text())

    def test_each_starts_an_ordinary_image(self):
        for name in ("baseline", "read-only-root", "web-service"):
            for runtime in ("runc", "crun"):
                with self.subTest(name, runtime=runtime):
                    container = self.container(name, runtime=runtime,
                                               args=["/bin/sh", "-c", "echo hello > /tmp/x && cat /tmp/x && ls /bin > /dev/null"])
                    ended = container.run()
                    self.assertEqual((ended.status, ended.out), (0, "hello\n"), str(ended))


class Baseline(Case):
    label = "baseline"

    def test_files_and_network_as_they_are(self):
        self.expect(self.container("baseline"), [
            ("read /srv/outside", "ok"), ("create /srv/new", "ok"), ("exec /data/bin/tool", "ok"),
            ("mkchar /data/open/null", "ok|EPERM"), ("listen 127.0.0.1 80", "ok"), ("connect 127.0.0.1 80", "ok"),
            ("udp 127.0.0.1 9", "ok"), ("unixlisten /tmp/s", "ok"), ("unixconnect /tmp/s", "ok"),
            ("rename /srv/new /data/open/new", "ok"), ("link /srv/outside /data/open/l", "ok"),
            ("socketpair 1 1", "ok"), ("unshare none", "EPERM"),
        ])

    def test_kernel_memory_and_logs(self):
        victims = ["/proc/kcore", "/proc/kmsg", "/proc/kallsyms", "/proc/keys", "/proc/sysrq-trigger"]
        trees = ["/sys/firmware", "/sys/kernel/security"]

        def unmasked(config):  # what a privileged container sees, so that the profile is what denies
            config["linux"]["maskedPaths"] = []
            config["linux"]["readonlyPaths"] = []
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container = self.container("baseline", edit=unmasked, capabilities=CAPABLE, runtime=runtime)
                answers = container.answers([
                    *(f"read {path}" for path in victims), *(f"list {path}" for path in trees),
                    "read /proc/self/comm", "read /proc/self/status", "write /proc/sysrq-trigger",
                    "write /proc/sys/kernel/hostname", "read /proc/sys/kernel/hostname"])
                for path in victims:
                    self.assertEqual(answers.value(f"read {path}"), "", path)
                    self.assertIn(answers.errno(f"read {path}"), ("ok", "EACCES", "EPERM", "EAGAIN", "ENOENT"))
                for tree in trees:
                    self.assertEqual(answers.value(f"list {tree}"), "", tree)
                self.assertIn("probe", answers.value("read /proc/self/comm"))
                self.assertIn("probe", answers.value("read /proc/self/status"))
                self.assertIn(answers.errno("write /proc/sys/kernel/hostname"), ("EROFS", "EACCES"))
                self.assertEqual(answers.errno("read /proc/sys/kernel/hostname"), "ok")

    def test_foreign_environ_is_the_kernels_decision(self):
        container = self.container("baseline")
        with self.held(container):
            self.expect_exec(container, [("read /proc/1/comm", "ok", "probe"), ("as 1000 read /proc/1/environ", "EACCES"),
                                         ("read /proc/self/environ", "ok", "PATH=")])

    def test_system_calls(self):
        rows = [("ptrace 1", "EPERM"), ("mount none /tmp tmpfs", "EPERM"), ("syscall personality 0xffffffff", "EPERM"),
                ("setns /proc/1/ns/net net", "EPERM"), ("unshare net", "EPERM"), ("unshare user", "EPERM"),
                ("clone user", "EPERM"), ("syscall bpf 0 0 0", "EPERM"), ("syscall io_uring_setup 1 0", "EPERM"),
                ("syscall perf_event_open 0 0 0 0 0", "EPERM"), ("syscall userfaultfd 0", "EPERM"),
                ("syscall keyctl 0 0", "EPERM"), ("syscall kexec_load 0 0 0 0", "EPERM"), ("syscall syslog 3 0 0", "EPERM"),
                ("syscall process_vm_readv 1 0 0 0 0 0", "EPERM"), ("syscall reboot 0 0 0 0", "EPERM")]
        self.expect(self.container("baseline", capabilities=CAPABLE), rows)

    def test_privileges_end(self):
        answers = self.container("baseline", capabilities=CAPABLE).answers(["status CapEff", "status CapBnd"])
        self.assertEqual(int(answers.value("status CapEff"), 16) & (1 << 21), 0)
        self.assertEqual(answers.value("status CapEff"), answers.value("status CapBnd"))


class ReadOnlyRoot(Case):
    label = "read-only-root"

    def test_changes_only_in_scratch(self):
        self.expect(self.container("read-only-root", capabilities=CAPABLE), [
            ("read /srv/outside", "ok"), ("exec /data/bin/tool", "ok"),
            *((f"create {path}", "EACCES") for path in ("/new", "/etc/new", "/bin/new", "/root/new", "/var/new", "/srv/new")),
            ("write /etc/passwd", "EACCES"), ("truncate /etc/passwd", "EACCES"), ("unlink /etc/passwd", "EACCES"),
            ("rename /etc/passwd /tmp/passwd", "EACCES|EXDEV"), ("link /etc/passwd /tmp/passwd", "EACCES|EXDEV"),
            ("mkdir /etc/d", "EACCES"),
            ("create /tmp/new", "ok"), ("create /run/new", "ok"), ("create /dev/shm/new", "ok"),
            ("write /dev/null", "ok"), ("write /proc/self/comm", "ok"), ("create /dev/new", "EACCES"),
            ("syscall bpf 0 0 0", "EPERM"), ("read /etc/passwd", "ok", "root"),
        ])

    def test_extended_by_a_volume(self):
        node = self.node()
        node.policy("app", {"landgate": 1, "extends": ["read-only-root"],
                            "paths": [{"allow": ["read", "modify"], "beneath": ["/srv"]}]})
        self.expect(self.container("app", node=node), [("create /srv/new", "ok"), ("create /etc/new", "EACCES")])


class WebService(Case):
    label = "web-service"

    def fetch(self, container, port, seconds=10):
        """From inside the container's network, by a process that is not in the container."""
        state = log.must(container.argv("state", container.id), env=container.environment()).out
        pid = re.search(r'"pid":\s*(\d+)', state)[1]

        def get():
            ended = log.run(["nsenter", "--target", pid, "--net", "/usr/bin/python3", "-c",
                             "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5)"
                             ".read().decode(), end='')", f"http://127.0.0.1:{port}/index.html"])
            return ended.out if ended.status == 0 else ""
        return log.until(get, f"a page from port {port}", seconds)

    def page(self, container, text):
        (container.bundle.root / "srv/www").mkdir()
        (container.bundle.root / "srv/www/index.html").write_text(text)

    def test_busybox_httpd(self):
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container = self.container("web-service", runtime=runtime)
                self.page(container, "hello web\n")
                server = "httpd -f -p 8080 -h /srv/www & trap 'kill %1; exit' TERM; wait"
                with self.held(container, script=server):
                    self.assertEqual(self.fetch(container, 8080), "hello web\n")

    def test_another_port_is_not_served(self):
        container = self.container("web-service", args=["/bin/sh", "-c", "httpd -f -p 8081 -h /srv"])
        ended = container.run()
        self.assertNotEqual(ended.status, 0, str(ended))
        self.assertIn("ermission denied", ended.err, str(ended))

    def test_python_http_server(self):
        container = self.container("web-service", mounts=system_mounts())
        system_root(container)
        self.page(container, "hello python\n")
        server = "/usr/bin/python3 -m http.server 8080 --directory /srv/www & trap 'kill %1; exit' TERM; wait"
        with self.held(container, script=server):
            self.assertEqual(self.fetch(container, 8080, 20), "hello python\n")

    def test_extended_by_a_port(self):
        node = self.node()
        node.policy("app", {"landgate": 1, "extends": ["web-service"],
                            "network": [{"allow": ["bind"], "to": ["*:8081"]},
                                        {"allow": ["connect"], "to": ["*:8081"]}]})
        self.expect(self.container("app", node=node), [
            ("listen 127.0.0.1 8081", "ok"), ("connect 127.0.0.1 8081", "ok"), ("listen 127.0.0.1 8082", "EACCES")])

    def test_denied(self):
        def secrets(container):
            (container.bundle.root / "etc/shadow").write_text("root:hash\n")
        container = self.container("web-service")
        secrets(container)
        self.expect(container, [
            ("listen 127.0.0.1 8080", "ok"), ("connect 127.0.0.1 8080", "EACCES"), ("bind 127.0.0.1 80", "EACCES"),
            ("udp 127.0.0.1 53", "EPERM"), ("socket 17 3 0", "EAFNOSUPPORT"), ("read /etc/shadow", "EACCES"),
            ("read /etc/passwd", "ok"), ("write /etc/passwd", "EACCES"), ("create /srv/new", "EACCES"),
            ("create /tmp/new", "ok"), ("exec /data/bin/tool", "EACCES"), ("syscall ptrace 0", "EPERM"),
        ])


class AgentWorkspace(Case):
    label = "agent-workspace"

    def container_with_checkout(self, **bundle):
        """/workspace is a volume with a repository in it: a tracked .env, an untracked one, hooks, keys."""
        volume = self.stage.directory("checkout")
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(volume), "GIT_CONFIG_NOSYSTEM": "1"}
        (volume / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("compiled and run"); return 0; }\n')
        (volume / "tool.py").write_text("import json, sys\nprint(json.dumps({'python': sys.version_info[0]}))\n")
        (volume / ".env").write_text("TRACKED_KEY=hunter2\n")
        log.must(["git", *GIT, "init", "-q", volume], env=environment)
        log.must(["git", *GIT, "-C", volume, "add", "-A"], env=environment)
        log.must(["git", *GIT, "-C", volume, "commit", "-q", "-m", "first"], env=environment)
        (volume / "sub").mkdir()
        (volume / "sub/.env").write_text("UNTRACKED_KEY=hunter2\n")
        (volume / ".vscode").mkdir()
        (volume / ".vscode/tasks.json").write_text("{}\n")
        (volume / ".git/hooks").mkdir(exist_ok=True)
        (volume / ".git/hooks/pre-commit").write_text("#!/bin/sh\necho a hook of the host ran\nexit 1\n")
        (volume / ".git/hooks/pre-commit").chmod(0o755)
        container = self.container("agent-workspace", mounts=[*system_mounts(), {
            "destination": "/workspace", "type": "bind", "source": str(volume), "options": ["rbind", "rw", "rprivate"]}],
            **bundle)
        system_root(container)
        container.bundle.config["process"]["env"] = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"]
        container.bundle.config["process"]["cwd"] = "/workspace"
        # The probe lies where the profile lets it be executed.
        probe = volume / "probe"
        probe.write_bytes(self.stage.probe.read_bytes())
        probe.chmod(0o755)
        return container, volume

    def shell(self, container, script):
        container.bundle.config["process"]["args"] = ["/bin/bash", "-e", "-c", script]
        container.bundle.write()
        return container.run()

    def probe(self, container, table):
        container.bundle.config["process"]["args"] = ["/workspace/probe", *[row[0] for row in table]]
        container.bundle.write()
        ended = container.run()
        check(self, Answers(ended.out), table, ended)

    def test_work(self):
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container, volume = self.container_with_checkout(runtime=runtime)
                ended = self.shell(container, """
                    gcc -O1 -o main main.c && ./main
                    python3 tool.py
                    git status --short
                    echo '/* changed */' >> main.c
                    git -c user.name=a -c user.email=a@localhost commit -q -m second main.c
                    git log --oneline | wc -l
                    git diff --stat HEAD~1 -- main.c
                    git stash list; git branch work; git checkout -q work
                    mkdir -p /tmp/t && cp main /tmp/t/ && /tmp/t/main
                    head -c 4 /dev/urandom | wc -c; echo x > /dev/null; : > /dev/shm/x; tty || true
                    (echo piped | cat) 2>&1
                """)
                self.assertEqual(ended.status, 0, str(ended))
                self.assertEqual(ended.out.count("compiled and run"), 2, str(ended))
                self.assertIn('{"python": 3}', ended.out)
                self.assertIn("\n2\n", ended.out)
                self.assertNotIn("a hook of the host ran", ended.out + ended.err)
                log_text = log.must(["git", "-C", volume, "log", "--format=%s"],
                                    env={"PATH": "/usr/bin:/bin", "HOME": str(volume)}).out
                self.assertEqual(log_text.split(), ["second", "first"])
                self.assertEqual((volume / ".env").read_text(), "TRACKED_KEY=hunter2\n")

    def test_secrets(self):
        container, volume = self.container_with_checkout()
        (container.bundle.root / "home/me/.ssh").mkdir(parents=True)
        (container.bundle.root / "home/me/.ssh/id_rsa").write_text("KEY\n")
        self.probe(container, [
            ("stat /workspace/.env", "ok", "0"), ("stat /workspace/sub/.env", "ok", "0"),
            ("write /workspace/.env", "EROFS|EACCES"), ("rename /workspace/.env /workspace/e", "EBUSY|EXDEV"),
            ("unlink /workspace/sub/.env", "EBUSY"), ("rename /workspace/sub /workspace/s", "EBUSY|EXDEV"),
            ("link /workspace/sub/.env /workspace/e", "EXDEV|EACCES|EPERM"),
            ("read /root/.ssh/id_ed25519", "EACCES"), ("list /root", "EACCES"),
            ("read /home/me/.ssh/id_rsa", "EACCES"), ("read /etc/shadow", "EACCES"), ("read /etc/passwd", "ok"),
            ("read /srv/outside", "EACCES"),
        ])
        for name in ("/workspace/.env", "/workspace/sub/.env"):
            container.bundle.config["process"]["args"] = ["/workspace/probe", f"read {name}"]
            container.bundle.write()
            self.assertEqual(Answers(container.run().out).value(f"read {name}"), "")
        self.assertEqual((volume / "sub/.env").read_text(), "UNTRACKED_KEY=hunter2\n")

    def test_nothing_is_left_that_the_host_would_execute(self):
        container, volume = self.container_with_checkout()
        config = (volume / ".git/config").read_bytes()
        self.probe(container, [
            ("list /workspace/.git/hooks", "ok|EACCES"),
            ("create /workspace/.git/hooks/post-checkout", "EROFS|EACCES"),
            ("write /workspace/.git/hooks/pre-commit", "ENOENT|EROFS|EACCES"),
            ("rename /workspace/.git /workspace/g", "EBUSY|EXDEV"),
            ("rename /workspace/.git/hooks /workspace/.git/h", "EBUSY|EXDEV"),
            ("write /workspace/.git/config", "EROFS|EACCES"),
            ("create /workspace/.git/config.lock", "ok"),
            ("rename /workspace/.git/config.lock /workspace/.git/config", "EBUSY|EXDEV|EROFS"),
            ("unlink /workspace/.git/config.lock", "ok"),
            ("write /workspace/.vscode/tasks.json", "EROFS|EACCES"),
            ("rename /workspace/.vscode /workspace/v", "EBUSY|EXDEV"),
            ("read /workspace/.vscode/tasks.json", "ok"),
        ])
        ended = self.shell(container, "git config core.hooksPath /workspace && exit 9; git -c core.hooksPath=/tmp status -s > /dev/null")
        self.assertEqual(ended.status, 0, str(ended))
        self.assertEqual((volume / ".git/config").read_bytes(), config)
        self.assertEqual(sorted(name for name in os.listdir(volume / ".git/hooks") if not name.endswith(".sample")),
                         ["pre-commit"])

    def test_the_system_is_read_only(self):
        container, _ = self.container_with_checkout(capabilities=CAPABLE)
        self.probe(container, [
            ("create /usr/new", "EROFS|EACCES"), ("create /srv/new", "EACCES"), ("create /root/new", "EACCES"),
            ("create /tmp/new", "ok"), ("create /workspace/new", "ok"), ("create /new", "EACCES"),
            ("syscall bpf 0 0 0", "EPERM"), ("ptrace 1", "EPERM"), ("unshare user", "EPERM"),
            ("mount none /tmp tmpfs", "EPERM"), ("read /proc/self/comm", "ok"),
        ])
