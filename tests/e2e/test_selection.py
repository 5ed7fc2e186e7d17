"""Who may choose a container's policies: the node's default, its rules, annotations, and inline documents that
may only take away."""
import json

from harness.case import Case
from harness.policies import DATA, allow, deny_file, policy

WIDE = policy(DATA, allow("read", "/srv"))
NARROW = policy(allow("read", "/data"))


class Default(Case):
    label = "default"

    def test_applies_without_an_annotation(self):
        node = self.node(defaultPolicy="narrow")
        node.policy("narrow", NARROW)
        self.expect(self.container(node=node), [("read /data/open/file", "ok"), ("read /srv/outside", "EACCES")])

    def test_a_weaker_annotation_is_added_not_chosen(self):
        node = self.node(defaultPolicy="narrow")
        node.policy("narrow", NARROW)
        self.expect(self.container(WIDE, node=node), [
            ("read /data/open/file", "ok"),
            ("read /srv/outside", "EACCES"),
            ("write /data/open/file", "EACCES"),
        ])

    def test_a_broken_default_stops_everything(self):
        node = self.node(defaultPolicy="broken")
        node.policy("broken", None, text="{")
        self.expect_refused(self.container(node=node), "broken.json")

    def test_exec_sessions_take_the_stricter(self):
        node = self.node(defaultPolicy="narrow")
        node.policy("narrow", {**NARROW, "execSessions": "refused"})
        container = self.container({**WIDE, "execSessions": "confined"}, node=node)
        with self.held(container):
            self.assertNotEqual(container.exec("/bin/probe", "read /data/open/file").status, 0)


class Rules(Case):
    label = "rules"

    def test_first_match(self):
        node = self.node(rules=[
            {"match": {"annotations": {"team": "blue*"}}, "policy": "narrow"},
            {"match": {"annotations": {"team": "*"}}, "policy": "wide"}])
        node.policy("narrow", NARROW)
        node.policy("wide", WIDE)
        for team, srv in (("blue-1", "EACCES"), ("red", "ok")):
            self.expect(self.container(node=node, annotations={"team": team}),
                        [("read /data/open/file", "ok"), ("read /srv/outside", srv)])
        self.expect(self.container(node=node), [("exec /data/bin/tool", "ok")])  # no match, no default

    def test_a_rule_may_replace_the_default(self):
        node = self.node(defaultPolicy="narrow", rules=[
            {"match": {"annotations": {"team": "blue"}}, "policy": "wide", "replaceDefault": True}])
        node.policy("narrow", NARROW)
        node.policy("wide", WIDE)
        self.expect(self.container(node=node, annotations={"team": "blue"}), [("read /srv/outside", "ok")])
        self.expect(self.container(node=node, annotations={"team": "red"}), [("read /srv/outside", "EACCES")])


class Inline(Case):
    label = "inline"

    def inline(self, document, node):
        return self.container(node=node, annotations={"io.landgate.policy": json.dumps(document)})

    def test_takes_away(self):
        node = self.node(defaultPolicy="wide")
        node.policy("wide", WIDE)
        self.expect(self.inline(policy(DATA, deny_file("/data/secret.txt")), node), [
            ("read /data/open/file", "ok"),
            ("read /data/secret.txt", "EACCES"),
            ("read /srv/outside", "EACCES"),
        ])

    def test_does_not_widen(self):
        node = self.node(defaultPolicy="narrow")
        node.policy("narrow", NARROW)
        self.expect(self.inline({"landgate": 1, "paths": [allow("all", "/")]}, node), [
            ("read /srv/outside", "EACCES"), ("write /data/open/file", "EACCES")])

    def test_what_it_must_not_say(self):
        node = self.node()
        for document, word in (({"execSessions": "unconfined"}, "execSessions"), ({"extends": ["baseline"]}, "extends"),
                               ({"capabilities": {"emulate": {"sysinfo": {}}}}, "emulate")):
            with self.subTest(word):
                self.expect_refused(self.inline({"landgate": 1, "paths": WIDE["paths"], **document}, node), word)

    def test_denied_by_the_node(self):
        node = self.node(inlinePolicies="deny")
        self.expect_refused(self.inline(WIDE, node), "inline", status=1)


class Names(Case):
    label = "names"

    def test_first_directory_wins(self):
        node = self.node()
        node.policy("baseline", WIDE)  # in front of the shipped one
        self.expect(self.container("baseline", node=node), [("read /srv/outside", "ok"), ("exec /data/bin/tool", "EACCES")])

    def test_extends(self):
        node = self.node()
        node.policy("base", WIDE)
        self.expect(self.container({"landgate": 1, "extends": ["base"],
                                    "paths": [deny_file("/data/secret.txt")]}, node=node), [
            ("read /srv/outside", "ok"), ("read /data/secret.txt", "EACCES"), ("read /data/open/file", "ok")])

    def test_of_one_container_in_a_pod(self):
        node = self.node()
        node.policy("narrow", NARROW)
        node.policy("wide", WIDE)
        pod = {"io.landgate.policy": "wide", "io.landgate.policy.worker": "narrow",
               "io.kubernetes.cri.container-type": "container"}
        for name, srv in (("worker", "EACCES"), ("web", "ok")):
            self.expect(self.container(node=node, annotations={**pod, "io.kubernetes.cri.container-name": name}),
                        [("read /srv/outside", srv), ("read /data/open/file", "ok")])

    def test_forced_by_the_runtimes_argument(self):
        node = self.node()
        node.policy("narrow", NARROW)
        container = self.container(node=node)
        plain_argv = container.argv

        def forced(*words, **options):
            argv = plain_argv(*words, **options)
            return [argv[0], "--landgate-policy", "narrow", *argv[1:]]
        container.argv = forced
        self.expect(container, [("read /data/open/file", "ok"), ("read /srv/outside", "EACCES")])
