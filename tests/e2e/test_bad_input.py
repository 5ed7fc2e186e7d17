"""Whatever is wrong with a policy, an annotation, the configuration or a bundle: a clear error that names file
and place, an exit status, and no container."""
import json
import os

from harness import log
from harness.case import Case
from harness.policies import DATA, policy

# (what, document as text, words of the message)
BAD_POLICIES = [
    ("not JSON", '{"landgate": 1,', ()),
    ("empty", "", ()),
    ("an array", "[]", ()),
    ("no version", '{"paths": []}', ("landgate",)),
    ("another version", '{"landgate": 2}', ("/landgate",)),
    ("unknown key", '{"landgate": 1, "path": []}', ("path",)),
    ("unknown key in a rule", '{"landgate": 1, "paths": [{"allow": ["read"], "under": ["/data"]}]}',
     ("/paths/0", "under")),
    ("duplicate key", '{"landgate": 1, "network": [], "network": [{"allow": ["connect"], "to": ["*"]}]}',
     ("network",)),
    ("unknown right", '{"landgate": 1, "paths": [{"allow": ["raed"], "beneath": ["/data"]}]}',
     ("/paths/0/allow/0", "raed")),
    ("a relative path", '{"landgate": 1, "paths": [{"allow": ["read"], "beneath": ["data"]}]}',
     ("/paths/0/beneath/0",)),
    ("a path with ..", '{"landgate": 1, "paths": [{"allow": ["read"], "beneath": ["/data/../srv"]}]}',
     ("/paths/0/beneath/0",)),
    ("a rule without a target", '{"landgate": 1, "paths": [{"allow": ["read"]}]}', ("/paths/0",)),
    ("a rule with two effects",
     '{"landgate": 1, "paths": [{"allow": ["read"], "deny": ["all"], "beneath": ["/data"]}]}', ("/paths/0",)),
    ("allow by glob", '{"landgate": 1, "paths": [{"allow": ["read"], "glob": ["/data/*"]}]}', ("/paths/0",)),
    ("an open bracket", '{"landgate": 1, "paths": [{"deny": ["all"], "glob": ["/data/[a"]}]}',
     ("/paths/0/glob/0",)),
    ("unknown capability", '{"landgate": 1, "capabilities": {"keep": ["CAP_SYS_ADMN"]}}',
     ("/capabilities/keep/0", "CAP_SYS_ADMN")),
    ("unknown system call", '{"landgate": 1, "syscalls": {"deny": ["openatt"]}}',
     ("/syscalls/deny/0", "openatt", "openat")),
    ("indispensable system call", '{"landgate": 1, "syscalls": {"deny": ["execve"]}}', ("execve",)),
    ("a bad address", '{"landgate": 1, "network": [{"allow": ["connect"], "to": ["10.0.0.300:1"]}]}',
     ("/network/0/to/0",)),
    ("a bad port", '{"landgate": 1, "network": [{"allow": ["connect"], "to": ["*:70000"]}]}',
     ("/network/0/to/0",)),
    ("unknown scope", '{"landgate": 1, "scopes": ["signals"]}', ("/scopes/0",)),
    ("extends nobody", '{"landgate": 1, "extends": ["no-such-policy"]}', ("no-such-policy",)),
    ("extends itself", '{"landgate": 1, "extends": ["tested"]}', ("tested",)),
    ("a bad mask", '{"landgate": 1, "paths": [{"deny": ["all"], "file": ["/data/x"], "mask": "none"}]}',
     ("/paths/0/mask",)),
    ("a wrong type", '{"landgate": 1, "paths": {"allow": ["read"]}}', ("/paths",)),
    ("no text", '{"landgate": 1, "description": 7}', ("/description",)),
    ("trailing text", '{"landgate": 1} {"landgate": 1}', ()),
    ("a NUL", '{"landgate": 1, "paths": [{"allow": ["read"], "beneath": ["/data\\u0000"]}]}',
     ("/paths/0/beneath/0",)),
]

# What this build can't enforce is refused and never ignored.
UNSUPPORTED = [
    ({"paths": [{"ask": ["read"], "beneath": ["/data"]}]}, "/paths/0"),
    ({"paths": [{"deny": ["all"], "beneath": ["/data"], "runtime": True}]}, "/paths/0"),
    ({"paths": [{"allow": ["read"], "file": ["/data/x"], "verify": {"sha256": ["0" * 64]}}]}, "/paths/0"),
    ({"network": [{"allow": ["connect"], "to": ["10.0.0.1:443"]}]}, "/network/0"),
    ({"network": [{"allow": ["connect"], "to": ["db.internal:5432"]}]}, "/network/0"),
    ({"network": [{"allow": ["connect"], "to": ["udp://*:53"]}]}, "/network/0"),
    ({"network": [{"allow": ["connect"], "to": ["unix:/run/x.sock"]}]}, "/network/0"),
    ({"network": [{"ask": ["connect"], "to": ["*:443"]}]}, "/network/0"),
    ({"network": [{"allow": ["bind"], "to": ["127.0.0.1:8080"]}]}, "/network/0"),
    ({"network": [{"allow": ["bind"], "to": ["*:8080"]}]}, "/network/0"),
    ({"capabilities": {"ask": ["CAP_SYS_ADMIN"]}}, "/capabilities"),
    ({"capabilities": {"emulate": {"sysinfo": {}}}}, "/capabilities"),
    ({"onViolation": "kill"}, "/onViolation"),
    ({"selfRestrict": "allow"}, "/selfRestrict"),
    ({"approval": {"timeout": "5s"}}, "/approval"),
]

# Refused, because no means could hold it.
IMPOSSIBLE = [
    (policy({"ask": ["execute"], "beneath": ["/data"]}), ("/paths/2",)),
    (policy(DATA, {"deny": ["write_file"], "beneath": ["/data/open"]}), ("/paths/3",)),
    (policy(DATA, {"deny": ["read"], "file": ["/data/secret.txt"]}), ("/paths/3",)),
    (policy({"allow": ["read"], "beneath": ["/data/typo"]}), ("/data/typo", "/paths/2")),
    (policy({"allow": ["unix"], "beneath": ["/data"]}), ("/paths", "resolve_unix")),
    (policy(DATA, compatibility={"landlock": "required", "minAbi": 99}), ("99",)),
    (policy(DATA, {"deny": ["all"], "glob": ["/proc/*/environ"]}), ("/paths/3",)),
    (policy(DATA, compatibility={"landlock": "off"}), ("compatibility.landlock",)),
]


class Policies(Case):
    label = "policies"

    def test_bad_documents(self):
        for what, text, words in BAD_POLICIES:
            with self.subTest(what):
                node = self.node()
                node.policy("tested", None, text=text)
                self.expect_refused(self.container("tested", node=node), "tested.json", *words)

    def test_not_supported_in_this_build(self):
        for sections, pointer in UNSUPPORTED:
            with self.subTest(next(iter(sections)), pointer=pointer):
                self.expect_refused(self.container({"landgate": 1, **sections}), "tested.json", pointer,
                                    "not supported in this build")

    def test_what_no_means_can_hold(self):
        for document, words in IMPOSSIBLE:
            with self.subTest(words[0]):
                self.expect_refused(self.container(document), *words)

    def test_symlinked_rule_paths(self):
        """An image's symlink must not widen a rule."""
        container = self.container(policy({"allow": ["read", "write"], "beneath": ["/data/link"]}))
        (container.bundle.root / "data/link").symlink_to("/srv")
        self.expect_refused(container, "/data/link")
        container = self.container(policy({"allow": ["read"], "beneath": ["/data/link"]}))
        (container.bundle.root / "data/link").symlink_to("/")
        self.expect_refused(container, "/data/link")
        container = self.container(policy({"allow": ["read"], "beneath": ["/data/link"]}))
        (container.bundle.root / "data/link").symlink_to("/srv")
        self.expect(container, [("read /srv/outside", "ok"), ("read /data/open/file", "EACCES")])
        # Absolute targets mean the container's root, never the host's.
        host = self.stage.directory("host")
        (host / "file").write_text("host\n")
        container = self.container(policy({"allow": ["read"], "beneath": ["/data/link"]}))
        (container.bundle.root / "data/link").symlink_to(host)
        self.expect_refused(container, "/data/link")

    def test_policies_others_could_write(self):
        node = self.node()
        node.policy("tested", policy(DATA))
        path = node.policies / "tested.json"
        for spoil, mend in (
                (lambda: os.chmod(path, 0o666), lambda: os.chmod(path, 0o644)),
                (lambda: os.chmod(path, 0o664), lambda: os.chmod(path, 0o644)),
                (lambda: os.chown(path, 1000, 0), lambda: os.chown(path, 0, 0)),
                (lambda: os.chmod(node.policies, 0o777), lambda: os.chmod(node.policies, 0o755)),
                (lambda: os.chown(node.policies, 1000, 0), lambda: os.chown(node.policies, 0, 0))):
            spoil()
            self.expect_refused(self.container("tested", node=node), str(node.policies))
            mend()
        self.expect(self.container("tested", node=node), [("read /data/open/file", "ok")])

    def test_a_fifo_is_no_policy(self):
        node = self.node()
        os.mkfifo(node.policies / "tested.json")
        self.expect_refused(self.container("tested", node=node), "tested.json")


class Annotations(Case):
    label = "annotations"

    def test_refused_by_name(self):
        for annotations, words in (
                ({"io.landgate.polcy": "baseline"}, ("io.landgate.polcy",)),
                ({"io.landgate.policy": ""}, ("io.landgate.policy",)),
                ({"io.landgate.policy": "no-such-policy"}, ("no-such-policy",)),
                ({"io.landgate.policy": "../../etc/passwd"}, ("io.landgate.policy",)),
                ({"io.landgate.policy": "/etc/landgate/policies/baseline.json"}, ("io.landgate.policy",)),
                ({"io.landgate.policy": "{not json"}, ("io.landgate.policy",)),
                ({"io.landgate.policy": '{"landgate": 1, "paths": 3}'}, ("io.landgate.policy", "/paths")),
                ({"io.landgate.mode": "enforced", "io.landgate.policy": "baseline"}, ("io.landgate.mode",)),
                ({"io.landgate.mode": "audit"}, ("io.landgate.mode", "No policy is selected")),
                ({"io.landgate.mode": "learn"}, ("io.landgate.mode",))):
            for how in ("runtime", "inject"):
                with self.subTest(annotations, how=how):
                    self.expect_refused(self.container(annotations=annotations, how=how), *words, status=1)


class Configuration(Case):
    label = "configuration"

    def test_bad_config(self):
        for text, words in (("{", ()), ("[]", ()), ('{"policyDir": []}', ("policyDir",)),
                            ('{"policyDirs": "x"}', ("/policyDirs",)),
                            ('{"policyDirs": ["relative"]}', ("/policyDirs/0",)),
                            ('{"approval": {}}', ("/approval", "not supported in this build")),
                            ('{"requireAgent": 1}', ("/requireAgent",)),
                            ('{"agentSocket": "agent.sock"}', ("/agentSocket",)),
                            ('{"audit": {"keep": -1}}', ("/audit/keep",)),
                            ('{"defaultPolicy": "no-such-policy"}', ("no-such-policy",)),
                            ('{"inlinePolicies": "allow"}', ("/inlinePolicies",)),
                            ('{"initPath": "/nonexistent/landgate-init"}', ("/nonexistent/landgate-init",))):
            with self.subTest(text):
                node = self.node()
                node.policy("tested", policy(DATA))
                merged = text
                if text.startswith('{"') and "policyDir" not in text:
                    merged = json.dumps({**node.config, **json.loads(text)})
                node.config_file.write_text(merged)
                self.expect_refused(self.container("tested", node=node), *words)

    def test_config_others_could_write(self):
        node = self.node()
        node.policy("tested", policy(DATA))
        os.chmod(node.config_file, 0o666)
        self.expect_refused(self.container("tested", node=node), str(node.config_file))

    def test_named_config_must_exist(self):
        node = self.node()
        node.policy("tested", policy(DATA))
        container = self.container("tested", node=node)
        node.config_file.unlink()
        self.expect_refused(container, str(node.config_file))


class Bundles(Case):
    label = "bundles"

    def refused(self, *words, **options):
        for how in ("runtime", "inject"):
            with self.subTest(how=how):
                self.expect_refused(self.container(policy(DATA), how=how, **options), *words)

    def test_dev_must_be_a_mount_of_its_own(self):
        def without_dev(config):
            config["mounts"] = [mount for mount in config["mounts"]
                                if not mount["destination"].startswith("/dev")]
        self.refused("/dev", edit=without_dev)

        def host_dev(config):
            without_dev(config)
            config["mounts"].append({"destination": "/dev", "type": "bind", "source": "/dev",
                                     "options": ["rbind"]})
        before = sorted(os.listdir("/dev"))
        self.refused("/dev", edit=host_dev)
        self.assertEqual(sorted(os.listdir("/dev")), before)

    def test_somebody_elses_mount_on_ours(self):
        for destination in ("/dev/lg", "/dev/lg.plan", "/dev/./lg", "/dev/lg/x"):
            self.refused("/dev/lg", mounts=[{"destination": destination, "type": "bind", "source": "/etc/hosts",
                                             "options": ["bind"]}])

    def test_mounts_over_dev_later(self):
        self.refused("/dev", mounts=[{"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                                      "options": ["mode=755"]}])

    def test_no_arguments(self):
        def no_arguments(config):
            config["process"]["args"] = []
        container = self.container(policy(DATA), edit=no_arguments)
        self.assert_refused(container.run(), "args")

    def test_a_forged_patch(self):
        """A config.json that only looks patched is not taken for ours."""
        def forged(config):
            config["process"]["args"] = ["/dev/lg", "start", "/bin/probe", "read /srv/outside"]
        for how in ("runtime", "inject"):
            container = self.container(policy(DATA), edit=forged, how=how)
            ended = container.run()
            if ended.status == 0:
                self.assertIn("EACCES", ended.out, str(ended))

    def test_a_stripped_hook(self):
        """What was patched and then tampered with does not start."""
        for strip in (
                lambda config: config["hooks"].pop("prestart"),
                lambda config: config["process"].update(args=config["process"]["args"][2:]),
                lambda config: config.update(mounts=[mount for mount in config["mounts"]
                                                     if mount["destination"] != "/dev/lg.plan"]),
                lambda config: config["process"]["args"].__setitem__(1, "exec"),
                lambda config: config["process"]["capabilities"].update(
                    effective=["CAP_SYS_ADMIN"], permitted=["CAP_SYS_ADMIN"], bounding=["CAP_SYS_ADMIN"])):
            document = {**policy(DATA), "capabilities": {"keep": ["CAP_CHOWN"]}}
            container = self.container(document, how="inject")
            container.bundle.probe("read /srv/outside", "read /data/open/file")
            injected = container.inject()
            self.assertEqual(injected.status, 0, str(injected))
            config = self.config_of(container)
            strip(config)
            container.bundle.config_file.write_text(json.dumps(config))
            container.how = "plain"
            ended = container.run()
            # Without the launcher in front there is nothing of ours but the hook, which refuses; without the
            # hook the launcher finds no plan and refuses.
            self.assertNotEqual(ended.status, 0, str(ended))
            self.assertNotIn('"op"', ended.out, str(ended))

    def test_policy_changed_since(self):
        container = self.container({**policy(DATA), "capabilities": {"keep": ["CAP_CHOWN"]}}, how="inject")
        container.bundle.probe("read /data/open/file")
        self.assertEqual(container.inject().status, 0)
        container.bundle.node.policy("tested", {**policy(DATA), "capabilities": {"keep": []}})
        container.how = "plain"
        self.assert_refused(container.run())

    def test_inject_twice_is_inject_once(self):
        container = self.container(policy(DATA), how="inject")
        container.bundle.probe("read /data/open/file")
        self.assertEqual(container.inject().status, 0)
        once = container.bundle.config_file.read_bytes()
        self.assertEqual(container.inject().status, 0)
        self.assertEqual(container.bundle.config_file.read_bytes(), once)

    def test_unknown_fields_survive(self):
        def unknown(config):
            config["linux"]["someday"] = {"b": 1, "a": [1.50, 1e3, 12345678901234567890]}
            config["zzz"] = "kept"
        container = self.container(policy(DATA), edit=unknown, how="inject")
        container.bundle.probe("read /data/open/file")
        self.assertEqual(container.inject().status, 0)
        text = container.bundle.config_file.read_text()
        self.assertIn("12345678901234567890", text)
        config = json.loads(text)
        self.assertEqual(config["zzz"], "kept")
        self.assertEqual(list(config["linux"]["someday"]), ["b", "a"])
        order = [key for key in config if key in container.bundle.config]
        self.assertEqual(order, list(container.bundle.config))

    def test_precreate_reads_standard_input(self):
        hook = self.stage.bin("landgate-hook")
        node = self.node()
        for text in ("", "{", "[]", "null", '{"process": 3}', '{"annotations": {"io.landgate.policy": 3}}'):
            ended = log.run([hook, "precreate"], stdin=text, env=node.environment())
            self.assertEqual(ended.status, 1, str(ended))
            self.assertEqual(ended.out, "")
            self.assertEqual(len(ended.err.splitlines()), 1, str(ended))
        plain = '{ "ociVersion" : "1.0.2",\n "annotations": {"a":"b"} }\n\n'
        ended = log.run([hook, "precreate"], stdin=plain, env=node.environment())
        self.assertEqual((ended.status, ended.out), (0, plain), str(ended))


class Usage(Case):
    label = "usage"

    def test_bad_command_lines(self):
        node = self.node()
        for argv in (["landgate-hook"], ["landgate-hook", "sometime"], ["landgate-hook", "inject"],
                     ["landgate-hook", "precreate", "--no-such-option"], ["landgatectl", "policy", "no-such"]):
            ended = log.run([self.stage.bin(argv[0]), *argv[1:]], stdin="", env=node.environment())
            self.assertEqual(ended.status, 2, str(ended))
            self.assertNotEqual(ended.err, "")

    def test_help_and_version(self):
        for program in ("landgate-hook", "landgatectl"):
            for option in ("--help", "--version"):
                ended = log.run([self.stage.bin(program), option])
                self.assertEqual((ended.status, ended.err), (0, ""), str(ended))
                self.assertNotEqual(ended.out, "")

    def test_checkpoint_of_a_confined_container(self):
        container = self.container(policy(DATA))
        with self.held(container):
            ended = log.run(container.argv("checkpoint", container.id), env=container.environment())
            self.assertEqual(ended.status, 1, str(ended))
            self.assertIn("checkpoint", ended.err)
