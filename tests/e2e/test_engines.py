"""Every engine, the same table: what is allowed is, what is denied is not, exec sessions are confined or
refused, and a container without a policy is none of our business."""
import json

from harness import engines, stage
from harness.answers import Answers, check, ops
from harness.case import Case

MATRIX = {
    "landgate": 1,
    "paths": [
        {"allow": ["read", "execute"], "beneath": ["/bin"]},
        {"allow": ["read"], "beneath": ["/etc", "/proc", "/dev", "/data"]},
        {"allow": ["modify"], "beneath": ["/data"]},
        {"deny": ["all"], "file": ["/data/secret.txt"]},
        {"deny": ["all"], "beneath": ["/data/private"]},
        {"deny": ["modify"], "beneath": ["/data/ro"]},
    ],
    "network": [
        {"allow": ["connect"], "to": ["*:7001"]},
        {"allow": ["bind"], "to": ["*:7001-7002", "*:0"]},
    ],
}

FILES = [
    ("read /data/open/file", "ok", "open"),
    ("read /srv/outside", "EACCES"),
    ("write /data/open/file", "ok"),
    ("write /etc/passwd", "EACCES"),
    ("create /data/open/new", "ok"),
    ("create /srv/new", "EACCES"),
    ("create /bin/new", "EACCES"),
    ("mkdir /data/open/directory", "ok"),
    ("rename /data/open/new /data/open/directory/moved", "ok"),
    ("unlink /data/open/directory/moved", "ok"),
    ("exec /bin/true", "ok", "exit 0"),
    ("exec /data/bin/tool", "EACCES"),
]
MASKS = [
    ("read /data/secret.txt", "EACCES"),
    ("read:openat2 /data/secret.txt", "EACCES"),
    ("write:creat /data/secret.txt", "EACCES"),
    ("unlink /data/secret.txt", "EBUSY|EACCES"),
    ("rename /data/secret.txt /data/open/x", "EBUSY|EXDEV|EACCES"),
    ("rename /data/open/file /data/secret.txt", "EBUSY|EXDEV|EACCES"),
    ("link /data/secret.txt /data/open/x", "EXDEV|EACCES"),
    ("list /data/private", "ok|EACCES", ""),
    ("read /data/private/key", "ENOENT|EACCES"),
    ("create /data/private/new", "EROFS|EACCES"),
    ("rename /data/private /data/open/p", "EBUSY|EXDEV|EACCES"),
    ("read /data/ro/file", "ok", "read-only"),
    ("write /data/ro/file", "EROFS|EACCES"),
    ("create /data/ro/new", "EROFS|EACCES"),
]
NETWORK = [
    ("listen 127.0.0.1 7001", "ok"),
    ("listen 127.0.0.1 7002", "ok"),
    ("connect 127.0.0.1 7001", "ok"),
    ("connect 127.0.0.1 7002", "EACCES"),
    ("bind 127.0.0.1 7003", "EACCES"),
    ("udp 127.0.0.1 7001", "EPERM"),
    ("socket 17 3 0", "EAFNOSUPPORT"),  # AF_PACKET
    ("socket 2 3 1", "EPERM"),          # SOCK_RAW
]
UNTOUCHED = [
    ("read /srv/outside", "ok"),
    ("read /data/secret.txt", "ok", "hunter2"),
    ("read /data/private/key", "ok"),
    ("write /data/ro/file", "ok"),
    ("exec /data/bin/tool", "ok"),
    ("listen 127.0.0.1 7003", "ok"),
    ("connect 127.0.0.1 7003", "ok"),
    ("udp 127.0.0.1 7001", "ok"),
]
SESSION = [FILES[0], FILES[1], FILES[3], FILES[10], FILES[11], MASKS[0], MASKS[8],
           NETWORK[4], NETWORK[5], ("status NoNewPrivs", "ok", "1")]


class Matrix:
    """Mixed into one class an engine."""

    engine = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine = cls.make(stage.current)
        cls.engine.start()
        cls.addClassCleanup(cls.engine.stop)
        cls.engine.node.policy("matrix", {**MATRIX, **cls.engine.policy_tail})

    def table(self, name, table):
        ended = self.engine.run(name, "matrix", ops(table))
        check(self, Answers(ended.out), table, ended)
        self.assertEqual(self.engine.node.containers(), [], "nothing may be left of a removed container")

    def test_files(self):
        self.table("lg-files", FILES)

    def test_masks(self):
        self.table("lg-masks", MASKS)
        ended = self.engine.run("lg-empty", "matrix", ["list /data/private"])
        self.assertEqual(Answers(ended.out).value("list /data/private"), "", str(ended))

    def test_network(self):
        self.table("lg-network", NETWORK)

    def test_exec_session(self):
        with self.engine.held("lg-session", "matrix", ["read /data/secret.txt"]) as held:
            self.assertEqual(Answers(held.out).errno("read /data/secret.txt"), "EACCES")
            ended = self.engine.exec("lg-session", ops(SESSION))
            if self.engine.exec_sessions == "refused":
                self.assertNotEqual(ended.status, 0, str(ended))
                self.assertEqual(Answers(ended.out).lines, [], f"the session ran\n{ended}")
            elif self.engine.exec_sessions == "unconfined":
                # The policy says so. What mounts hold, they hold for everybody in the container.
                check(self, Answers(ended.out), [(op, "ok") for op, *_ in SESSION[:2]], ended)
                self.assertEqual(Answers(ended.out).errno("read /data/secret.txt"), "EACCES")
            else:
                check(self, Answers(ended.out), SESSION, ended)
        self.assertEqual(self.engine.node.containers(), [])

    def test_without_policy_untouched(self):
        ended = self.engine.run("lg-plain", None, ops(UNTOUCHED))
        check(self, Answers(ended.out), UNTOUCHED, ended)
        pair = self.engine.config_pair()
        self.assertIsNotNone(pair, "the spies saw no config.json")
        self.assertEqual(pair[0], pair[1], "config.json was changed without a policy")
        self.assertNotIn(b"/dev/lg", pair[1])

    def test_with_policy_patched(self):
        """Proves that the spies of the test above would have seen a change."""
        ended = self.engine.run("lg-patched", "matrix", ["read /data/open/file"])
        self.assertEqual(Answers(ended.out).errno("read /data/open/file"), "ok", str(ended))
        before, after = map(json.loads, self.engine.config_pair())
        self.assertEqual(after["process"]["args"][:2], ["/dev/lg", "start"])
        self.assertEqual(after["process"]["args"][2:], before["process"]["args"])

    def test_unknown_policy_refused(self):
        try:
            ended = self.engine.run("lg-unknown", "no-such-policy", ["read /data/open/file"])
        except AssertionError as refused:  # inject refuses before there is a container
            self.assertIn("no-such-policy", str(refused))
            return
        self.assertNotEqual(ended.status, 0, str(ended))
        self.assertEqual(Answers(ended.out).lines, [], str(ended))


for _kind, _arguments in engines.ALL:
    _label = _kind(None, *_arguments).name
    globals()[f"Engine_{_label}"] = type(f"Engine_{_label}", (Matrix, Case), {
        "make": staticmethod(lambda where, kind=_kind, arguments=_arguments: kind(where, *arguments)),
        "label": _label, "__module__": __name__})


def tearDownModule():
    engines.remove_user()
