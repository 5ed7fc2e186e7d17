"""What the hooks do with an agent: which listener stands in config.json, who is registered, what happens when
the agent refuses, is silent, or is not there, and audit mode."""
import json
import os
import pathlib
import socket
import threading

from harness import engines, log
from harness.agent import Agent
from harness.answers import Answers
from harness.bundle import Bundle, Container
from harness.case import Case
from harness.policies import DATA, allow, deny_file, policy

POLICY = policy(DATA, deny_file("/data/secret.txt"))
DENIED, ALLOWED = "read /data/secret.txt", "read /data/open/file"
RUNTIMES = ("runc", "crun")
IMPOSSIBLE = 3


class StandIn:
    """In an agent's place: answers every hook with the same words, and nothing else."""

    def __init__(self, path, answer):
        self.answer = answer
        self.messages = []
        path = pathlib.Path(path)
        path.parent.mkdir(exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                data = b""
                while True:
                    got, fds, _, _ = socket.recv_fds(connection, 65536, 16)
                    for fd in fds:
                        os.close(fd)
                    if not got:
                        break
                    data += got
                if data:
                    self.messages.append(json.loads(data))
                    connection.sendall(self.answer.encode())

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


class HookCase(Case):
    def setUp(self):
        self.own_node = self.node()

    def agent(self):
        agent = Agent(self.own_node).start()
        self.addCleanup(agent.stop)
        return agent

    def stand_in(self, answer):
        stand_in = StandIn(self.own_node.run_dir / "agent.sock", answer)
        self.addCleanup(stand_in.stop)
        return stand_in

    def made(self, how, runtime="runc", document=POLICY, **options):
        return self.container(document, how=how, runtime=runtime, node=self.own_node, **options)

    def record(self, container):
        return json.loads((self.own_node.run_dir / "containers" / container.id / "record.json").read_text())

    def seccomp(self, container):
        return self.config_of(container)["linux"].get("seccomp", {})

    def notified(self, container):
        return {name for entry in self.seccomp(container).get("syscalls", [])
                if entry["action"] == "SCMP_ACT_NOTIFY" for name in entry["names"]}

    def configure(self, **more):
        kept = {key: value for key, value in self.own_node.config.items() if key not in ("policyDirs", "runDir")}
        self.own_node.write_config(**{**kept, **more})

    def assert_registered_while(self, agent, container, **fields):
        """Runs it; the agent has it for as long as it lives."""
        with self.held(container, DENIED, ALLOWED) as running:
            self.assertEqual(Answers(running.out).errno(ALLOWED), "ok")
            self.assertEqual(Answers(running.out).errno(DENIED), "EACCES")
            known = [entry for entry in agent.containers() if entry["id"] == container.id]
            self.assertEqual(len(known), 1, agent.containers())
            for key, value in fields.items():
                self.assertEqual(known[0][key], value, known[0])
        log.until(lambda: not agent.containers(), "the agent has forgotten the container")
        self.assertEqual(self.own_node.containers(), [])


class Variants(HookCase):
    label = "variants"

    def test_with_an_agent_exec_is_notified(self):
        agent = self.agent()
        for runtime in RUNTIMES:
            with self.subTest(runtime):
                container = self.made("inject", runtime)
                self.assert_registered_while(agent, container, mode="enforce", floor="full", listeners=1)
                seccomp = self.seccomp(container)
                self.assertEqual(seccomp["listenerPath"], str(agent.socket))
                self.assertEqual(seccomp["listenerMetadata"], "landgate")
                self.assertEqual(self.notified(container), {"execve", "execveat", "nfsservctl"})

    def test_landgate_runtime_registers_without_a_listener(self):
        agent = self.agent()
        for runtime in RUNTIMES:
            with self.subTest(runtime):
                container = self.made("runtime", runtime)
                self.assert_registered_while(agent, container, mode="enforce", listeners=0)
                self.assertEqual(self.seccomp(container), {})

    def test_the_record_says_which(self):
        agent = self.agent()
        for how, sessions, variant in (("inject", "confined", "agent"), ("inject", "refused", "refusal"),
                                       ("inject", "unconfined", "none"), ("runtime", "confined", "none")):
            with self.subTest(how=how, sessions=sessions):
                container = self.made(how, document={**POLICY, "execSessions": sessions})
                with self.held(container):
                    record = self.record(container)
                    self.assertEqual(record["listener"], variant)
                    self.assertEqual(record["agentSocket"], str(agent.socket))
                    self.assertEqual(record["mode"], "enforce")

    def test_without_an_agent_nothing_changes(self):
        for how, variant in (("inject", "refusal"), ("runtime", "none")):
            container = self.made(how)
            with self.held(container, DENIED) as running:
                self.assertEqual(Answers(running.out).errno(DENIED), "EACCES")
                record = self.record(container)
                self.assertEqual(record["listener"], variant)
                self.assertNotIn("agentSocket", record)

    def test_inject_again_follows_the_agent(self):
        container = self.made("inject")
        container.bundle.probe(DENIED)
        self.assertEqual(container.inject().status, 0)
        without = container.bundle.config_file.read_text()
        agent = Agent(self.own_node).start()
        try:
            self.assertEqual(container.inject().status, 0)
            with_agent = container.bundle.config_file.read_text()
            self.assertEqual(container.inject().status, 0)
            self.assertEqual(container.bundle.config_file.read_text(), with_agent)
            self.assertIn(str(agent.socket), with_agent)
        finally:
            agent.stop()
        self.assertEqual(container.inject().status, 0)
        self.assertEqual(container.bundle.config_file.read_text(), without)

    def test_prepared_with_an_agent_that_has_gone(self):
        """Neither confined exec sessions nor refused ones could be promised: it does not start."""
        for runtime in RUNTIMES:
            container = self.made("inject", runtime)
            container.bundle.probe(ALLOWED)
            agent = Agent(self.own_node).start()
            try:
                self.assertEqual(container.inject().status, 0)
            finally:
                agent.stop()
            try:
                ended = log.run(container.argv("run", "--bundle", container.bundle.directory, container.id),
                                env=container.environment())
                self.assert_refused(ended)
            finally:
                container.delete()
            self.assertEqual(self.own_node.containers(), [])

    def test_somebody_elses_listener(self):
        self.agent()

        def edit(config):
            config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/other.sock"}
        self.expect_refused(self.made("inject", edit=edit), "listener of somebody else", status=1)


class Answering(HookCase):
    label = "answers"

    def test_no_is_no_whether_or_not_the_agent_is_needed(self):
        stand_in = self.stand_in('{"error": "no room on this node"}')
        for how in ("runtime", "inject"):
            with self.subTest(how):
                container = self.made(how, document={**POLICY, "execSessions": "unconfined"})
                self.expect_refused(container, "the agent refuses: no room on this node")
                self.assertEqual(stand_in.messages[-1]["landgate"]["register"]["id"], container.id)

    def test_what_is_registered(self):
        stand_in = self.stand_in('{"ok": true}')
        container = self.made("runtime", annotations={"io.kubernetes.cri.sandbox-name": "web-0",
                                                      "io.kubernetes.cri.sandbox-namespace": "shop",
                                                      "io.kubernetes.cri.container-name": "nginx"})
        with self.held(container):
            record = self.record(container)
        register, unregister = [message["landgate"] for message in stand_in.messages]
        self.assertEqual(unregister, {"unregister": {"id": container.id}})
        told = register["register"]
        for key in ("id", "pid", "startTime", "bundle", "launcher", "plan"):
            self.assertEqual(told[key], record[key], key)
        self.assertEqual(told["root"], str(container.bundle.root))
        self.assertEqual((told["pod"], told["podNamespace"], told["containerName"]), ("web-0", "shop", "nginx"))
        self.assertEqual((told["mode"], told["frontEnd"], told["listenerExpected"]), ("enforce", "runtime", False))
        [document] = told["policies"]
        self.assertEqual(document["name"], "tested")
        rules = document["document"]["paths"]
        self.assertEqual(len(document["origins"]["paths"]), len(rules))
        self.assertIn("/data/secret.txt", [step["path"] for step in told["mounts"]])
        self.assertIn("layers", told["floor"])

    def test_silence_keeps_only_those_back_that_need_it(self):
        self.stand_in("")
        self.expect(self.made("runtime"), [(ALLOWED, "ok"), (DENIED, "EACCES")])
        self.configure(requireAgent=True)
        self.expect_refused(self.made("runtime"), "the agent closed without an answer")


class Required(HookCase):
    label = "required"

    def test_by_the_configuration(self):
        self.configure(requireAgent=True)
        for how in ("runtime", "inject"):
            ended = self.expect_refused(self.made(how), "no agent answers", "requireAgent", status=IMPOSSIBLE)
            self.assertIn("landgate-agent", ended.err)
        agent = self.agent()
        for how in ("runtime", "inject"):
            self.assert_registered_while(agent, self.made(how))

    def test_containers_without_a_policy_are_none_of_its_business(self):
        self.configure(requireAgent=True)
        self.expect(self.container(node=self.own_node), [(DENIED, "ok")])

    def test_prepared_before_it_was_required(self):
        container = self.made("inject")
        container.bundle.probe(ALLOWED)
        self.assertEqual(container.inject().status, 0)
        self.configure(requireAgent=True)
        self.agent()
        try:
            ended = log.run(container.argv("run", "--bundle", container.bundle.directory, container.id),
                            env=container.environment())
        finally:
            container.delete()
        self.assert_refused(ended, "listenerPath", "agent")
        self.assertEqual(self.own_node.containers(), [])


AUDIT = {"io.landgate.mode": "audit"}


class Audit(HookCase):
    label = "audit"

    def test_everything_is_done_and_told(self):
        agent = self.agent()
        for how in ("inject", "runtime"):
            for runtime in RUNTIMES:
                with self.subTest(how=how, runtime=runtime):
                    container = self.made(how, runtime, annotations=AUDIT)
                    with self.held(container, DENIED, ALLOWED, "read /dev/lg", "status NoNewPrivs") as running:
                        answers = Answers(running.out)
                        self.assertEqual(answers.errno(DENIED), "ok")
                        self.assertEqual(answers.errno(ALLOWED), "ok")
                        self.assertEqual(answers.errno("read /dev/lg"), "ENOENT")
                        self.assertEqual(answers.value("status NoNewPrivs"), "0")
                        [known] = agent.containers()
                        self.assertEqual((known["mode"], known["floor"]), ("audit", "none"))
                        session = container.exec("/bin/probe", "read /srv/outside")
                        self.assertEqual(Answers(session.out).errno("read /srv/outside"), "ok", str(session))
                        self.assertEqual(self.record(container)["mode"], "audit")
                    for path in ("/data/secret.txt", "/srv/outside"):
                        [told, *_] = agent.audited(event="access", container=container.id, path=path)
                        self.assertEqual((told["verdict"], told["errno"]), ("audit", "EACCES"), told)
                    self.assertEqual(agent.audit(container=container.id, path="/data/open/file"), [])

    def test_the_process_stays_what_it_is(self):
        self.agent()
        container = self.made("inject", annotations=AUDIT)
        container.bundle.probe(ALLOWED)
        ended = container.run()
        self.assertEqual(ended.status, 0, str(ended))
        self.assertEqual(self.config_of(container)["process"]["args"], ["/bin/probe", ALLOWED])

    def test_a_shell_and_what_it_starts(self):
        """Every open, exec and connect of these is notified."""
        self.agent()
        container = self.made("inject", annotations=AUDIT)
        container.bundle.config["process"]["args"] = [
            "/bin/sh", "-c", "mkdir /tmp/a && cp /data/open/file /tmp/a/b && mv /tmp/a/b /tmp/a/c && ln -s c /tmp/a/d"
            " && cat /tmp/a/d && rm -r /tmp/a && ls /tmp | cat"]
        container.bundle.write()
        ended = container.run()
        self.assertEqual((ended.status, ended.out), (0, "open\n"), str(ended))

    def test_refused(self):
        """Without an agent, and wherever it would take away what somebody else requires."""
        for how in ("inject", "runtime"):
            self.expect_refused(self.made(how, annotations=AUDIT), "no agent answers", "io.landgate.mode",
                                status=IMPOSSIBLE)
        self.agent()
        inline = Bundle(self.own_node, annotations={**AUDIT, "io.landgate.policy": '{"landgate": 1, "paths": []}'})
        for how in ("inject", "runtime"):
            self.expect_refused(Container(inline, how), "io.landgate.mode", "inline", status=1)
        self.expect_refused(self.container(node=self.own_node, annotations=AUDIT), "No policy is selected", status=1)
        self.own_node.policy("strict", POLICY)
        self.configure(defaultPolicy="strict")
        for how in ("inject", "runtime"):
            self.expect_refused(self.made(how, annotations=AUDIT), "what this node requires", status=1)

    def test_a_rule_of_the_node_allows_it(self):
        self.agent()
        self.own_node.policy("strict", POLICY)
        self.configure(defaultPolicy="strict",
                       rules=[{"match": {"annotations": {"io.landgate.mode": "audit", "stage": "test"}},
                               "policy": "strict"}])
        staged = {**AUDIT, "stage": "test"}
        self.expect(self.container(node=self.own_node, annotations=staged), [(DENIED, "ok")])
        self.expect(self.container(node=self.own_node, annotations={"stage": "test"}), [(DENIED, "EACCES")])

    def test_an_enforced_bundle_is_not_turned(self):
        self.agent()
        container = self.made("inject")
        self.assertEqual(container.inject().status, 0)
        config = self.config_of(container)
        config["annotations"].update(AUDIT)
        container.bundle.config_file.write_text(json.dumps(config))
        self.assert_refused(container.inject(), "starts the launcher")

    def test_taken_out_of_config_json(self):
        """What audit mode wrote is verified like any other patch."""
        self.agent()
        for spoil in (lambda config: config["linux"]["seccomp"].pop("listenerPath"),
                      lambda config: config["linux"].pop("seccomp"),
                      lambda config: config["annotations"].pop("io.landgate.mode"),
                      lambda config: config["linux"]["seccomp"]["syscalls"][0]["names"].remove("openat")):
            container = self.made("inject", annotations=AUDIT)
            container.bundle.probe(ALLOWED)
            self.assertEqual(container.inject().status, 0)
            config = self.config_of(container)
            spoil(config)
            container.bundle.config_file.write_text(json.dumps(config))
            try:
                ended = log.run(container.argv("run", "--bundle", container.bundle.directory, container.id),
                                env=container.environment())
            finally:
                container.delete()
            self.assert_refused(ended)
            self.assertEqual(self.own_node.containers(), [])


class PodmanHooks(Case):
    """podman's precreate hook, as root and as an ordinary user with an agent of their own."""
    label = "podman"

    def one(self, rootless):
        """Registered, with its listener; sessions are tested in test_agent_exec.py."""
        engine = engines.Podman(self.stage, "runc", "hooks", rootless)
        engine.start()
        self.addCleanup(engine.stop)
        engine.node.policy("tested", POLICY)
        environment = engine.environment_of_podman if rootless else None
        prefix = engine._as_user([]) if rootless else ()
        flags = [] if rootless else None
        if rootless:
            (engine.home / "r" / "landgate").mkdir(mode=0o700, exist_ok=True)
            log.must(["chown", "-R", engines.USER, engine.home / "r" / "landgate", engine.home / ".config"])
        agent = Agent(engine.node, prefix=prefix, environment=environment, flags=flags).start()
        self.addCleanup(agent.stop)
        with engine.held("c1", "tested", [DENIED, ALLOWED]) as running:
            answers = Answers(running.out)
            self.assertEqual((answers.errno(DENIED), answers.errno(ALLOWED)), ("EACCES", "ok"))
            [known] = agent.containers()
            self.assertEqual((known["mode"], known["floor"], known["listeners"]), ("enforce", "full", 1))
            self.assertEqual(engine.node.containers() if not rootless else [known["id"]], [known["id"]])
        log.until(lambda: not agent.containers(), "the agent has forgotten the container")

    def test_root(self):
        self.one(rootless=False)

    def test_rootless(self):
        self.one(rootless=True)
