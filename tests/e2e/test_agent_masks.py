"""What a policy denies is replaced from outside the container: the mask is put back, and the audit log has it."""
import json
import os

from harness import engines, log
from harness.agent import Agent
from harness.answers import Answers, check
from harness.case import Case
from harness.policies import DATA, allow, deny_file, policy

RUNTIMES = ("runc", "crun")


class MaskCase(Case):
    """A container with a volume that the host changes while it runs."""

    RULES = ()

    def setUp(self):
        self.agents_node = self.node()
        self.agent = Agent(self.agents_node).start()
        self.addCleanup(self.agent.stop)

    def files(self, volume):
        raise NotImplementedError

    def running(self, runtime="runc", **options):
        self.volume = self.stage.directory("volume")
        self.files(self.volume)
        mounts = [{"destination": "/vol", "type": "bind", "source": str(self.volume), "options": ["bind", "rw"]}]
        document = policy(allow("read modify", "/vol"), *self.RULES)
        self.subject = self.container(document, runtime=runtime, node=self.agents_node, mounts=mounts, **options)
        (self.subject.bundle.root / "vol").mkdir()
        return self.held(self.subject)

    def begun(self):
        """The agent watches from its first look on."""
        log.until(lambda: self.agent.containers(), "the container is registered")

    def sees(self, table):
        """What a session of the container sees: the same mount namespace, another process."""
        ended = self.subject.exec("/bin/probe", *[row[0] for row in table])
        check(self, Answers(ended.out), table, ended)

    def back(self, *paths):
        """Waits until each path is reported as masked again, once more than before."""
        for path in paths:
            def told(path=path):
                return self.agent.audit(container=self.subject.id, event="mask_restored", path=path)
            wanted = self.seen.get(path, 0) + 1
            records = log.until(lambda: len(told()) >= wanted and told(), f"the mask of {path} is back", 20)
            self.seen[path] = len(records)
            lost = self.agent.audit(container=self.subject.id, event="mask_lost", path=path)
            self.assertGreaterEqual(len(lost), len(records))
            for record in (*records, *lost):
                self.assertEqual(record["reason"], "mask_lost", record)
                self.assertTrue(record["rule"].startswith("tested#/paths/"), record)
            self.assertIn("latencyUs", records[-1])
            self.assertLess(records[-1]["latencyUs"], 2_000_000, records[-1])


class Replaced(MaskCase):
    label = "replaced"

    RULES = ({"deny": ["all"], "file": ["/vol/secret"]},
             {"deny": ["all"], "beneath": ["/vol/private"]},
             {"deny": ["modify"], "file": ["/vol/fixed"]},
             {"deny": ["all"], "file": ["/vol/deep/er/secret"]})

    def setUp(self):
        super().setUp()
        self.seen = {}

    def files(self, volume):
        for name in ("private", "deep/er"):
            (volume / name).mkdir(parents=True)
        for name in ("secret", "open", "fixed", "private/key", "deep/er/secret", "deep/er/open"):
            (volume / name).write_text(f"{name} 1\n")

    def denied(self):
        self.sees([("read /vol/secret", "EACCES"), ("write /vol/secret", "EACCES"), ("read /vol/open", "ok"),
                   ("read /vol/private/key", "ENOENT"), ("read /vol/fixed", "ok"), ("write /vol/fixed", "EROFS"),
                   ("read /vol/deep/er/secret", "EACCES"), ("read /vol/deep/er/open", "ok"),
                   ("rename:rename /vol/deep /vol/elsewhere", "EBUSY|EXDEV|EACCES")])

    def save(self, name, text="2\n"):
        """As editors save: beside it, and renamed over it."""
        beside = self.volume / (name + ".tmp")
        beside.write_text(f"{name} {text}")
        beside.rename(self.volume / name)

    def test_every_way_to_replace(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime), self.running(runtime):
                self.seen = {}
                self.begun()
                self.denied()
                # Renamed over.
                for name in ("secret", "fixed", "deep/er/secret"):
                    self.save(name)
                    self.back("/vol/" + name)
                self.denied()
                # Removed, and made again later.
                (self.volume / "secret").unlink()
                log.until(lambda: self.agent.audit(container=self.subject.id, event="mask_lost", path="/vol/secret"),
                          "it is missed")
                (self.volume / "secret").write_text("secret 3\n")
                self.back("/vol/secret")
                self.denied()
                # Moved away, which takes its mask along, and another one made in its place.
                (self.volume / "secret").rename(self.volume / "secret~")
                (self.volume / "secret").write_text("secret 4\n")
                self.back("/vol/secret")
                self.denied()
                # A directory, and one on the way to a file.
                (self.volume / "private").rename(self.volume / "private.old")
                (self.volume / "private").mkdir()
                (self.volume / "private" / "key").write_text("private/key 5\n")
                self.back("/vol/private")
                (self.volume / "deep").rename(self.volume / "deep.old")
                (self.volume / "deep" / "er").mkdir(parents=True)
                for name in ("secret", "open"):
                    (self.volume / "deep" / "er" / name).write_text("6\n")
                self.back("/vol/deep/er/secret", "/vol/deep")
                self.denied()
                # Something of another type.
                (self.volume / "secret").unlink()
                (self.volume / "secret").mkdir()
                (self.volume / "secret" / "inside").write_text("7\n")
                self.back("/vol/secret")
                self.sees([("read /vol/secret/inside", "ENOENT"), ("write:creat /vol/secret/new", "EROFS|EACCES")])
                # Nothing reached the host.
                self.assertEqual((self.volume / "secret" / "inside").read_text(), "7\n")
                self.assertEqual((self.volume / "fixed").read_text(), "fixed 2\n")

    def test_every_kind_of_mask(self):
        """What is bound back into a mask, an empty file for a mask, noexec: as they were placed."""
        self.RULES = ({"deny": ["all"], "beneath": ["/vol/private"]},
                      {"allow": ["read"], "file": ["/vol/private/key"]},
                      {"allow": ["read", "modify"], "beneath": ["/vol/private/sub/dir"]},
                      {"deny": ["all"], "file": ["/vol/secret"], "mask": "empty"},
                      {"deny": ["modify"], "beneath": ["/vol/deep/er"]})
        table = [("read /vol/private/key", "ok"), ("write /vol/private/key", "EROFS|EACCES"),
                 ("read /vol/private/other", "ENOENT"), ("write:creat /vol/private/sub/dir/new", "ok"),
                 ("read /vol/secret", "EACCES|ok", ""), ("write /vol/secret", "EROFS|EACCES"),
                 ("read /vol/deep/er/open", "ok"), ("write:creat /vol/deep/er/new", "EROFS|EACCES")]

        def private(number):
            (self.volume / "private" / "sub" / "dir").mkdir(parents=True)
            for name in ("key", "other", "sub/other"):
                (self.volume / "private" / name).write_text(f"{name} {number}\n")
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                self.seen = {}
                held = self.running(runtime)
                (self.volume / "private" / "key").unlink()
                (self.volume / "private").rmdir()
                private(1)
                with held:
                    self.begun()
                    self.sees(table)
                    (self.volume / "private").rename(self.volume / "private.old")
                    private(2)
                    self.save("secret")
                    (self.volume / "deep" / "er").rename(self.volume / "deep" / "er.old")
                    (self.volume / "deep" / "er").mkdir()
                    (self.volume / "deep" / "er" / "open").write_text("2\n")
                    self.back("/vol/private", "/vol/secret", "/vol/deep/er")
                    self.sees([*table, ("read /vol/private/key", "ok", "key 2")])
                    secret = Answers(self.subject.exec("/bin/probe", "read /vol/secret").out)
                    self.assertNotIn("secret", secret.value("read /vol/secret"))
                    self.assertTrue((self.volume / "private/sub/dir/new").exists())

    def test_again_and_again(self):
        """Faster than anybody can look: at the end it is masked."""
        with self.running():
            self.begun()
            self.sees([("read /vol/secret", "EACCES")])
            for number in range(300):
                self.save("secret", f"{number}\n")
            self.back("/vol/secret")
            log.until(lambda: self.subject.exec("/bin/probe", "read /vol/secret").out.count("EACCES"),
                      "the last one is masked")

    def test_while_the_agent_was_away(self):
        with self.running():
            self.begun()
            self.sees([("read /vol/secret", "EACCES")])
            self.agent.kill()
            self.save("secret")
            self.agent.start()
            self.back("/vol/secret")
            self.sees([("read /vol/secret", "EACCES"), ("read /vol/open", "ok")])
            self.save("secret")
            self.back("/vol/secret")

    def test_in_a_user_namespace(self):
        def edit(config):
            config["linux"]["namespaces"].append({"type": "user"})
            for kind in ("uidMappings", "gidMappings"):
                config["linux"][kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        held = self.running(edit=edit)
        for tree in (self.subject.bundle.root, self.volume):
            log.must(["chown", "-R", "100000:100000", tree])
        with held:
            self.begun()
            self.sees([("read /vol/secret", "EACCES"), ("read /vol/open", "ok")])
            self.save("secret")
            self.back("/vol/secret")
            self.sees([("read /vol/secret", "EACCES"), ("read /vol/open", "ok")])

    def test_it_ends_with_its_container(self):
        """Nothing of a container is kept open or watched when it is gone."""
        def open_now():
            return len(os.listdir(f"/proc/{self.agent.pid}/fd"))

        def watches():
            text = []
            for name in os.listdir(f"/proc/{self.agent.pid}/fdinfo"):
                try:
                    with open(f"/proc/{self.agent.pid}/fdinfo/{name}") as file:
                        text += [line for line in file if line.startswith("inotify")]
                except OSError:
                    pass
            return len(text)
        with self.running():
            self.begun()
            self.save("secret")
            self.back("/vol/secret")
        log.until(lambda: not self.agent.containers(), "it is forgotten")
        log.until(lambda: watches() == 0, "no watch is left")
        before = open_now()
        with self.running():
            self.seen = {}
            self.begun()
            self.save("secret")
            self.back("/vol/secret")
            self.assertGreater(watches(), 0)
        log.until(lambda: not self.agent.containers(), "it is forgotten")
        log.until(lambda: watches() == 0, "no watch is left")
        log.until(lambda: open_now() <= before, "no descriptor is left")


class Swapped(MaskCase):
    """A ConfigMap: names are symlinks through ..data, and an update swaps that one link."""
    label = "swapped"

    RULES = ({"deny": ["all"], "file": ["/vol/config/key"]},)

    def setUp(self):
        super().setUp()
        self.seen = {}

    def files(self, volume):
        config = volume / "config"
        config.mkdir()
        self.generation(config, 1)
        (config / "..data").symlink_to("..1")
        for name in ("key", "public"):
            (config / name).symlink_to(f"..data/{name}")

    def generation(self, config, number):
        directory = config / f"..{number}"
        directory.mkdir()
        (directory / "key").write_text(f"key {number}\n")
        (directory / "public").write_text(f"public {number}\n")

    def swap(self, number):
        config = self.volume / "config"
        self.generation(config, number)
        (config / "..data_tmp").symlink_to(f"..{number}")
        (config / "..data_tmp").rename(config / "..data")
        for path in (config / f"..{number - 1}").iterdir():
            path.unlink()
        (config / f"..{number - 1}").rmdir()

    def test_an_update_is_masked(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime), self.running(runtime):
                self.seen = {}
                self.begun()
                self.sees([("read /vol/config/key", "EACCES"), ("read /vol/config/public", "ok", "public 1")])
                for number in range(2, 6):
                    self.swap(number)
                    self.back(f"/vol/config/..{number}/key")
                    self.sees([("read /vol/config/key", "EACCES"),
                               ("read /vol/config/public", "ok", f"public {number}")])


class Rootless(Case):
    """A user's own agent: it joins the container's user namespace, where it has every capability."""
    label = "rootless"

    def test_podman(self):
        engine = engines.Podman(self.stage, "runc", "hooks", True)
        engine.start()
        self.addCleanup(engine.stop)
        engine.node.policy("tested", policy(DATA, deny_file("/data/secret.txt")))
        for directory in (engine.home / "r" / "landgate", engine.home / ".local"):
            directory.mkdir(mode=0o700, exist_ok=True)
            log.must(["chown", "-R", engines.USER, directory])
        log.must(["chown", "-R", engines.USER, engine.home / ".config"])
        agent = Agent(engine.node, prefix=engine._as_user([]), environment=engine.environment_of_podman, flags=[]).start()
        self.addCleanup(agent.stop)
        audit = engine.home / ".local/state/landgate/audit.jsonl"

        def restored():
            records = [json.loads(line) for line in audit.read_text().splitlines()] if audit.exists() else []
            return [record for record in records if record["event"] == "mask_restored"]
        table = [("read /data/secret.txt", "EACCES"), ("read /data/open/file", "ok")]
        with engine.held("c1", "tested", [row[0] for row in table]) as running:
            check(self, Answers(running.out), table)
            [secret] = [path for path in engine.home.glob("storage/vfs/dir/*/data/secret.txt")
                        if self.is_running(path.parents[1], agent)]
            for number in range(1, 4):
                beside = secret.with_suffix(".tmp")
                beside.write_text(f"hunter{number}\n")
                beside.rename(secret)
                records = log.until(lambda wanted=number: len(restored()) >= wanted and restored(), "the mask is back")
                self.assertEqual(records[-1]["path"], "/data/secret.txt")
                ended = engine.exec("c1", [row[0] for row in table])
                check(self, Answers(ended.out), table, ended)

    def is_running(self, root, agent):
        """Whether it is the container's root file system, not the image's."""
        [known] = agent.containers()
        here, there = os.stat(root), os.stat(f"/proc/{known['pid']}/root")
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
