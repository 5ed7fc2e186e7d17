"""Manual page and completions name every option and command that --help names, and nothing else."""

import pathlib
import re
import shutil
import subprocess
import unittest

import landgatectl

TREE = pathlib.Path(__file__).resolve().parents[3]
COMPLETIONS = TREE / "packaging/completions"
COMMANDS = [[], ["check"], ["policy"], ["policy", "validate"], ["policy", "explain"],
            ["policy", "compile"], ["policy", "list"], ["policy", "show"]]


def options_of_help():
    options = set()
    for command in COMMANDS:
        text = landgatectl.run(*command, "--help").stdout
        # An option's line begins with it; the prose around may mention others.
        for line in re.findall(r"^  (-.*)$", text, re.MULTILINE):
            options.update(re.findall(r"--[a-z-]+", line.split("   ")[0].split(" Needs:")[0]))
    return options


def complete(*words):
    script = COMPLETIONS / "bash/landgatectl"
    quoted = " ".join(f"'{word}'" for word in ("landgatectl",) + words)
    return set(subprocess.run(
        ["bash", "-c", f"compopt() {{ :; }}; source '{script}'; COMP_WORDS=({quoted}); "
                       f"COMP_CWORD={len(words)}; _landgatectl; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
        capture_output=True, text=True, check=True).stdout.split())


class Documents(unittest.TestCase):
    def test_every_option_is_documented_and_completed(self):
        options = options_of_help()
        self.assertIn("--host-network", options)
        page = (TREE / "docs/man/landgatectl.1.in").read_text().replace("\\-", "-")
        bash = (COMPLETIONS / "bash/landgatectl").read_text()
        zsh = (COMPLETIONS / "zsh/_landgatectl").read_text()
        fish = (COMPLETIONS / "fish/landgatectl.fish").read_text()
        for option in sorted(options):
            with self.subTest(option=option):
                self.assertRegex(page, re.escape(option) + r"\b")
                self.assertRegex(bash, re.escape(option) + r"\b")
                self.assertRegex(zsh, re.escape(option) + r"\b")
                self.assertRegex(fish, rf"-l {option[2:]}\b")

    def test_manual_pages_are_well_formed(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        for page in sorted((TREE / "docs/man").glob("*.in")):
            with self.subTest(page=page.name):
                result = subprocess.run(["groff", "-t", "-man", "-Tutf8", "-ww", "-z", page],
                                        capture_output=True, text=True, check=False)
                self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_bash_completes(self):
        self.assertEqual(complete("pol"), {"policy"})
        self.assertEqual(complete("policy", "va"), {"validate"})
        self.assertEqual(complete("--config", "/x", "policy", "l"), {"list"})
        self.assertEqual(complete("policy", "compile", "--host"), {"--host-network", "--host-pid"})
        self.assertEqual(complete("policy", "explain", "web", "--right", "ex"), {"execute"})
        self.assertIn("--json", complete("check", "--"))


if __name__ == "__main__":
    landgatectl.main()
