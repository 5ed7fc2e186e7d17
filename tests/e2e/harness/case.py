"""Base class of the tests: a node, bundles, and assertions about refusals."""
import json
import unittest

from . import log, stage
from .answers import Answers, check
from .bundle import Bundle, Container, held


class Case(unittest.TestCase):
    maxDiff = None

    @property
    def stage(self):
        return stage.current

    def node(self, **config):
        return self.stage.node(**config)

    def container(self, policy=None, *, how="runtime", runtime="runc", node=None, policies=None, **bundle):
        """A container under `policy`: a document (stored as "tested") or a name of the node's."""
        node = node or self.node()
        for name, document in (policies or {}).items():
            node.policy(name, document)
        if isinstance(policy, dict):
            policy = node.policy("tested", policy)
        container = Container(Bundle(node, policy=policy, **bundle), how, runtime)
        return container

    def held(self, container, *operations, script=None):
        return held(container, *operations, script=script)

    def expect(self, container, table):
        """Runs the table's operations in the container and compares."""
        operations = [row[0] for row in table]
        container.bundle.probe(*operations)
        ended = container.run()
        if ended.status != 0 and not Answers(ended.out).lines:
            self.fail(f"the container failed:\n{ended}")
        check(self, Answers(ended.out), table, ended)
        return ended

    def expect_exec(self, container, table, flags=()):
        ended = container.exec("/bin/probe", *[row[0] for row in table], flags=list(flags))
        check(self, Answers(ended.out), table, ended)
        return ended

    def expect_refused(self, container, *words, status=None):
        """The container must not start; every word stands in the message."""
        container.bundle.probe("read /etc/hosts")
        ended = container.run()
        self.assert_refused(ended, *words, status=status)
        self.assertEqual(container.bundle.node.containers(), [], "something of the container was left")
        return ended

    def assert_refused(self, ended, *words, status=None):
        text = ended.err + ended.out
        if ended.status == 0 or '"op"' in ended.out:
            self.fail(f"this must be refused and was not:\n{ended}")
        for word in words:
            self.assertIn(word, text, str(ended))
        if status is not None:
            self.assertEqual(ended.status, status, str(ended))

    def config_of(self, container):
        return json.loads(container.bundle.config_file.read_text())


__all__ = ["Case", "Answers", "check", "log"]
