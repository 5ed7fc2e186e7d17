"""landgatectl policy …: every command, its allowed and its denied side, its errors."""

import os
import stat
import unittest

import landgatectl
from landgatectl import DATA, CtlTest

ALLOW_USR = {"landgate": 1, "paths": [{"allow": ["read", "execute"], "beneath": ["/usr"]}]}


def pointers(document, severity="refusal"):
    return [f["pointer"] for f in document["findings"] if f["severity"] == severity]


class CommandLine(CtlTest):
    def test_version_and_help_are_no_errors(self):
        self.assertRegex(self.expect(0, "--version").stdout, r"\Alandgatectl \d+\.\d+\.\d+\n\Z")
        for command in [[], ["check"], ["policy"], ["policy", "validate"], ["policy", "explain"],
                        ["policy", "compile"], ["policy", "list"], ["policy", "show"]]:
            self.assertIn("Usage: landgatectl", self.expect(0, *command, "--help").stdout)

    def test_bad_command_lines_are_2(self):
        policy = DATA / "workspace.json"
        for arguments in [[], ["polcy"], ["policy"], ["policy", "explane"], ["policy", "validate"],
                          ["policy", "validate", "--jsn", policy], ["policy", "explain", policy],
                          ["policy", "compile", policy], ["policy", "show"], ["check", "extra"],
                          ["policy", "compile", policy, "--root", "/", "--abi", "many"],
                          ["policy", "compile", policy, "--root", "/", "--abi", "-1"]]:
            with self.subTest(arguments=arguments):
                self.assertIn("--help", self.expect_usage_error(*arguments))

    def test_config_comes_from_option_or_environment(self):
        other = self.scratch / "other.json"
        other.write_text('{"policyDirs": ["/nonexistent/policies"]}')
        environment = {"LANDGATE_CONFIG": str(other)}
        with_option = self.expect_json(0, "policy", "list", environment=environment)
        self.assertEqual(with_option["policyDirs"], [str(self.policies)])
        without = landgatectl.run("policy", "list", environment=environment)
        self.assertIn("/nonexistent/policies", without.stdout)
        # The option may stand behind the command too.
        self.assertEqual(landgatectl.run("policy", "list", "--config", other).returncode, 0)

    def test_a_broken_config_is_refused_with_its_place(self):
        self.config.write_text('{"policyDirz": []}')
        self.assertIn("/policyDirz", self.expect(1, "policy", "list").stderr)
        self.assertEqual(landgatectl.run("--config", "", "policy", "list").returncode, 2)
        self.config.unlink()
        self.assertIn(str(self.config), self.expect(1, "policy", "list").stderr)

    def test_output_that_can_not_be_written_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w", encoding="utf-8") as full:
            import subprocess
            result = subprocess.run([landgatectl.PROGRAM, "--config", self.config, "policy", "list"],
                                    stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("No space left", result.stderr)


class Validate(CtlTest):
    def test_usable(self):
        result = self.expect(0, "policy", "validate", DATA / "workspace.json")
        self.assertIn("usable, 0 refusals", result.stdout)

    def test_every_mistake_is_shown_where_it_stands(self):
        report = self.expect_json(1, "policy", "validate", DATA / "mistakes.json")
        (document,) = report["documents"]
        self.assertFalse(report["usable"])
        self.assertEqual(pointers(document),
                         ["/pahts", "/paths/1/optinal", "/paths/1/allow/0", "/paths/2/beneath/0",
                          "/syscalls/deny/0", "/execSessions"])
        self.assertEqual({f["file"] for f in document["findings"]}, {str(DATA / "mistakes.json")})
        text = self.expect(1, "policy", "validate", DATA / "mistakes.json").stdout
        self.assertIn("mistakes.json: /paths/2/beneath/0: refused: ", text)
        self.assertIn("6 refusals", text)

    def test_a_document_of_nothing_but_mistakes_ends(self):
        path = self.policy("flood", {"landgate": 1, "paths": [
            {"allow": ["reed"], "beneath": [f"/{i}"]} for i in range(300)]})
        (document,) = self.expect_json(1, "policy", "validate", path)["documents"]
        self.assertEqual(pointers(document)[:3],
                         ["/paths/0/allow/0", "/paths/1/allow/0", "/paths/2/allow/0"])
        self.assertIn("more", document["findings"][-1]["message"])

    def test_what_needs_an_agent_is_refused_all_of_it(self):
        report = self.expect_json(1, "policy", "validate", DATA / "needs-agent.json")
        refused = pointers(report["documents"][0])
        for expected in ["/paths/0/ask", "/paths/1/runtime", "/onViolation", "/selfRestrict"]:
            self.assertIn(expected, refused)
        for finding in report["documents"][0]["findings"]:
            if finding["severity"] == "refusal":
                self.assertIn("not supported in this build", finding["message"])

    def test_strict_counts_warnings(self):
        path = self.policy("warned", {"landgate": 1, "paths": [
            {"allow": ["read", "execute"], "beneath": ["/usr"]},
            {"deny": ["all"], "beneath": ["/usr/local"]}]})
        usable = self.expect_json(0, "policy", "validate", path)
        self.assertNotEqual(pointers(usable["documents"][0], "warning"), [])
        self.assertFalse(self.expect_json(1, "policy", "validate", "--strict", path)["usable"])

    def test_several_files_one_of_them_bad(self):
        report = self.expect_json(1, "policy", "validate", DATA / "workspace.json",
                                  DATA / "mistakes.json")
        self.assertEqual([d["usable"] for d in report["documents"]], [True, False])

    def test_standard_input(self):
        good = (DATA / "workspace.json").read_text()
        self.expect(0, "policy", "validate", "-", stdin=good)
        bad = self.expect(1, "policy", "validate", "-", stdin=good.replace("allow", "alow", 1))
        self.assertIn("(standard input): /paths/0/alow: refused", bad.stdout)

    def test_syntax_errors_have_line_and_column(self):
        path = self.policy("broken", '{\n  "landgate": 1,,\n}')
        report = self.expect_json(1, "policy", "validate", path)
        self.assertIn("line 2, column ", report["documents"][0]["findings"][0]["message"])
        twice = self.policy("twice", '{"landgate": 1, "paths": [], "paths": []}')
        self.expect(1, "policy", "validate", twice)

    def test_extends_beside_the_file_and_in_the_node(self):
        self.policy("from-node", ALLOW_USR)
        elsewhere = self.scratch / "elsewhere"
        elsewhere.mkdir()
        self.policy("beside", ALLOW_USR, elsewhere)
        child = self.policy("child", {"landgate": 1, "extends": ["from-node", "beside"]}, elsewhere)
        self.expect(0, "policy", "validate", child)
        orphan = self.policy("orphan", {"landgate": 1, "extends": ["missing"]}, elsewhere)
        self.assertIn("missing", self.expect(1, "policy", "validate", orphan).stdout)
        loop = self.policy("loop", {"landgate": 1, "extends": ["loop"]})
        self.assertIn("loop", self.expect(1, "policy", "validate", loop).stdout)

    def test_a_mistake_in_an_extended_document_names_that_document(self):
        self.policy("parent", {"landgate": 1, "paths": [{"ask": ["read"], "beneath": ["/home"]}]})
        child = self.policy("child", {"landgate": 1, "extends": ["parent"]})
        (document,) = self.expect_json(1, "policy", "validate", child)["documents"]
        self.assertIn(str(self.policies / "parent.json"), {f["file"] for f in document["findings"]})

    def test_a_file_that_others_can_write_is_refused(self):
        path = self.policy("open", ALLOW_USR)
        self.expect(0, "policy", "validate", path)
        path.chmod(0o666)
        self.expect(1, "policy", "validate", path)

    def test_missing_files_and_names_of_the_node(self):
        self.assertIn("No such file",
                      self.expect(1, "policy", "validate", "/nonexistent.json").stdout)
        self.policy("named", ALLOW_USR)
        self.assertIn("usable", self.expect(0, "policy", "validate", "named").stdout)

    def test_control_characters_never_reach_the_terminal(self):
        path = self.policy("evil", '{"landgate": 1, "a\\u001b[2J": 1}')
        self.assertNotIn("\x1b", self.expect(1, "policy", "validate", path).stdout)


class Explain(CtlTest):
    policy_file = DATA / "workspace.json"

    def ask(self, status, *question):
        return self.expect_json(status, "policy", "explain", self.policy_file, *question)

    def test_paths(self):
        allowed = self.ask(0, "--path", "/workspace/src/main.c", "--right", "read", "write")
        self.assertEqual((allowed["verdict"], allowed["rule"], allowed["errno"]),
                         ("allow", "/paths/1", None))
        self.assertEqual(allowed["file"], str(self.policy_file))
        denied = self.ask(1, "--path", "/workspace/.git/hooks/pre-commit", "--right", "read")
        self.assertEqual((denied["verdict"], denied["rule"], denied["reason"], denied["errno"]),
                         ("deny", "/paths/2", "rule", "EACCES"))
        uncovered = self.ask(1, "--path", "/etc/shadow", "--right", "read")
        self.assertEqual((uncovered["reason"], uncovered["rule"]), ("not_covered", None))
        insufficient = self.ask(1, "--path", "/usr/bin/id", "--right", "write")
        self.assertEqual(insufficient["reason"], "insufficient_access")

    def test_rights_in_every_spelling(self):
        for right in [["read_file"], ["read,execute"], ["read", "--right", "execute"], ["0x4"], ["4"]]:
            self.ask(0, "--path", "/usr/bin/id", "--right", *right)
        for right in ["reed", "0", "-1", "0x", "99999999999999999999"]:
            self.expect_usage_error("policy", "explain", self.policy_file, "--path", "/usr",
                                    "--right", right)

    def test_destinations(self):
        for destination in ["10.1.2.3:443", "tcp://[2001:db8::1]:443", "example.org:443"]:
            self.assertEqual(self.ask(0, "--connect", destination)["rule"], "/network/0")
        for destination in ["10.1.2.3:80", "udp://10.1.2.3:443", "example.org:80", "unix:/run/x"]:
            self.assertEqual(self.ask(1, "--connect", destination)["verdict"], "deny")
        self.assertEqual(self.ask(0, "--bind", "*:8080")["rule"], "/network/1")
        self.ask(1, "--bind", "127.0.0.1:80")
        for nonsense in ["10.1.2.3", "10.1.2.3:http", "10.1.2.0/24:80", ":80", ""]:
            self.expect_usage_error("policy", "explain", self.policy_file, "--connect", nonsense)

    def test_system_calls_and_capabilities(self):
        self.assertEqual(self.ask(1, "--syscall", "ptrace")["errno"], "EPERM")
        self.assertEqual(self.ask(1, "--syscall", "io_uring_setup")["errno"], "EPERM")
        self.assertEqual(self.ask(1, "--syscall", "mount")["reason"], "protected")
        self.ask(0, "--syscall", "openat")
        self.ask(0, "--capability", "CAP_CHOWN")
        self.ask(0, "--capability", "chown")
        self.assertEqual(self.ask(1, "--capability", "CAP_NET_RAW")["errno"], "EPERM")
        self.assertIn("openat", self.expect_usage_error("policy", "explain", self.policy_file,
                                                        "--syscall", "openatt"))
        self.expect_usage_error("policy", "explain", self.policy_file, "--capability", "CAP_X")

    def test_exactly_one_question(self):
        for question in [["--path", "/x"], ["--right", "read"], ["--path", "x", "--right", "read"],
                         ["--path", "/a/../b", "--right", "read"],
                         ["--syscall", "mount", "--capability", "CAP_CHOWN"],
                         ["--syscall", "mount", "--root", "/"]]:
            self.expect_usage_error("policy", "explain", self.policy_file, *question)

    def test_landlock_layers_must_allow_too(self):
        layer = DATA / "ports-layer.json"
        allowed = self.expect_json(0, "policy", "explain", layer, "--path", "/usr/x",
                                   "--right", "read_file")
        self.assertEqual(allowed["verdict"], "allow")
        denied = self.expect_json(1, "policy", "explain", layer, "--path", "/etc/x",
                                  "--right", "read_file")
        self.assertEqual(denied["rule"], "/landlock/0")
        self.expect(0, "policy", "explain", layer, "--path", "/etc/x", "--right", "execute")
        self.expect(0, "policy", "explain", layer, "--connect", "10.0.0.1:443")
        self.expect(1, "policy", "explain", layer, "--connect", "10.0.0.1:80")

    def test_merged_rules_are_told_apart(self):
        parent = self.policy("parent", {"landgate": 1, "paths": [
            {"deny": ["all"], "beneath": ["/proc/kcore"]}]})
        child = self.policy("child", {"landgate": 1, "extends": ["parent"], "paths": [
            {"allow": ["read", "execute"], "beneath": ["/"]}]})
        for path, status, file in [("/proc/kcore", 1, parent), ("/usr", 0, child)]:
            answer = self.expect_json(status, "policy", "explain", child, "--path", path,
                                      "--right", "read")
            self.assertEqual(answer["rule"], "/paths/0")
            self.assertTrue(os.path.samefile(answer["file"], file), answer)
        # A section that merging unites names no document, rather than a wrong one.
        self.policy("quiet", {"landgate": 1, "syscalls": {"deny": ["ptrace"]}})
        noisy = self.policy("noisy", {"landgate": 1, "extends": ["quiet"]})
        for name, file in [("quiet", str(self.policies / "quiet.json")), (noisy, None)]:
            answer = self.expect_json(1, "policy", "explain", name, "--syscall", "ptrace")
            self.assertEqual((answer["rule"], answer["file"]), ("/syscalls/deny", file))

    def test_protected_paths_of_the_node(self):
        self.write_config(protected=["/workspace/secret"])
        denied = self.ask(1, "--path", "/workspace/secret/key", "--right", "read")
        self.assertEqual((denied["reason"], denied["rule"], denied["file"]),
                         ("protected", "/protected/0", str(self.config)))
        self.ask(0, "--path", "/workspace/open", "--right", "read")

    def test_in_a_root(self):
        root = self.scratch / "root"
        (root / "usr/lib").mkdir(parents=True)
        (root / "workspace/.git").mkdir(parents=True)
        (root / "etc").mkdir()
        (root / "workspace/link").symlink_to("/workspace/.git")
        (root / "lib").symlink_to("usr/lib")
        (root / "out").symlink_to("../../../../etc")  # an absolute root: stays inside
        path = self.policy("rooted", {"landgate": 1, "paths": [
            {"allow": ["read"], "beneath": ["/lib"]},
            {"allow": ["read"], "beneath": ["/workspace"]},
            {"deny": ["all"], "beneath": ["/workspace/.git"]}]})
        def ask(status, asked):
            return self.expect_json(status, "policy", "explain", path, "--path", asked,
                                    "--right", "read", "--root", root)
        # As written no rule covers /usr/lib; in the root the rule's target leads there.
        self.expect(1, "policy", "explain", path, "--path", "/usr/lib/x", "--right", "read")
        self.assertEqual(ask(0, "/usr/lib/x")["rule"], "/paths/0")
        # As written the link is in an allowed tree; in the root it leads into the denied one.
        self.expect(0, "policy", "explain", path, "--path", "/workspace/link", "--right", "read")
        denied = ask(1, "/workspace/link/config")
        self.assertEqual((denied["rule"], denied["resolved"]),
                         ("/paths/2", "/workspace/.git/config"))
        self.assertEqual(ask(1, "/out/passwd")["resolved"], "/etc/passwd")
        self.expect(1, "policy", "explain", path, "--path", "/x", "--right", "read",
                    "--root", "/nonexistent")

    def test_text(self):
        text = self.expect(1, "policy", "explain", self.policy_file, "--path", "/etc/shadow",
                           "--right", "read").stdout
        self.assertIn("deny: path /etc/shadow (read_file, read_dir)", text)
        self.assertIn("EACCES", text)
        self.assertNotIn("\x1b", text)

    def test_a_policy_that_can_not_be_used_explains_nothing(self):
        result = self.expect(1, "policy", "explain", DATA / "needs-agent.json", "--syscall", "mount")
        self.assertEqual(result.stdout, "")
        self.assertIn("not supported in this build", result.stderr)


class ListAndShow(CtlTest):
    def test_list(self):
        self.assertIn("no policies", self.expect(0, "policy", "list").stdout)
        self.policy("web", {**ALLOW_USR, "description": "Web \u001b[31m servers"})
        self.policy("-not-a-name", ALLOW_USR)
        text = self.expect(0, "policy", "list").stdout
        self.assertIn("web", text)
        self.assertNotIn("\x1b", text)
        (entry,) = self.expect_json(0, "policy", "list")["policies"]
        self.assertEqual((entry["name"], entry["file"], entry["usable"]),
                         ("web", str(self.policies / "web.json"), True))

    def test_the_first_directory_wins(self):
        second = self.scratch / "second"
        second.mkdir()
        self.write_config(policyDirs=[str(self.policies), str(second)])
        self.policy("web", {**ALLOW_USR, "description": "first"})
        self.policy("web", {**ALLOW_USR, "description": "second"}, second)
        (entry,) = self.expect_json(0, "policy", "list")["policies"]
        self.assertEqual(entry["description"], "first")

    def test_unusable_policies_are_listed_with_the_reason(self):
        self.policy("bad", {"landgate": 1, "pahts": []})
        (entry,) = self.expect_json(1, "policy", "list")["policies"]
        self.assertFalse(entry["usable"])
        self.assertIn("pahts", entry["problem"])
        self.assertIn("not usable", self.expect(1, "policy", "list").stdout)

    def test_show_merges_and_is_a_policy_again(self):
        self.policy("parent", ALLOW_USR)
        self.policy("child", {"landgate": 1, "extends": ["parent"],
                              "paths": [{"deny": ["all"], "beneath": ["/usr/local"]}],
                              "network": [{"allow": ["connect"], "to": ["*:443"]}],
                              "execSessions": "refused"})
        shown = self.expect_json(0, "policy", "show", "child")
        self.assertNotIn("extends", shown)
        self.assertEqual(shown["paths"], [{"allow": ["read", "execute"], "beneath": ["/usr"]},
                                          {"deny": ["all"], "beneath": ["/usr/local"]}])
        self.assertEqual(shown["execSessions"], "refused")
        again = self.policy("again", shown)
        self.expect(0, "policy", "validate", again)
        self.assertEqual(self.expect_json(0, "policy", "show", "again"), shown)
        text = self.expect(0, "policy", "show", "child").stdout
        self.assertIn(f"{self.policies / 'parent.json'}: /paths/0", text)
        self.assertIn(f"{self.policies / 'child.json'}: /paths/0", text)

    def test_every_section_survives_show(self):
        document = {"landgate": 1, "description": "all of it",
                    "compatibility": {"landlock": "best-effort", "minAbi": 4},
                    "paths": [{"allow": ["read", "write_file"], "beneath": ["/a"], "file": ["/b"],
                               "optional": True, "required": True},
                              {"allow": ["unix", "read"], "beneath": ["/run"]},
                              {"deny": ["all"], "glob": ["/a/**/.env"], "optional": True,
                               "final": True, "hardlinks": "accept", "mask": "empty"}],
                    "network": [{"allow": ["connect"], "to": ["*:443", "unix:*"]},
                                {"allow": ["bind"], "to": ["*:0"]}],
                    "capabilities": {"keep": ["CAP_CHOWN", "CAP_KILL"]},
                    "syscalls": {"deny": ["bpf", "ptrace"]},
                    "scopes": ["abstract-unix", "signal"],
                    "execSessions": "unconfined", "onViolation": "errno"}
        self.policy("all", document)
        self.assertEqual(self.expect_json(0, "policy", "show", "all"),
                         {**document, "paths": [document["paths"][0],
                                                {**document["paths"][1], "allow": ["read", "unix"]},
                                                document["paths"][2]]})

    def test_a_layer_survives_show(self):
        self.policy("layer", (DATA / "ports-layer.json").read_text())
        shown = self.expect_json(0, "policy", "show", "layer")
        again = self.policy("again", shown)
        self.expect(0, "policy", "validate", again)
        self.expect(0, "policy", "explain", again, "--connect", "10.0.0.1:443")
        self.expect(1, "policy", "explain", again, "--connect", "10.0.0.1:80")

    def test_show_of_nothing(self):
        self.assertIn("nope", self.expect(1, "policy", "show", "nope").stderr)
        self.expect(1, "policy", "show", "../escape")


class Compile(CtlTest):
    def setUp(self):
        super().setUp()
        self.root = self.scratch / "root"
        for directory in ["usr/bin", "workspace/.git/hooks", "workspace/src", "etc", "proc", "dev"]:
            (self.root / directory).mkdir(parents=True)
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")

    def compile(self, status, *arguments):
        return self.expect_json(status, "policy", "compile", *arguments, "--root", self.root)

    def test_means_are_named(self):
        compiled = self.compile(0, DATA / "workspace.json")
        self.assertEqual(compiled["policies"], ["workspace"])
        self.assertEqual(compiled["config"]["keep"], ["CAP_CHOWN"])
        text = self.expect(0, "policy", "compile", DATA / "workspace.json",
                           "--root", self.root).stdout
        for expected in ["/workspace/.git", "landlock", "mask", "ptrace", "CAP_CHOWN"]:
            self.assertIn(expected, text)

    def test_the_root_is_not_changed(self):
        def tree():
            return sorted((str(p), stat.S_IMODE(p.lstat().st_mode), p.lstat().st_mtime_ns)
                          for p in self.root.rglob("*"))
        before = tree()
        self.compile(0, DATA / "workspace.json")
        self.assertEqual(tree(), before)

    def test_a_missing_target_is_refused_unless_optional(self):
        (self.root / "etc/hosts").unlink()
        self.compile(0, DATA / "workspace.json")  # that rule is optional
        (self.root / "usr/bin").rmdir()
        (self.root / "usr").rmdir()
        error = self.expect(1, "policy", "compile", DATA / "workspace.json",
                            "--root", self.root).stderr
        self.assertIn("/paths/0", error)
        self.assertIn("/usr", error)

    def test_an_older_abi_is_refused_where_rights_are_required(self):
        self.compile(0, DATA / "workspace.json", "--abi", "5")
        error = self.expect(3, "policy", "compile", DATA / "workspace.json", "--root", self.root,
                            "--abi", "3").stderr
        self.assertIn("fs.ioctl_dev needs Landlock ABI 5, found ABI 3", error)
        soft = self.policy("soft", {**ALLOW_USR, "compatibility": {"landlock": "best-effort"}})
        compiled = self.compile(0, soft, "--abi", "1")
        self.assertEqual(compiled["landlockAbi"], 1)

    def test_namespaces_choose_the_scopes(self):
        path = self.policy("usr", ALLOW_USR)
        own = self.expect(0, "policy", "compile", path, "--root", self.root, "--abi", "6").stdout
        shared = self.expect(0, "policy", "compile", path, "--root", self.root, "--abi", "6",
                             "--host-network", "--host-pid").stdout
        self.assertNotEqual(own, shared)

    def test_a_stack_by_name_and_file(self):
        self.policy("base", ALLOW_USR)
        compiled = self.compile(0, "base", DATA / "workspace.json")
        self.assertEqual(compiled["policies"], ["base", "workspace"])

    def test_errors(self):
        self.assertIn("/nonexistent", self.expect(1, "policy", "compile", DATA / "workspace.json",
                                                  "--root", "/nonexistent").stderr)
        self.assertIn("not supported in this build",
                      self.expect(1, "policy", "compile", DATA / "needs-agent.json",
                                  "--root", self.root).stderr)
        self.expect(1, "policy", "compile", "nope", "--root", self.root)


if __name__ == "__main__":
    landgatectl.main()
