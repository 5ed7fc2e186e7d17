"""Attacks that must fail. Each is tried by root inside the container with more capabilities than engines give."""
import os
import subprocess

from harness import log
from harness.answers import Answers, check
from harness.bundle import DEFAULT_CAPABILITIES
from harness.case import Case
from harness.policies import DATA, allow, deny, deny_file, policy

CAPABLE = [*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]
# Even where files are wide open to the workload.
OPEN = {"landgate": 1, "paths": [allow("all", "/"), deny_file("/data/secret.txt"), deny("all", "/data/private")]}


class Launcher(Case):
    """The launcher, the plan and what lies above them."""
    label = "launcher"

    def test_can_not_be_taken_away(self):
        steal = [
            *((f"rename /dev/{name} /dev/x", "EBUSY") for name in ("lg", "lg.plan")),
            *((f"unlink /dev/{name}", "EBUSY") for name in ("lg", "lg.plan")),
            *((f"rename /bin/probe /dev/{name}", "EBUSY|EXDEV|EACCES") for name in ("lg", "lg.plan")),
            *((f"rename:exchange /dev/null /dev/{name}", "EBUSY") for name in ("lg", "lg.plan")),
            *((f"link /dev/{name} /dev/x", "EXDEV|EPERM") for name in ("lg", "lg.plan")),
            *((f"write /dev/{name}", "EROFS|ETXTBSY|EACCES") for name in ("lg", "lg.plan")),
            *((f"truncate /dev/{name}", "EROFS|ETXTBSY|EACCES") for name in ("lg", "lg.plan")),
            *((f"chmod /dev/{name} 0777", "EROFS|EPERM") for name in ("lg", "lg.plan")),
            *((f"umount /dev/{name}", "EPERM") for name in ("lg", "lg.plan")),
            ("bindmount /bin/probe /dev/lg", "EPERM"),
            ("mount none /dev tmpfs", "EPERM"),
            ("rename /dev /x", "EBUSY|EXDEV"),
            ("rmdir /dev", "EBUSY"),
            ("umount /dev", "EPERM"),
            ("remount /dev/lg", "EPERM"),
        ]
        for runtime in ("runc", "crun"):
            with self.subTest(runtime=runtime):
                container = self.container(OPEN, capabilities=CAPABLE, runtime=runtime)
                with self.held(container, *[row[0] for row in steal]) as running:
                    check(self, Answers(running.out), steal)
                    self.expect_exec(container, [("read /data/secret.txt", "EACCES"),
                                                 ("status NoNewPrivs", "ok", "1"),
                                                 ("umount /dev/lg", "EPERM")])

    def test_chroot_of_the_main_process(self):
        """Where /proc/INIT/root leads does not matter."""
        container = self.container(OPEN, capabilities=CAPABLE)
        fake = container.bundle.root / "data/fake"
        for directory in ("dev", "bin"):
            (fake / directory).mkdir(parents=True)
        (fake / "dev/lg").write_bytes(self.stage.probe.read_bytes())
        (fake / "dev/lg").chmod(0o755)
        (fake / "dev/lg.plan").write_text("")
        with self.held(container, "chroot /data/fake") as running:
            self.assertEqual(Answers(running.out).errno("chroot /data/fake"), "ok")
            self.expect_exec(container, [("read /data/secret.txt", "EACCES"), ("status NoNewPrivs", "ok", "1")])

    def test_run_again_gains_nothing(self):
        """The launcher in the workload's hands only restricts further."""
        container = self.container(policy(DATA, deny_file("/data/secret.txt"),
                                          allow("read execute", "/dev")),
                                   capabilities=CAPABLE, how="runtime")
        rows = []
        for argv in ("/dev/lg", "/dev/lg start", "/dev/lg exec", "/dev/lg start /bin/absent",
                     "/dev/lg nothing /bin/true", "/dev/lg start /data/bin/tool"):
            rows.append((f"exec {argv}", "ok|EACCES"))
        container.bundle.probe(*[op for op, _ in rows], "read /srv/outside")
        ended = container.run()
        answers = Answers(ended.out)
        check(self, answers, rows, ended)
        for op, _ in rows:
            self.assertNotIn("exit 0", answers.value(op), str(ended))
        self.assertEqual(answers.errno("read /srv/outside"), "EACCES")
        # Twice in front of a program: confined twice.
        container = self.container(policy(DATA), capabilities=CAPABLE,
                                   args=["/dev/lg", "start", "/bin/probe", "read /srv/outside", "read /data/open/file"])
        ended = container.run()
        if ended.status == 0:
            self.assertEqual(Answers(ended.out).errno("read /srv/outside"), "EACCES")

    def test_not_inspected_not_traced(self):
        """A sibling session can't be traced out of its confinement where the other one has more."""
        container = self.container({"landgate": 1, "scopes": []}, capabilities=CAPABLE)
        with self.held(container):
            self.expect_exec(container, [("ptrace 1", "EPERM")])


class Masks(Case):
    """Every way to the bytes under a mask, and every way to make the denied name again."""
    label = "masks"

    def test_no_masked_byte(self):
        for prefix in ("", "userns "):
            with self.subTest(prefix or "as root"):
                answers = self.container(OPEN, capabilities=CAPABLE).answers([prefix + op for op in (
                    "open_tree /data secret.txt", "open_tree / data/secret.txt", "open_tree / data/secret.txt recursive",
                    "open_tree /data/private key", "handle /data/secret.txt /", "handle /data/private/key /",
                    "setns /proc/1/ns/mnt mount", "bindmount /data /tmp", "read /tmp/secret.txt",
                    "umount /data/secret.txt", "umount /data/private", "remount /data/secret.txt",
                    "read /proc/1/root/data/secret.txt", "read /proc/self/root/data/secret.txt",
                    "list /proc/1/root/data/private")])
                for line in answers.lines:
                    self.assertNotIn("hunter2", line["value"], line)
                    self.assertNotIn("PRIVATE", line["value"], line)
                    if "proc/1/root/data/private" not in line["op"]:
                        self.assertNotEqual(line["errno"], "ok", line)

    def test_without_a_policy_these_ways_work(self):
        """So the test above tests something: the same mounts made by an engine do not hold."""
        def masked(config):
            config["linux"]["maskedPaths"] = ["/data/secret.txt"]
        container = self.container(capabilities=CAPABLE, edit=masked)
        answers = container.answers(["read /data/secret.txt", "open_tree /data secret.txt"])
        self.assertEqual(answers.value("read /data/secret.txt"), "")
        self.assertIn("hunter2", answers.value("open_tree /data secret.txt"))

    def git(self, container):
        repository = container.bundle.root / "data/repo"
        (repository / ".git/hooks").mkdir(parents=True)
        (repository / ".git/config").write_text("[core]\n")
        (repository / "src").mkdir()
        return repository

    def test_the_name_can_not_be_made_again(self):
        container = self.container(policy(
            DATA, deny("all", "/data/repo/.git/hooks"), deny_file("/data/repo/.git/config", rights="modify")))
        repository = self.git(container)
        table = []
        for victim in ("/data/repo/.git", "/data/repo", "/data/repo/.git/hooks", "/data/repo/.git/config"):
            table += [
                *((f"rename{way} {victim} /data/open/moved", "EBUSY|EXDEV|EROFS|EACCES")
                  for way in (":rename", ":renameat", "", ":noreplace")),
                (f"rename:exchange {victim} /data/open", "EBUSY|EXDEV|EROFS|EACCES|EINVAL"),
                (f"rename:exchange /data/repo/src {victim}", "EBUSY|EXDEV|EROFS|EACCES|EINVAL|ENOTDIR"),
                (f"rmdir {victim}", "EBUSY|ENOTEMPTY|EROFS|EACCES|ENOTDIR"),
                (f"unlink {victim}", "EBUSY|EISDIR|EROFS|EACCES|EPERM"),
            ]
        table += [
            ("create /data/repo/.git/hooks/pre-commit", "EROFS|EACCES"),
            ("link /bin/probe /data/repo/.git/hooks/pre-commit", "EXDEV|EROFS|EACCES"),
            ("write /data/repo/.git/config", "EROFS|EACCES"),
            ("create /data/repo/.git/config.lock", "ok"),
            ("rename /data/repo/.git/config.lock /data/repo/.git/config", "EBUSY|EXDEV|EROFS|EACCES"),
            ("create /data/repo/.git/index", "ok"),
            ("create /data/repo/new", "ok"),
            ("mkdir /data/repo/src/deep", "ok"),
            ("rename /data/repo/src /data/repo/source", "ok"),
        ]
        self.expect(container, table)
        self.assertEqual(sorted(os.listdir(repository / ".git")), ["config", "config.lock", "hooks", "index"])
        self.assertEqual(os.listdir(repository / ".git/hooks"), [])
        self.assertEqual((repository / ".git/config").read_text(), "[core]\n")

    def test_through_a_second_mount(self):
        volume = self.stage.directory("volume")
        (volume / "repo/.git/hooks").mkdir(parents=True)
        mounts = [{"destination": where, "type": "bind", "source": str(volume / source), "options": ["rbind", "rw"]}
                  for where, source in (("/data/one", ""), ("/data/two", ""), ("/data/three", "repo"))]
        self.expect(self.container(policy(DATA, deny("all", "/data/one/repo/.git/hooks")), mounts=mounts), [
            *((f"rename {git} {git}2", "EBUSY|EXDEV") for git in
              ("/data/one/repo/.git", "/data/two/repo/.git", "/data/three/.git")),
            ("rename /data/one/repo /data/one/repo2", "EBUSY|EXDEV"),
            ("rename /data/two/repo /data/two/repo2", "EBUSY|EXDEV"),
            *((f"create {git}/hooks/pre-commit", "EROFS|EACCES") for git in
              ("/data/one/repo/.git", "/data/two/repo/.git", "/data/three/.git")),
        ])
        self.assertEqual(os.listdir(volume / "repo/.git/hooks"), [])
        self.assertEqual(os.listdir(volume), ["repo"])

    def test_through_a_nested_mount_namespace(self):
        container = self.container(OPEN, capabilities=CAPABLE)
        self.expect(container, [
            ("userns read /data/secret.txt", "EACCES|EPERM"),
            ("userns umount /data/secret.txt", "EPERM|EINVAL"),
            ("unshare mount", "ok|EPERM"),
        ])


class Races(Case):
    """What changes between inject and start, or between create and start."""
    label = "races"

    def between(self, document, change, **options):
        """Creates a container, changes the root from outside, starts it."""
        container = self.container(document, **options)
        container.bundle.probe("read /data/secret.txt", "read /srv/outside", "read /data/open/file")
        self.addCleanup(container.delete)
        out = container.bundle.directory / "out"
        with open(out, "w") as stream:
            created = subprocess.run([str(word) for word in container.argv("create", "--bundle", container.bundle.directory,
                                                                            container.id)],
                                     env=container.environment(), stdin=subprocess.DEVNULL, stdout=stream,
                                     stderr=stream).returncode
        self.assertEqual(created, 0, out.read_text())
        change(container.bundle.root)
        log.run(container.argv("start", container.id), env=container.environment())

        def stopped():
            state = log.run(container.argv("state", container.id), env=container.environment())
            return state.status != 0 or '"stopped"' in state.out
        log.until(stopped, "the container ended")
        return out.read_text()

    def test_a_rules_object_is_another_by_then(self):
        def swap(root):
            (root / "data").rename(root / "data-before")
            (root / "data").symlink_to("/srv")
        text = self.between(policy(DATA), swap)
        self.assertNotIn('"op"', text, "the launcher must refuse an object that is not the planned one")
        self.assertIn("/data", text)

    def test_a_directory_in_place_of_the_one_that_was_compiled(self):
        def swap(root):
            (root / "data").rename(root / "data-before")
            (root / "data").mkdir()
        self.assertNotIn('"op"', self.between(policy(DATA), swap))

    def test_a_symlink_in_a_volume_before_create(self):
        """A mask's path that leads out of the volume by a symlink masks what it reaches in the container."""
        volume = self.stage.directory("volume")
        host = self.stage.directory("host")
        (host / "secret").write_text("host\n")
        (volume / "dir").symlink_to(host)
        container = self.container(
            policy(DATA, deny_file("/data/volume/dir/secret")),
            mounts=[{"destination": "/data/volume", "type": "bind", "source": str(volume), "options": ["rbind", "rw"]}])
        self.expect_refused(container, "/data/volume/dir/secret")
        self.assertEqual((host / "secret").read_text(), "host\n")
        self.assertEqual(os.listdir(volume), ["dir"])

    def test_nothing_is_created_in_a_volume(self):
        volume = self.stage.directory("volume")
        container = self.container(
            policy(DATA, deny_file("/data/volume/absent", optional=True), deny("all", "/data/volume/none", optional=True)),
            mounts=[{"destination": "/data/volume", "type": "bind", "source": str(volume), "options": ["rbind", "rw"]}])
        self.expect(container, [("list /data/volume", "ok", "")])
        self.assertEqual(os.listdir(volume), [])


class Documented(Case):
    """What the floor does not hold, as the documentation says; if one of these changes, so must the page."""
    label = "documented"

    def test_memory_and_loaders(self):
        container = self.container(policy(DATA))
        self.expect(container, [
            ("exec /data/bin/tool", "EACCES"),
            ("exec:memfd /data/bin/tool", "ok"),  # memory is no file that Landlock knows
        ])

    def test_user_namespaces_without_a_capabilities_section(self):
        self.expect(self.container(policy(DATA), uid=1000), [
            ("unshare user", "ok"),
            ("userns read /srv/outside", "EACCES"),
            ("userns mount none /tmp tmpfs", "EPERM"),
        ])
