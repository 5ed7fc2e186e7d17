"""What runc and crun do with the agent as their seccomp agent: processes with and without noNewPrivileges, runs and
exec sessions, hooks inside the container, an agent that is not there, and a profile that is somebody else's."""
import os
import re

from harness import log
from harness.agent import Agent
from harness.answers import Answers, check
from harness.case import Case
from harness.policies import DATA, allow, policy

import test_profiles

RUNTIMES = ("runc", "crun")
AUDIT = {"io.landgate.mode": "audit"}
POLICY = policy(DATA)
# Everything here is done, and would have been denied: (operation, system call, path).
NOTIFIED = [
    ("read:open /srv/outside", "open", "/srv/outside"),
    ("read:openat /srv/outside", "openat", "/srv/outside"),
    ("read:openat2 /srv/outside", "openat2", "/srv/outside"),
    ("write:creat /srv/a", "creat", "/srv/a"),
    ("truncate /srv/a", "truncate", "/srv/a"),
    ("mkdir:mkdir /srv/d", "mkdir", "/srv/d"),
    ("mkdir:mkdirat /srv/d2", "mkdirat", "/srv/d2"),
    ("rename:rename /srv/a /srv/b", "rename", "/srv/a"),
    ("rename:renameat /srv/b /srv/a", "renameat", "/srv/b"),
    ("rename:renameat2 /srv/a /srv/b", "renameat2", "/srv/a"),
    ("link:link /srv/b /srv/c", "link", "/srv/c"),
    ("link:linkat /srv/b /srv/c2", "linkat", "/srv/c2"),
    ("symlink:symlink b /srv/s", "symlink", "/srv/s"),
    ("symlink:symlinkat b /srv/s2", "symlinkat", "/srv/s2"),
    ("mkfifo:mknod /srv/f", "mknod", "/srv/f"),
    ("mkfifo:mknodat /srv/f2", "mknodat", "/srv/f2"),
    ("unlink:unlink /srv/f", "unlink", "/srv/f"),
    ("unlink:unlinkat /srv/f2", "unlinkat", "/srv/f2"),
    ("rmdir:rmdir /srv/d", "rmdir", "/srv/d"),
    ("exec /srv/tool", "execve", "/srv/tool"),
    ("exec:execveat /srv/tool", "execveat", "/srv/tool"),
]
NATIVE = {"open", "creat", "mkdir", "rename", "link", "symlink", "mknod", "unlink", "rmdir"}  # not on arm64


class ProtocolCase(Case):
    def setUp(self):
        self.agents_node = self.node()
        self.agent = Agent(self.agents_node).start()
        self.addCleanup(self.agent.stop)

    def audited(self, runtime, how="inject", **options):
        return self.container(POLICY, how=how, runtime=runtime, node=self.agents_node, annotations=AUDIT, **options)

    def tool(self, container):
        """An executable where the policy allows none."""
        target = container.bundle.root / "srv" / "tool"
        target.write_text("#!/bin/sh\nexit 0\n")
        target.chmod(0o755)

    def forgotten(self):
        log.until(lambda: not self.agent.containers(), "the agent has forgotten the container")


class Notified(ProtocolCase):
    label = "notified"

    def rows(self):
        foreign = os.uname().machine != "x86_64"
        return [row for row in NOTIFIED if not (foreign and row[1] in NATIVE)]

    MATRIX = [(runtime, how, no_new_privileges) for runtime in RUNTIMES for how in ("inject", "runtime")
              for no_new_privileges in (False, True)]

    def assert_told(self, container, session):
        """Each was notified, decided and recorded, by the process it came from."""
        for operation, call, path in self.rows():
            def told(call=call, path=path):
                records = self.agent.audit(container=container.id, syscall=call, path=path, verdict="audit")
                return [record for record in records if (record["nspid"] == 1) != session or "exec" in call]
            log.until(told, f"{operation} is in the audit log", 10)

    def test_every_call_of_run_and_exec(self):
        for runtime, how, no_new_privileges in self.MATRIX:
            def edit(config, flag=no_new_privileges):
                config["process"]["noNewPrivileges"] = flag
            container = self.audited(runtime, how, edit=edit)
            self.tool(container)
            flag = "1" if no_new_privileges else "0"
            table = [*((row[0], "ok") for row in self.rows()), ("status NoNewPrivs", "ok", flag),
                     ("status Seccomp", "ok", "2")]
            operations = [row[0] for row in table]
            with self.held(container, *operations) as running:
                check(self, Answers(running.out), table)
                self.assert_told(container, session=False)
                for name in os.listdir(container.bundle.root / "srv"):
                    path = container.bundle.root / "srv" / name
                    if name not in ("outside", "tool"):
                        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
                flags = ["--no-new-privs"] if no_new_privileges else []
                ended = container.exec("/bin/probe", *operations, flags=flags)
                check(self, Answers(ended.out), table, ended)
                self.assert_told(container, session=True)
                ended = container.exec("/bin/sh", "-c", "cat /srv/outside; exit 42", flags=flags)
                self.assertEqual((ended.status, ended.out), (42, "outside\n"), str(ended))
            self.forgotten()

    def test_other_users(self):
        """The runtime changes its user while it is notified already."""
        for runtime, how, no_new_privileges in self.MATRIX:
            def edit(config, flag=no_new_privileges):
                config["process"]["noNewPrivileges"] = flag
                config["process"]["user"]["additionalGids"] = [5, 6]
            container = self.audited(runtime, how, uid=1000, edit=edit)
            table = [("status Uid", "ok", "1000"), ("read /srv/outside", "ok", "outside"), ("write /etc/passwd", "EACCES"),
                     ("exec /bin/true", "ok", "exit 0")]
            with self.held(container, *[row[0] for row in table]) as running:
                check(self, Answers(running.out), table)
                ended = container.exec("/bin/probe", *[row[0] for row in table], flags=["--user", "1000:1000"])
                check(self, Answers(ended.out), table, ended)
            self.forgotten()


class Programs(ProtocolCase):
    """What people run, as it is without a policy: each call to open, execute or connect is notified."""
    label = "programs"

    SCRIPT = r"""
set -eu
cd /workspace
printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 3; }\n' > main.c
gcc -Wall -O1 -o main main.c
status=0; ./main || status=$?; echo "exit $status"
python3 -I - <<'PYTHON'
import json, os, socket, subprocess, sys, tempfile, threading
print(json.dumps({"file": open("/workspace/main.c").readline()}))
print(subprocess.run(["sh", "-c", "echo child; exit 5"], capture_output=True))
with tempfile.TemporaryDirectory() as where:
    open(os.path.join(where, "a"), "x").close()
    os.link(os.path.join(where, "a"), os.path.join(where, "b"))
    print(sorted(os.listdir(where)))
for path in ("/absent", "/workspace/main.c/x"):
    try:
        open(path)
    except OSError as error:
        print(path, error.errno)
server = socket.create_server(("127.0.0.1", 8080))
thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"))
thread.start()
with socket.create_connection(("127.0.0.1", 8080)) as client:
    print(client.recv(5))
thread.join()
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError as error:
    print(error.errno)
PYTHON
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000'
git init -q -b main .
git config user.name a
git config user.email a@localhost
git add -A
git commit -q -m first
git log --format=%s
git branch work
git checkout -q work
echo more >> main.c
git commit -q -a -m second
git checkout -q main
git merge -q work
git log --oneline | wc -l
git status --short
git fsck
for i in 1 2 3 4 5 6 7 8; do sh -c "echo $i" | cat & done | sort; wait
find . -name '*.c' -exec wc -c {} +
tar cf - main.c | tar tf -
"""

    def run_in(self, runtime, how, mode):
        volume = self.stage.directory("workspace")
        mounts = [*test_profiles.system_mounts(),
                  {"destination": "/workspace", "type": "bind", "source": str(volume), "options": ["bind", "rw"]}]

        def edit(config):
            config["process"]["env"] = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C"]
        options = {"mounts": mounts, "edit": edit, "node": self.agents_node, "runtime": runtime}
        if mode == "audit":
            container = self.container(policy(allow("read modify execute", "/tmp"), network=[]), how=how, annotations=AUDIT,
                                       **options)
        else:
            container = self.container(how="plain", **options)
        test_profiles.system_root(container)
        # A container's own loopback is down until somebody takes it up; so are these, both times.
        container.bundle.config["linux"]["namespaces"] = [
            {"type": name} for name in ("pid", "ipc", "uts", "mount")] + [{"type": "network", "path": self.namespace}]
        container.bundle.config["process"]["args"] = ["/bin/bash", "-c", self.SCRIPT]
        container.bundle.write()
        return container, container.run(timeout=300)

    def setUp(self):
        super().setUp()
        name = f"lg-{os.getpid()}"
        log.must(["ip", "netns", "add", name])
        self.addCleanup(log.run, ["ip", "netns", "delete", name])
        log.must(["ip", "-n", name, "link", "set", "lo", "up"])
        self.namespace = f"/run/netns/{name}"

    def test_shell_compiler_python_and_git(self):
        for runtime in RUNTIMES:
            _, without = self.run_in(runtime, "plain", "none")
            self.assertEqual(without.status, 0, str(without))
            for word in ("compiled", "exit 3", "child", "hello", "first"):
                self.assertIn(word, without.out)
            for how in ("inject", "runtime"):
                with self.subTest(runtime=runtime, how=how):
                    container, ended = self.run_in(runtime, how, "audit")
                    self.assertEqual((ended.status, ended.out, ended.err), (0, without.out, without.err))
                    for call in ("execve", "openat", "connect", "bind"):  # gcc's cc1 lies beneath /usr/lib
                        self.agent.audited(container=container.id, syscall=call, verdict="audit")
                    self.forgotten()


class NoAgent(ProtocolCase):
    label = "no-agent"

    def prepared(self, runtime):
        container = self.audited(runtime)
        container.bundle.probe("read /srv/outside")
        self.assertEqual(container.inject().status, 0)
        return container

    def run_prepared(self, container):
        try:
            return log.run(container.argv("run", "--bundle", container.bundle.directory, container.id),
                           env=container.environment())
        finally:
            container.delete()

    def test_the_runtime_refuses(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.prepared(runtime)
                self.agent.stop()
                ended = self.run_prepared(container)
                self.assert_refused(ended)
                self.assertEqual(self.agents_node.containers(), [])
                self.agent.start()
                ended = self.run_prepared(container)
                self.assertEqual(Answers(ended.out).errno("read /srv/outside"), "ok", str(ended))

    def test_sessions_without_agent_and_holder(self):
        """Nobody is left to answer: a new session is refused."""
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.audited(runtime)
                with self.held(container, "read /srv/outside"):
                    self.agent.stop()
                    ended = container.exec("/bin/probe", "read /srv/outside")
                    self.assert_refused(ended)
                self.agent.start()

    def test_agent_gone_and_back(self):
        """The same running container goes on with the next agent."""
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.audited(runtime)
                script = "while :; do cat /srv/outside > /data/open/now && mv /data/open/now /data/open/again; done"
                with self.held(container, script=script):
                    again = container.bundle.root / "data/open/again"
                    for _ in range(3):
                        self.agent.kill()
                        again.unlink(missing_ok=True)
                        self.agent.start()
                        log.until(lambda file=again: file.exists() and file.read_text() == "outside\n", "it goes on")
                    log.run(container.argv("kill", container.id, "KILL"), env=container.environment())
                self.forgotten()


class Hooks(ProtocolCase):
    """startContainer hooks run in the container, after its filter is there and before its program."""
    label = "hooks"

    LIST = "for fd in /proc/self/fd/*; do readlink $fd; done > /data/open/fds; /bin/cat /srv/outside > /data/open/hooked"

    def hooked(self, config):
        config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", self.LIST]}]}

    def seen(self, container):
        """The kinds of what is open in a hook: without the numbers of pipes and sockets."""
        text = (container.bundle.root / "data/open/fds").read_text()
        return sorted(re.sub(r"\d+", "N", line) for line in text.splitlines())

    def test_no_descriptor_more_and_programs_work(self):
        (applets := self.stage.template / "bin" / "readlink").exists() or applets.symlink_to("busybox")
        for runtime in RUNTIMES:
            plain = self.container(how="plain", runtime=runtime, node=self.agents_node, edit=self.hooked)
            self.expect(plain, [("read /data/open/hooked", "ok", "outside")])
            without = self.seen(plain)
            self.assertTrue(without)
            for mode in ("audit", "enforce"):
                for no_new_privileges in (False, True):
                    with self.subTest(runtime=runtime, mode=mode, no_new_privileges=no_new_privileges):
                        def edit(config, flag=no_new_privileges):
                            self.hooked(config)
                            config["process"]["noNewPrivileges"] = flag
                        container = self.container(POLICY, how="inject", runtime=runtime, node=self.agents_node,
                                                   annotations=AUDIT if mode == "audit" else None, edit=edit)
                        outside = "ok" if mode == "audit" else "EACCES"
                        self.expect(container, [("read /data/open/hooked", "ok", "outside"), ("read /srv/outside", outside),
                                                ("exec /bin/true", "ok", "exit 0")])
                        self.assertEqual(self.seen(container), without)
                        for kind in ("seccomp", "landgate"):
                            self.assertNotIn(kind, " ".join(self.seen(container)))

    def test_the_workload_sees_none_either(self):
        for runtime in RUNTIMES:
            plain = Answers(self.held_output(self.container(how="plain", runtime=runtime, node=self.agents_node)))
            for annotations in (AUDIT, None):
                container = self.container(POLICY, how="inject", runtime=runtime, node=self.agents_node,
                                           annotations=annotations)
                answers = Answers(self.held_output(container))
                self.assertEqual(re.sub(r"\d+", "N", answers.value("fds")), re.sub(r"\d+", "N", plain.value("fds")))

    def held_output(self, container):
        container.bundle.probe("fds")
        ended = container.run()
        self.assertEqual(ended.status, 0, str(ended))
        return ended.out


class Foreign(ProtocolCase):
    """A profile that nobody of ours wrote, and which names our agent."""
    label = "foreign"

    def profile(self, config):
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(self.agent.socket), "listenerMetadata": "mine",
            "syscalls": [{"names": ["mkdir", "mkdirat", "rmdir"], "action": "SCMP_ACT_NOTIFY"}]}

    def test_its_calls_are_not_implemented_and_it_is_told(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.container(how="plain", runtime=runtime, node=self.agents_node, edit=self.profile)
                table = [("mkdir:mkdir /srv/d", "ENOSYS"), ("mkdir:mkdirat /srv/d", "ENOSYS"), ("rmdir /srv", "ENOSYS"),
                         ("read /srv/outside", "ok"), ("exec /bin/true", "ok")]
                with self.held(container, *[row[0] for row in table]) as running:
                    check(self, Answers(running.out), table)
                    [record, *_] = self.agent.audited(event="listener_refused", container=container.id)
                    self.assertIn("not registered", record["message"])
                    self.assertTrue(any(container.id in line and "not registered" in line for line in self.agent.errors))
                    # Also those of a session, and under the next agent.
                    self.agent.restart()
                    ended = container.exec("/bin/probe", *[row[0] for row in table])
                    check(self, Answers(ended.out), table, ended)
                self.assertFalse((container.bundle.root / "srv/d").exists())
                self.assertEqual(self.agent.containers(), [])

    def test_one_that_runtimes_need_refuses_the_container(self):
        """ENOSYS for the container's own execve: it does not start, rather than starting unobserved."""
        def edit(config):
            self.profile(config)
            config["linux"]["seccomp"]["syscalls"][0]["names"].append("execve")
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.container(how="plain", runtime=runtime, node=self.agents_node, edit=edit)
                container.bundle.probe("read /srv/outside")
                self.assert_refused(container.run())

    def test_beside_a_policy(self):
        """With a policy of ours: hook mode has no place for it; else what it notifies is denied, never passed."""
        container = self.container(POLICY, how="inject", node=self.agents_node, edit=self.profile)
        container.bundle.probe("mkdir /data/d")
        before = container.bundle.config_file.read_text()
        self.assert_refused(container.run(), "seccomp")
        self.assertEqual(container.bundle.config_file.read_text(), before)
        for runtime in RUNTIMES:
            container = self.container(POLICY, how="runtime", runtime=runtime, node=self.agents_node, edit=self.profile)
            self.expect(container, [("mkdir:mkdir /data/d", "EPERM"), ("mkdir:mkdirat /data/d", "EPERM"),
                                    ("read /data/open/file", "ok"), ("read /srv/outside", "EACCES")])
