"""What a `paths` section allows and denies, through every system call that does the same thing."""
import os
import socket

from harness import log
from harness.answers import Answers
from harness.case import Case
from harness.policies import DATA, allow, deny, deny_file, policy

OPENS = ("open", "openat", "openat2", "openat2-nosymlinks", "dirfd", "dots", "slashes", "chdir", "fchdir")


class Allow(Case):
    label = "allow"

    def test_read(self):
        self.expect(self.container(policy(allow("read", "/data"))), [
            *((f"read:{way} /data/open/file", "ok", "open") for way in OPENS),
            *((f"read:{way} /srv/outside", "EACCES") for way in OPENS),
            ("list /data/open", "ok", "file"),
            ("list /srv", "EACCES"),
            ("read /data/../srv/outside", "EACCES"),
            ("read /proc/self/root/srv/outside", "EACCES"),
            ("read /proc/self/comm", "ok", "probe"),
        ])

    def test_read_is_not_write(self):
        self.expect(self.container(policy(allow("read", "/data"))), [
            *((f"{op}:{way} /data/open/file", "EACCES")
              for op in ("write", "append", "rdwr", "rdtrunc", "wrtrunc") for way in OPENS),
            ("write:creat /data/open/file", "EACCES"),
            ("truncate /data/open/file", "EACCES"),
            ("create /data/open/new", "EACCES"),
            ("tmpfile /data/open", "EACCES"),
            ("mkdir /data/open/new", "EACCES"),
            ("unlink /data/open/file", "EACCES"),
            ("rename /data/open/file /data/open/new", "EACCES"),
            ("symlink x /data/open/new", "EACCES"),
            ("mkfifo /data/open/new", "EACCES"),
            ("read /data/open/file", "ok", "open"),
        ])

    def test_read_is_not_execute(self):
        self.expect(self.container(policy(DATA)), [
            ("exec /bin/true", "ok", "exit 0"),
            *((f"exec{way} /data/bin/tool", "EACCES") for way in ("", ":execveat", ":procfd")),
        ])

    def test_write_and_read_back(self):
        self.expect(self.container(policy(DATA, deny_file("/data/secret.txt"))), [
            ("create /data/open/new", "ok"),
            ("create /data/open/new", "EEXIST"),
            ("append /data/open/new", "ok"),
            ("read /data/open/new", "ok", "ca"),
            ("overwrite:openat2 /data/open/new", "ok"),
            ("read /data/open/new", "ok", "o"),
            ("ftruncate /data/open/new", "ok"),
            ("tmpfile /data/open", "ok"),
            ("mkdir:mkdirat /data/open/d", "ok"),
            ("rename:rename /data/open/new /data/open/d/a", "ok"),
            ("rename:renameat /data/open/d/a /data/open/b", "ok"),
            ("rename:exchange /data/open/b /data/open/file", "ok"),
            ("rename:noreplace /data/open/b /data/open/file", "EEXIST"),
            ("link:link /data/open/b /data/open/c", "ok"),
            ("symlink:symlinkat b /data/open/s", "ok"),
            ("unlink:unlinkat /data/open/s", "ok"),
            ("read /data/open/c", "ok", "open"),
            ("mkfifo /data/open/fifo", "ok"),
            ("mksock:mknod /data/open/sock", "ok"),
            ("rmdir:unlinkat /data/open/d", "ok"),
        ])

    def test_single_rights(self):
        rules = [
            {"allow": ["read_file"], "beneath": ["/data/open"]},
            {"allow": ["read_dir"], "beneath": ["/data/ro"]},
            {"allow": ["make_reg", "write_file"], "beneath": ["/tmp"]},
            {"allow": [1 << 7], "beneath": ["/var"]},  # MAKE_DIR by number
        ]
        self.expect(self.container(policy(*rules)), [
            ("read /data/open/file", "ok"),
            ("list /data/open", "EACCES"),
            ("read /data/ro/file", "EACCES"),
            ("list /data/ro", "ok", "file"),
            ("create /tmp/new", "ok"),
            ("overwrite /tmp/new", "EACCES"),  # O_TRUNC needs truncate
            ("unlink /tmp/new", "EACCES"),
            ("mkdir /tmp/d", "EACCES"),
            ("mkdir /var/d", "ok"),
            ("create /var/f", "EACCES"),
        ])

    def test_file_rule_covers_only_the_file(self):
        self.expect(self.container(policy({"allow": ["read", "write"], "file": ["/data/open/file"]})), [
            ("read /data/open/file", "ok"),
            ("write /data/open/file", "ok"),
            ("read /data/open/file/below", "ENOTDIR|EACCES"),
            ("read /data/ro/file", "EACCES"),
            ("list /data/open", "EACCES"),
            ("unlink /data/open/file", "EACCES"),
        ])

    def test_symlinks_lead_nowhere_new(self):
        self.expect(self.container(policy(DATA)), [
            ("symlink /srv/outside /data/open/link", "ok"),
            ("read /data/open/link", "EACCES"),
            ("write /data/open/link", "EACCES"),
            ("symlink /srv/new /data/open/dangling", "ok"),
            ("overwrite /data/open/dangling", "EACCES"),
            ("rename /data/open/link /data/open/renamed", "ok"),  # the link, not what it names
            ("unlink /data/open/renamed", "ok"),
            ("read:openat2-nosymlinks /data/open/dangling", "ELOOP"),
            ("symlink file /data/open/inside", "ok"),
            ("read:openat2-nosymlinks /data/open/inside", "ELOOP"),
            ("read /data/open/inside", "ok"),
        ])

    def test_links_and_renames_out_of_a_read_only_tree(self):
        self.expect(self.container(policy(allow("read", "/srv"), DATA)), [
            *((f"link{way} /srv/outside /data/open/stolen", "EACCES|EXDEV|EPERM")
              for way in (":link", "", ":follow", ":procfd")),
            *((f"rename{way} /srv/outside /data/open/stolen", "EACCES|EXDEV")
              for way in (":rename", ":renameat", "")),
            ("rename:exchange /srv/outside /data/open/file", "EACCES|EXDEV"),
            ("read /srv/outside", "ok", "outside"),
        ])

    def test_opath_reads_nothing(self):
        self.expect(self.container(policy(DATA)), [
            ("opath /srv/outside", "ok"),
            ("reopen /srv/outside", "EACCES"),
            ("reopen /data/open/file", "ok"),
        ])

    def test_what_landlock_does_not_hold(self):
        """Documented: metadata is not protected by a policy that only allows."""
        self.expect(self.container(policy(DATA)), [
            ("stat /srv/outside", "ok"),
            ("access /srv/outside", "ok"),
            ("chmod /srv/outside 0600", "ok"),
            ("utimes /srv/outside", "ok"),
            ("read /srv/outside", "EACCES"),
        ])

    def test_children_threads_and_programs_inherit(self):
        rows = [("read /srv/outside", "EACCES"), ("read /data/open/file", "ok")]
        self.expect(self.container(policy(DATA)), [
            (f"{prefix}{op}", expected) for prefix in ("", "fork ", "thread ", "again ", "fork again ")
            for op, expected in rows])

    def test_another_user(self):
        """Rule paths are opened as the user that the process runs as."""
        self.expect(self.container(policy(DATA),
                                   uid=1000), [
            ("read /data/open/file", "ok"),
            ("read /srv/outside", "EACCES"),
            ("write /data/open/file", "EACCES"),  # the file's own mode
            ("setuid 0", "EPERM"),
        ])

    def test_objects_that_could_block(self):
        """Rules on a FIFO, a device and a socket are installed without opening them for real."""
        node = self.node()
        container = self.container(policy(
            {"allow": ["read", "write"], "file": ["/data/fifo", "/dev/null"]},
            {"allow": ["write"], "file": ["/data/sock"]}), node=node)
        os.mkfifo(container.bundle.root / "data/fifo")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(container.bundle.root / "data/sock"))
        self.expect(container, [("write /dev/null", "ok"), ("rdwr /data/fifo", "ok"),
                                ("read /srv/outside", "EACCES")])

    def test_fifo_between_processes(self):
        container = self.container(policy(DATA, deny_file("/data/secret.txt"),
                                          {"allow": ["write"], "file": ["/dev/null"]}),
                                   args=["/bin/sh", "-c", "cd /data/open; /bin/probe 'mkfifo /data/open/f' && "
                                         "(echo through > f & cat f; wait)"])
        ended = container.run()
        self.assertIn("through", ended.out, str(ended))


class Rules(Case):
    """Which rule decides."""
    label = "rules"

    def test_deepest_wins(self):
        self.expect(self.container(policy(
            allow("read modify", "/data"), deny("modify", "/data/ro"), deny("all", "/data/private"))), [
            ("write /data/open/file", "ok"),
            ("write /data/ro/file", "EROFS|EACCES"),
            ("read /data/ro/file", "ok", "read-only"),
            ("read /data/private/key", "ENOENT|EACCES"),
        ])

    def test_allow_within_a_deny(self):
        container = self.container(policy(
            DATA, deny("all", "/data/private"),
            {"allow": ["read"], "file": ["/data/private/public"]},
            allow("read modify", "/data/private/drop")))
        private = container.bundle.root / "data/private"
        (private / "public").write_text("public\n")
        (private / "drop").mkdir()
        (private / "drop/in").write_text("in\n")
        self.expect(container, [
            ("read /data/private/key", "ENOENT|EACCES"),
            ("read /data/private/public", "ok", "public"),
            ("write /data/private/public", "EROFS|EACCES"),
            ("list /data/private", "ok", "drop public"),
            ("create /data/private/new", "EROFS|EACCES"),
            ("create /data/private/drop/new", "ok"),
            ("read /data/private/drop/in", "ok"),
            ("unlink /data/private/public", "EROFS|EBUSY|EACCES"),
            ("rename /data/private/drop /data/open/d", "EROFS|EBUSY|EXDEV|EACCES"),
        ])

    def test_final_is_not_overridden(self):
        container = self.container(policy(
            DATA, deny("all", "/data/private", final=True),
            {"allow": ["read"], "file": ["/data/private/key"]}))
        self.expect(container, [("read /data/private/key", "ENOENT|EACCES"),
                                ("read /data/open/file", "ok")])

    def test_execute_denied_in_an_executable_tree(self):
        container = self.container(policy(
            allow("read execute modify", "/data"), deny("execute", "/data/open")))
        (container.bundle.root / "data/open/tool").write_bytes(self.stage.probe.read_bytes())
        (container.bundle.root / "data/open/tool").chmod(0o755)
        self.expect(container, [
            ("exec /data/bin/tool", "ok"),
            ("exec /data/open/tool", "EACCES"),
            ("exec:execveat /data/open/tool", "EACCES"),
            ("exec:procfd /data/open/tool", "EACCES"),
            ("read /data/open/file", "ok"),
            ("create /data/open/new", "ok"),
        ])

    def test_globs(self):
        container = self.container(policy(
            DATA, {"deny": ["all"], "glob": ["/data/**/.env", "/data/open/*.pem", "/data/open/[ab]?.txt"]}))
        opened = container.bundle.root / "data/open"
        for name in (".env", "x.pem", "a1.txt", "b2.txt", "c1.txt", "a.txt", "env", "deep/er/.env",
                     "deep/x.pem", "deep/.envrc"):
            (opened / name).parent.mkdir(parents=True, exist_ok=True)
            (opened / name).write_text(name)
        self.expect(container, [
            *((f"read /data/open/{name}", "EACCES")
              for name in (".env", "x.pem", "a1.txt", "b2.txt", "deep/er/.env")),
            *((f"read /data/open/{name}", "ok")
              for name in ("c1.txt", "a.txt", "env", "deep/x.pem", "deep/.envrc")),
            ("rename /data/open/deep/er /data/open/moved", "EBUSY|EXDEV|EACCES"),
            ("rename /data/open/deep /data/open/moved", "EBUSY|EXDEV|EACCES"),
            ("read /data/open/deep/er/.env", "EACCES"),
        ])

    def test_mask_empty(self):
        self.expect(self.container(policy(DATA, deny_file("/data/secret.txt", mask="empty"))), [
            ("read /data/secret.txt", "ok", ""),
            ("stat /data/secret.txt", "ok", "0"),
            ("write /data/secret.txt", "EROFS|EACCES"),
            ("truncate /data/secret.txt", "EROFS|EACCES"),
            ("unlink /data/secret.txt", "EBUSY|EACCES"),
        ])
        container = self.container(policy(DATA, deny_file("/data/secret.txt", mask="empty")))
        self.assertEqual(container.answers(["read /data/secret.txt"]).value("read /data/secret.txt"), "")

    def test_several_policies_must_all_allow(self):
        node = self.node(defaultPolicy="first")
        node.policy("first", policy(DATA, allow("read", "/srv")))
        container = self.container(policy(allow("read", "/data"), deny_file("/data/secret.txt")), node=node)
        self.expect(container, [
            ("read /data/open/file", "ok"),
            ("write /data/open/file", "EACCES"),
            ("read /srv/outside", "EACCES"),
            ("read /data/secret.txt", "EACCES"),
        ])

    def test_no_paths_section_restricts_no_file(self):
        self.expect(self.container({"landgate": 1, "syscalls": {"deny": ["personality"]}}), [
            ("read /srv/outside", "ok"),
            ("create /srv/new", "ok"),
            ("exec /data/bin/tool", "ok"),
            ("syscall personality 0xffffffff", "EPERM"),
        ])


class Deny(Case):
    """A denied object inside an allowed tree: every way to it, around it, over it and away with it."""
    label = "deny"

    def test_read(self):
        ways = [f"read:{way} /data/secret.txt" for way in OPENS]
        self.expect(self.container(policy(DATA, deny_file("/data/secret.txt"))), [
            *((op, "EACCES") for op in ways),
            ("reopen /data/secret.txt", "EACCES"),
            ("symlink secret.txt /data/link", "ok"),
            ("read /data/link", "EACCES"),
            ("symlink /data /data/up", "ok"),
            ("read /data/up/secret.txt", "EACCES"),
            ("read /proc/self/root/data/secret.txt", "EACCES"),
            ("exec /data/secret.txt", "EACCES"),
            ("read:openat2-nosymlinks /data/link", "ELOOP"),
            ("read /data/open/file", "ok"),
        ])

    def test_write_and_replace(self):
        container = self.container(policy(DATA, deny_file("/data/secret.txt")))
        self.expect(container, [
            *((f"{op}:{way} /data/secret.txt", "EACCES|EROFS")
              for op in ("write", "append", "rdwr", "wrtrunc") for way in OPENS),
            ("write:creat /data/secret.txt", "EACCES|EROFS"),
            ("truncate /data/secret.txt", "EACCES|EINVAL|EROFS"),
            *((f"unlink{way} /data/secret.txt", "EBUSY|EACCES") for way in ("", ":unlinkat")),
            *((f"rename{way} /data/secret.txt /data/open/x", "EBUSY|EXDEV|EACCES")
              for way in (":rename", ":renameat", "", ":noreplace")),
            *((f"rename{way} /data/open/file /data/secret.txt", "EBUSY|EXDEV|EACCES|EEXIST")
              for way in (":rename", ":renameat", "", ":noreplace", ":exchange")),
            *((f"link{way} /data/secret.txt /data/open/x", "EXDEV|EACCES|EPERM|ENOENT")
              for way in (":link", "", ":follow", ":procfd", ":empty")),
            ("chmod /data/secret.txt 0777", "EROFS|EACCES|EPERM"),
            ("chown /data/secret.txt 1000", "EROFS|EACCES|EPERM"),
            ("utimes /data/secret.txt", "EROFS|EACCES|EPERM"),
            ("read /data/secret.txt", "EACCES"),
        ])
        self.assertEqual((container.bundle.root / "data/secret.txt").read_text(), "hunter2\n")

    def test_directory(self):
        container = self.container(policy(DATA, deny("all", "/data/private")))
        answers = container.answers(["list /data/private"])
        self.assertEqual(answers.value("list /data/private"), "")
        container = self.container(policy(DATA, deny("all", "/data/private")))
        self.expect(container, [
            *((f"read:{way} /data/private/key", "ENOENT|EACCES") for way in OPENS),
            ("create /data/private/new", "EROFS|EACCES"),
            ("mkdir /data/private/new", "EROFS|EACCES"),
            ("symlink /data/open /data/private/new", "EROFS|EACCES"),
            ("rename /data/open/file /data/private/x", "EXDEV|EROFS|EACCES"),
            ("link /data/open/file /data/private/x", "EXDEV|EROFS|EACCES"),
            ("rmdir /data/private", "EBUSY|EACCES"),
            ("rename /data/private /data/open/p", "EBUSY|EXDEV|EACCES"),
            ("rename:exchange /data/private /data/open", "EBUSY|EXDEV|EACCES"),
        ])
        self.assertEqual(sorted(os.listdir(container.bundle.root / "data/private")), ["key"])

    def test_modify(self):
        container = self.container(policy(DATA, deny("modify", "/data/ro"), deny_file(
            "/data/secret.txt", rights="modify")))
        self.expect(container, [
            ("read /data/ro/file", "ok", "read-only"),
            ("read /data/secret.txt", "ok", "hunter2"),
            *((f"{op}:{way} {path}", "EROFS|EACCES") for op in ("write", "append", "rdwr", "wrtrunc")
              for way in OPENS for path in ("/data/ro/file", "/data/secret.txt")),
            ("truncate /data/ro/file", "EROFS|EACCES"),
            ("create /data/ro/new", "EROFS|EACCES"),
            ("tmpfile /data/ro", "EROFS|EACCES"),
            ("mkdir /data/ro/new", "EROFS|EACCES"),
            ("unlink /data/ro/file", "EROFS|EACCES"),
            ("rename /data/ro/file /data/open/x", "EROFS|EXDEV|EACCES"),
            ("rename /data/open/file /data/ro/x", "EROFS|EXDEV|EACCES"),
            ("symlink x /data/ro/s", "EROFS|EACCES"),
            ("unlink /data/secret.txt", "EBUSY|EACCES"),
            ("rename /data/open/file /data/secret.txt", "EBUSY|EXDEV|EACCES"),
            ("rename /data/ro /data/open/ro", "EBUSY|EXDEV|EACCES"),
            ("write /data/open/file", "ok"),
        ])
        self.assertEqual((container.bundle.root / "data/ro/file").read_text(), "read-only\n")

    def test_missing_object_is_refused_unless_optional(self):
        self.expect_refused(self.container(policy(DATA, deny_file("/data/typo.txt"))),
                            "/data/typo.txt", "/paths/3")
        self.expect(self.container(policy(DATA, deny_file("/data/typo.txt", optional=True))),
                    [("read /data/open/file", "ok")])

    def test_second_name_is_refused_unless_accepted(self):
        for accepted in (False, True):
            with self.subTest(accepted=accepted):
                more = {"hardlinks": "accept"} if accepted else {}
                container = self.container(policy(DATA, deny_file("/data/secret.txt", **more)))
                os.link(container.bundle.root / "data/secret.txt", container.bundle.root / "data/open/older")
                if accepted:
                    self.expect(container, [("read /data/secret.txt", "EACCES"),
                                            ("read /data/open/older", "ok", "hunter2")])
                else:
                    self.expect_refused(container, "/data/secret.txt", "hardlinks")

    def test_second_mount_of_the_directory(self):
        volume = self.stage.directory("volume")
        (volume / "secret").write_text("hunter2\n")
        (volume / "other").write_text("other\n")
        mounts = [{"destination": where, "type": "bind", "source": str(volume), "options": ["rbind", "rw"]}
                  for where in ("/data/one", "/data/two")]
        container = self.container(policy(DATA, deny_file("/data/one/secret")), mounts=mounts)
        self.expect(container, [
            ("read /data/one/secret", "EACCES"),
            ("read /data/two/secret", "EACCES"),
            ("read /data/two/other", "ok", "other"),
            ("unlink /data/two/secret", "EBUSY|EACCES"),
        ])
        self.assertEqual((volume / "secret").read_text(), "hunter2\n")
        self.assertEqual(sorted(os.listdir(volume)), ["other", "secret"])

    def test_nothing_reaches_the_host(self):
        """A volume's denied file: not a mount, not a file, not a mode of the host's changes."""
        volume = self.stage.directory("volume")
        (volume / "sub").mkdir()
        (volume / "sub" / "secret").write_text("hunter2\n")
        before = log.must(["cat", "/proc/self/mountinfo"]).out
        container = self.container(
            policy(DATA, deny_file("/data/volume/sub/secret")),
            mounts=[{"destination": "/data/volume", "type": "bind", "source": str(volume),
                     "options": ["rbind", "rw", "rprivate"]}])
        with self.held(container, "read /data/volume/sub/secret", "chmod /data/volume/sub/secret 0777",
                       "mkdir /data/volume/new") as running:
            self.assertEqual(Answers(running.out).errno("read /data/volume/sub/secret"), "EACCES")
            self.assertEqual((volume / "sub/secret").read_text(), "hunter2\n")
        after = log.must(["cat", "/proc/self/mountinfo"]).out
        self.assertEqual(before, after)
        self.assertEqual(oct((volume / "sub/secret").stat().st_mode), "0o100644")
        self.assertTrue((volume / "new").is_dir())

    def test_shared_mount_is_refused(self):
        volume = self.stage.directory("shared")
        (volume / "secret").write_text("hunter2\n")
        log.must(["mount", "--bind", volume, volume])
        self.addCleanup(lambda: log.run(["umount", "--lazy", volume]))
        log.must(["mount", "--make-shared", volume])

        def rootfs_shared(config):
            config["linux"]["rootfsPropagation"] = "shared"
        container = self.container(
            policy(DATA, deny_file("/data/volume/secret")), edit=rootfs_shared,
            mounts=[{"destination": "/data/volume", "type": "bind", "source": str(volume),
                     "options": ["rbind", "rw", "rshared"]}])
        self.expect_refused(container, "shared", "/data/volume")
        self.assertEqual((volume / "secret").read_text(), "hunter2\n")

    def test_protected_paths_of_the_node(self):
        node = self.node(protected=["/data/private", "/srv/outside"])
        container = self.container(policy(
            DATA, allow("read", "/srv"), {"allow": ["read"], "file": ["/data/private/key"]}), node=node)
        self.expect(container, [
            ("read /data/private/key", "ENOENT|EACCES"),
            ("read /srv/outside", "EACCES"),
            ("symlink /srv/outside /data/open/s", "ok"),
            ("read /data/open/s", "EACCES"),
            ("read /data/open/file", "ok"),
        ])

    def test_proc(self):
        container = self.container(policy(
            allow("read write", "/proc"), deny_file("/proc/version"), deny("modify", "/proc/sys")))
        self.expect(container, [
            ("read /proc/self/comm", "ok", "probe"),
            ("write /proc/self/comm", "ok"),
            ("read /proc/sys/kernel/hostname", "ok"),
            ("write /proc/sys/kernel/hostname", "EROFS|EACCES"),
        ])
        container = self.container(policy(allow("read", "/proc"), deny_file("/proc/version")))
        answers = container.answers(["read /proc/version"])
        self.assertEqual(answers.value("read /proc/version"), "")
