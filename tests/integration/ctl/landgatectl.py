"""What the tests of landgatectl share: where it lies, and how it is run."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(os.environ["LANDGATE_BIN_DIR"])
PROGRAM = str(BIN / "landgatectl")
DATA = pathlib.Path(__file__).resolve().parents[2] / "data" / "ctl"


def run(*arguments, stdin="", environment=None, cwd=None):
    """Runs landgatectl without a terminal; the tests' own environment must not choose a config."""
    env = {key: value for key, value in os.environ.items() if key != "LANDGATE_CONFIG"}
    env.update(environment or {})
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        input=stdin, capture_output=True, text=True, env=env, cwd=cwd, timeout=120, check=False)


class CtlTest(unittest.TestCase):
    """A node of its own: a config.json whose policy directory belongs to the test."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="landgatectl-test-")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.policies = self.scratch / "policies"
        self.policies.mkdir()
        self.config = self.scratch / "config.json"
        self.write_config()

    def write_config(self, **keys):
        content = {"policyDirs": [str(self.policies)], "runDir": str(self.scratch / "run"), **keys}
        self.config.write_text(json.dumps(content))

    def policy(self, name, document, directory=None):
        path = (directory or self.policies) / f"{name}.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def ctl(self, *arguments, stdin="", environment=None):
        return run("--config", self.config, *arguments, stdin=stdin, environment=environment,
                   cwd=self.scratch)

    def expect(self, status, *arguments, stdin="", environment=None):
        """Runs and compares the exit status; an error is one line that names the program."""
        result = self.ctl(*arguments, stdin=stdin, environment=environment)
        self.assertEqual(result.returncode, status,
                         f"{arguments}\nstdout: {result.stdout}\nstderr: {result.stderr}")
        if result.stderr:
            self.assertRegex(result.stderr, r"\Alandgatectl: [^\n]+\n\Z")
        return result

    def expect_json(self, status, *arguments, **options):
        return json.loads(self.expect(status, *arguments, "--json", **options).stdout)

    def expect_usage_error(self, *arguments):
        result = self.expect(2, *arguments)
        self.assertEqual(result.stdout, "")
        self.assertNotEqual(result.stderr, "")
        return result.stderr


def main():
    unittest.main(argv=sys.argv, verbosity=2)
