"""Audit mode: what its records say. That everything goes on under it is in test_agent_protocol.py."""
import json

from harness import log
from harness.agent import Agent
from harness.answers import Answers, check
from harness.case import Case
from harness.policies import DATA, allow, deny, deny_file, policy

RUNTIMES = ("runc", "crun")
AUDIT = {"io.landgate.mode": "audit"}
POLICY = policy(DATA, deny("all", "/data/private"), deny_file("/data/ro/file", rights="modify"),
                {"deny": ["all"], "glob": ["/data/**/*.env"]}, allow("read", "/via"),
                network=[{"allow": ["connect"], "to": ["*:80"]}, {"deny": ["connect"], "to": ["*:81"]},
                         {"allow": ["bind"], "to": ["*:8080", "*:0"]}])


class Records(Case):
    label = "records"

    def setUp(self):
        self.agents_node = self.node()
        self.agent = Agent(self.agents_node).start()
        self.addCleanup(self.agent.stop)

    def audited(self, runtime="runc", document=POLICY, **options):
        container = self.container(document, how="inject", runtime=runtime, node=self.agents_node, annotations=AUDIT, **options)
        (container.bundle.root / "via").symlink_to("srv")
        (container.bundle.root / "data" / "open" / "out").symlink_to("/etc/passwd")
        (container.bundle.root / "data" / "open" / ".env").write_text("x")
        return container

    def told(self, container, **fields):
        return self.agent.audit(container=container.id, **fields)

    def run_script(self, container, script):
        container.bundle.config["process"]["args"] = ["/bin/sh", "-c", script]
        container.bundle.write()
        ended = container.run()
        self.assertEqual(ended.status, 0, str(ended))
        log.until(lambda: self.told(container, event="container_ended"), "the container has ended")
        return ended

    def test_each_names_its_rule_and_the_object(self):
        rows = [  # operation, path, rights, reason, rule, path as written
            ("read /data/private/key", "/data/private/key", "fs.read_file", "rule", "tested#/paths/3", None),
            ("write /data/ro/file", "/data/ro/file", "fs.write_file", "rule", "tested#/paths/4", None),
            ("read /data/open/.env", "/data/open/.env", "fs.read_file", "rule", "tested#/paths/5", None),
            ("write /data/open/out", "/etc/passwd", "fs.write_file", "insufficient_access", None,
             "/data/open/out"),
            ("unlink /data/open/.env", "/data/open/.env", "fs.remove_file", "rule", "tested#/paths/5", None),
            ("mkdir /tmp/d", "/tmp/d", "fs.make_dir", "not_covered", None, None),
        ]
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                container = self.audited(runtime)
                allowed = ["read /data/open/file", "read /via/outside", "read /proc/self/status"]
                container.bundle.probe(*[row[0] for row in rows], *allowed)
                ended = container.run()
                check(self, Answers(ended.out), [(op, "ok") for op in [*(row[0] for row in rows), *allowed]], ended)
                for op, path, rights, reason, rule, written in rows:
                    [record, *_] = [found for found in log.until(lambda path=path: self.told(container, path=path), op, 10)
                                    if ",".join(found["rights"]) == rights] or [None]
                    self.assertIsNotNone(record, (op, self.told(container, path=path)))
                    self.assertEqual((record["verdict"], record["reason"], record.get("rule")), ("audit", reason, rule), record)
                    self.assertEqual((record["errno"], record["nspid"], record["comm"]), ("EACCES", 1, "probe"), record)
                    if written is not None:
                        self.assertEqual(record["requestedPath"], written)
                # A rule for a symlink is one for what it leads to; /proc/self is the caller's.
                for path in ("/srv/outside", "/data/open/file", "/proc/1/status"):
                    self.assertEqual(self.told(container, path=path), [])

    def test_destinations(self):
        container = self.audited()
        operations = ["connect 127.0.0.1 80", "connect 127.0.0.1 81", "connect 127.0.0.1 82", "bind 127.0.0.1 8080",
                      "bind 127.0.0.1 8081"]
        self.expect_any(container, operations)
        for destination, rights, rule in (("tcp://127.0.0.1:81", "net.connect_tcp", "tested#/network/1"),
                                          ("tcp://127.0.0.1:82", "net.connect_tcp", None),
                                          ("tcp://127.0.0.1:8081", "net.bind_tcp", None)):
            [record] = log.until(lambda to=destination: self.told(container, destination=to), destination, 10)
            self.assertEqual((record["rights"], record.get("rule"), record["verdict"]), ([rights], rule, "audit"))
        for destination in ("tcp://127.0.0.1:80", "tcp://127.0.0.1:8080"):
            self.assertEqual(self.told(container, destination=destination), [])

    def expect_any(self, container, operations):
        container.bundle.probe(*operations)
        ended = container.run()
        self.assertEqual(len(Answers(ended.out).lines), len(operations), str(ended))
        for line in Answers(ended.out).lines:
            self.assertNotIn(line["errno"], ("EACCES", "EPERM", "ENOSYS"), str(ended))

    def test_the_same_again_is_counted(self):
        container = self.audited()
        self.run_script(container, "i=0; while [ $i -lt 400 ]; do read line < /srv/outside; i=$((i+1)); done")
        records = self.told(container, path="/srv/outside")
        self.assertEqual(records, [])  # allowed as /via, which leads there
        container = self.audited(document=policy(DATA))
        self.run_script(container, "i=0; while [ $i -lt 400 ]; do read line < /srv/outside; i=$((i+1)); done")

        def all_told():
            found = self.told(container, path="/srv/outside")
            return sum(record.get("count", 1) for record in found) == 400 and found
        records = log.until(all_told, "400 opens are accounted for")
        self.assertLess(len(records), 100)

    def test_nothing_is_enforced_and_it_is_said(self):
        container = self.audited(document=policy(DATA, capabilities={"keep": []}, syscalls={"deny": ["chroot"]}))
        with self.held(container, "status NoNewPrivs", "status CapEff", "read /dev/lg") as running:
            answers = Answers(running.out)
            self.assertEqual(answers.value("status NoNewPrivs"), "0")
            self.assertNotEqual(int(answers.value("status CapEff"), 16), 0)
            self.assertEqual(answers.errno("read /dev/lg"), "ENOENT")
            [known] = self.agent.containers()
            self.assertEqual((known["mode"], known["floor"]), ("audit", "none"))
            told = log.run([self.stage.bin("landgatectl"), "--config", self.agents_node.config_file, "inspect", container.id])
            self.assertIn("audit", told.out)
            status, text = self.agent.control("GET", f"/v1/containers/{container.id}")
            self.assertEqual((status, json.loads(text)["mode"]), (200, "audit"))
