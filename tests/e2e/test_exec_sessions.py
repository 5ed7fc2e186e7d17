"""Exec sessions: confined under landgate-runtime, refused in hook mode, unconfined only where a policy says so."""
import json
import subprocess

from harness import log
from harness.answers import Answers, check
from harness.bundle import Container
from harness.case import Case
from harness.policies import DATA, deny_file, policy

CONFINED = [
    ("read /data/open/file", "ok"),
    ("read /srv/outside", "EACCES"),
    ("read /data/secret.txt", "EACCES"),
    ("exec /data/bin/tool", "EACCES"),
    ("status NoNewPrivs", "ok", "1"),
    ("mount none /tmp tmpfs", "EPERM"),
]
POLICY = {**policy(DATA, deny_file("/data/secret.txt")),
          "capabilities": {"keep": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]}, "network": []}


class Confined(Case):
    label = "confined"

    def test_commands(self):
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container = self.container(POLICY, runtime=runtime)
                with self.held(container):
                    self.expect_exec(container, CONFINED + [("connect 127.0.0.1 7001", "EACCES")])
                    self.expect_exec(container, [*CONFINED[:3], ("status Uid", "ok", "1000")],
                                     flags=["--user", "1000:1000"])
                    self.expect_exec(container, CONFINED[:3], flags=["--cwd", "/data"])
                    self.expect_exec(container, [("env", "ok", "A=b")], flags=["--env", "A=b"])

    def test_process_documents(self):
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container = self.container(POLICY, runtime=runtime)
                with self.held(container):
                    process = dict(container.bundle.config["process"])
                    every = ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW"]
                    process.update(
                        args=["/bin/probe", *[row[0] for row in CONFINED], "status CapEff", "status CapBnd"],
                        capabilities={name: every for name in ("bounding", "effective", "permitted")})
                    path = container.bundle.directory / "process.json"
                    path.write_text(json.dumps(process))
                    before = path.read_bytes()
                    ended = log.run(container.argv("exec", "--process", path, container.id),
                                    env=container.environment())
                    check(self, Answers(ended.out), [*CONFINED, ("status CapEff", "ok", f"{1:016x}"),
                                                    ("status CapBnd", "ok", f"{1:016x}")], ended)
                    self.assertEqual(path.read_bytes(), before, "the engine's file is not ours to change")

    def test_capabilities_that_a_session_asks_for(self):
        container = self.container(POLICY)
        with self.held(container):
            self.expect_exec(container, [("status CapEff", "ok", f"{3:016x}"), ("status CapPrm", "ok", f"{3:016x}")],
                             flags=["--cap", "CAP_SYS_ADMIN"])

    def test_exit_status(self):
        container = self.container(POLICY)
        with self.held(container):
            for status in (0, 1, 42):
                self.assertEqual(container.exec("/bin/probe", f"exit {status}").status, status)
            self.assertEqual(container.exec("/bin/absent").status, 127)
            self.assertEqual(container.exec("/etc/passwd").status, 126)

    def test_created_and_started_apart(self):
        container = self.container(POLICY)
        container.bundle.probe("hold")
        self.addCleanup(container.delete)
        with open(container.bundle.directory / "out", "w") as out:

            subprocess.run([str(word) for word in container.argv("create", "--bundle", container.bundle.directory,
                                                                 container.id)],
                           env=container.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True)
        log.must(container.argv("start", container.id), env=container.environment())
        log.until(lambda: "hold" in (container.bundle.directory / "out").read_text(), "the probe runs")
        self.expect_exec(container, CONFINED)

    def test_an_object_replaced_meanwhile(self):
        """A rule's file may be replaced by its owner; the session goes on and grants no more."""
        container = self.container({**POLICY, "paths": POLICY["paths"] + [
            {"allow": ["read"], "file": ["/srv/outside"]}]})
        with self.held(container):
            self.expect_exec(container, [("read /srv/outside", "ok")])
            outside = container.bundle.root / "srv/outside"
            outside.unlink()
            outside.symlink_to("/root")
            self.expect_exec(container, [("read /srv/outside", "EACCES|EISDIR"), ("list /root", "EACCES"),
                                         ("read /data/open/file", "ok")])

    def test_a_policy_less_container_is_not_touched(self):
        container = self.container()
        with self.held(container):
            self.expect_exec(container, [("read /srv/outside", "ok"), ("status NoNewPrivs", "ok", "0")])

    def test_a_lost_record_refuses(self):
        container = self.container(POLICY)
        with self.held(container):
            log.must(["rm", "-rf", container.bundle.node.run_dir / "containers" / container.id])
            ended = container.exec("/bin/probe", "read /srv/outside")
            self.assert_refused(ended, container.id)


class Refused(Case):
    label = "refused"

    def test_by_policy(self):
        for runtime in ("runc", "crun"):
            container = self.container({**POLICY, "execSessions": "refused"}, runtime=runtime)
            with self.held(container):
                self.assert_refused(container.exec("/bin/probe", "read /data/open/file"), "execSessions")

    def test_hook_mode(self):
        """Plain `runc exec` into an injected bundle: runc finds nobody at the listener."""
        container = self.container(POLICY, how="inject")
        with self.held(container):
            for flags in ((), ("--user", "1000")):
                ended = container.exec("/bin/probe", "read /srv/outside", flags=list(flags))
                self.assertNotEqual(ended.status, 0, str(ended))
                self.assertNotIn('"op"', ended.out)

    def test_plain_runtime_on_a_wrapped_container(self):
        """Whoever may call runc on the host is the administrator: documented, not held."""
        container = self.container(POLICY)
        with self.held(container):
            plain = Container(container.bundle, "plain")
            plain.id, plain.state = container.id, container.state
            ended = plain.exec("/bin/probe", "read /data/open/file")
            self.assertEqual(Answers(ended.out).errno("read /data/open/file"), "ok", str(ended))

    def test_plain_crun_with_an_injected_bundle_says_the_way_out(self):
        container = self.container(POLICY, how="inject", runtime="crun")
        container.bundle.probe("read /data/open/file")
        injected = container.inject()
        self.assertEqual(injected.status, 0, str(injected))
        self.assertIn("landgate-runtime", injected.err)
        self.assertIn("execSessions", injected.err)


class Unconfined(Case):
    label = "unconfined"

    def test_only_where_the_policy_says_so(self):
        for how in ("runtime", "inject"):
            container = self.container({**POLICY, "execSessions": "unconfined"}, how=how)
            with self.held(container, "read /srv/outside") as running:
                self.assertEqual(Answers(running.out).errno("read /srv/outside"), "EACCES")
                self.expect_exec(container, [("read /srv/outside", "ok"), ("read /data/secret.txt", "EACCES")])


