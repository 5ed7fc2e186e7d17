"""What a `network` section allows and denies without an agent: TCP ports by Landlock, sockets by the filter."""
from harness.answers import Answers
from harness.case import Case
from harness.policies import network

JUNK = 1 << 32  # bits that the kernel ignores in an int argument
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DGRAM, RAW, SEQPACKET, CLOEXEC, NONBLOCK = 1, 2, 3, 5, 0o2000000, 0o4000


class Ports(Case):
    label = "ports"

    def test_connect(self):
        self.expect(self.container(network(("allow:connect", "*:7001"), ("allow:bind", "*"))), [
            ("listen 127.0.0.1 7001", "ok"),
            ("listen 127.0.0.1 7002", "ok"),
            ("listen ::1 7001", "ok"),
            ("connect 127.0.0.1 7001", "ok"),
            ("connect ::1 7001", "ok"),
            ("connect ::ffff:127.0.0.1 7001", "ok"),
            ("connect 127.0.0.1 7002", "EACCES"),
            ("connect ::ffff:127.0.0.1 7002", "EACCES"),
            ("fork connect 127.0.0.1 7001", "ok"),
            ("fork connect 127.0.0.1 7002", "EACCES"),
            ("thread connect 127.0.0.1 7002", "EACCES"),
            ("again connect 127.0.0.1 7002", "EACCES"),
        ])

    def test_bind(self):
        self.expect(self.container(network(("allow:connect", "*"), ("allow:bind", "*:7001-7003", "*:0"))), [
            ("bind 127.0.0.1 7001", "ok"),
            ("bind 0.0.0.0 7003", "ok"),
            ("bind ::1 7002", "ok"),
            ("bind 127.0.0.1 7004", "EACCES"),
            ("bind ::1 7004", "EACCES"),
            ("bind 127.0.0.1 0", "ok"),
            ("autolisten", "ok"),
        ])

    def test_nothing(self):
        self.expect(self.container({"landgate": 1, "network": []}), [
            ("connect 127.0.0.1 7001", "EACCES"),
            ("bind 127.0.0.1 7001", "EACCES"),
            ("bind 127.0.0.1 0", "EACCES"),
            ("autolisten", "EACCES"),
            ("udp 127.0.0.1 53", "EPERM"),
            ("read /srv/outside", "ok"),
        ])

    def test_everything_by_tcp(self):
        self.expect(self.container(network(("allow:connect", "*"), ("allow:bind", "*"))), [
            ("listen 127.0.0.1 1", "ok"),
            ("connect 127.0.0.1 1", "ok"),
            ("connect 127.0.0.1 65535", "ECONNREFUSED"),
            ("udp 127.0.0.1 1", "EPERM"),
        ])

    def test_deny_a_port_of_a_range(self):
        self.expect(self.container(network(
            ("allow:connect", "*:7000-7010"), ("deny:connect", "*:7005"), ("allow:bind", "*"))), [
            ("connect 127.0.0.1 7004", "ECONNREFUSED"),
            ("connect 127.0.0.1 7005", "EACCES"),
            ("connect 127.0.0.1 7006", "ECONNREFUSED"),
        ])

    def test_other_ways_to_connect(self):
        self.expect(self.container(network(("allow:connect", "*:7001"), ("allow:bind", "*"))), [
            ("listen 127.0.0.1 7002", "ok"),
            ("connect:fastopen 127.0.0.1 7002", "EOPNOTSUPP"),
            ("connect:sendmsg-fastopen 127.0.0.1 7002", "EOPNOTSUPP"),
            ("connect:mptcp 127.0.0.1 7002", "EPROTONOSUPPORT"),
            ("syscall io_uring_setup 1 0", "EPERM"),
        ])

    def test_without_a_section(self):
        self.expect(self.container({"landgate": 1, "syscalls": {"deny": ["personality"]}}), [
            ("listen 127.0.0.1 7002", "ok"),
            ("connect 127.0.0.1 7002", "ok"),
            ("udp 127.0.0.1 7002", "ok"),
            ("autolisten", "ok"),
            (f"socket {AF_NETLINK} {RAW} 0", "ok"),
            (f"socket {AF_PACKET} {RAW} 0", "ok"),
        ])


class Sockets(Case):
    label = "sockets"

    def test_families(self):
        none = {"landgate": 1, "network": []}
        self.expect(self.container(none), [
            (f"socket {AF_INET} {STREAM} 0", "ok"),
            (f"socket {AF_INET6} {STREAM} 6", "ok"),
            (f"socket {AF_NETLINK} {RAW} 0", "ok"),
            (f"socket {AF_NETLINK} {RAW} 9", "EAFNOSUPPORT"),
            *((f"socket {family} {kind} 0", "EAFNOSUPPORT")
              for family in (AF_PACKET, AF_ALG, AF_VSOCK, 3, 4, 9, 29, 31, 44, 45, 255, 0xffff)
              for kind in (STREAM, DGRAM, RAW, SEQPACKET)),
            (f"socket {AF_UNIX} {STREAM} 0", "EPERM"),
        ])

    def test_types_and_protocols(self):
        self.expect(self.container({"landgate": 1, "network": []}), [
            *((f"socket {family} {kind | flags} 0", errno)
              for family in (AF_INET, AF_INET6) for flags in (0, CLOEXEC, NONBLOCK, CLOEXEC | NONBLOCK)
              for kind, errno in ((STREAM, "ok"), (DGRAM, "EPERM"), (RAW, "EPERM"),
                                  (SEQPACKET, "ESOCKTNOSUPPORT"))),
            (f"socket {AF_INET} {STREAM} 262", "EPROTONOSUPPORT"),
            (f"socket {AF_INET} {STREAM} 132", "EPROTONOSUPPORT"),
            (f"socket {AF_INET} {DGRAM} 1", "EPERM"),
            (f"socket {AF_INET} {RAW} 255", "EPERM"),
        ])

    def test_junk_in_the_upper_half(self):
        self.expect(self.container({"landgate": 1, "network": []}), [
            (f"socket {AF_PACKET | JUNK} {RAW} 0", "EAFNOSUPPORT"),
            (f"socket {AF_INET | JUNK} {RAW} 1", "EPERM"),
            (f"socket {AF_INET} {RAW | JUNK} 1", "EPERM"),
            (f"socket {AF_INET} {RAW | CLOEXEC | JUNK} 1", "EPERM"),
            (f"socket {AF_INET} {DGRAM | JUNK} 0", "EPERM"),
            (f"socket {AF_INET} {STREAM} {262 | JUNK}", "EPROTONOSUPPORT"),
            (f"socket {AF_UNIX | JUNK} {STREAM} 0", "EPERM"),
            (f"socket {AF_INET | JUNK} {STREAM | JUNK} {JUNK}", "ok"),
        ])

    def test_unix(self):
        rows = [("unixlisten @name", "{}"), ("unixconnect @name", "{}"), ("unixlisten /tmp/s", "{}"),
                ("unixconnect /tmp/s", "{}")]
        self.expect(self.container({"landgate": 1, "network": []}), [
            *((op, "EPERM") for op, _ in rows), (f"socketpair {AF_UNIX} {STREAM}", "ok"),
            (f"socketpair {AF_INET} {STREAM}", "EAFNOSUPPORT|EOPNOTSUPP")])
        self.expect(self.container(network(("allow:connect", "unix:*"), ("allow:bind", "*"))), [
            *((op, "ok") for op, _ in rows), ("connect 127.0.0.1 7001", "EACCES")])


class Scopes(Case):
    label = "scopes"

    def neighbour(self, node, **bundle):
        """A container without a policy that listens on an abstract name in the host's network."""
        return self.container(node=node, namespaces=("pid", "ipc", "uts", "mount"), **bundle)

    def test_abstract_sockets_in_a_shared_network(self):
        node = self.node()
        with self.held(self.neighbour(node), "unixlisten @lg-e2e-scope") as listening:
            self.assertEqual(Answers(listening.out).errno("unixlisten @lg-e2e-scope"), "ok")
            shared = ("pid", "ipc", "uts", "mount")
            plain = {"landgate": 1, "syscalls": {"deny": ["personality"]}}
            self.expect(self.container(plain, node=node, namespaces=shared), [
                ("unixconnect @lg-e2e-scope", "EPERM"),
                ("unixlisten @lg-e2e-own", "ok"),
                ("unixconnect @lg-e2e-own", "ok"),
            ])
            self.expect(self.container({**plain, "scopes": []}, node=node, namespaces=shared),
                        [("unixconnect @lg-e2e-scope", "ok")])

    def test_signals_in_a_shared_pid_namespace(self):
        node = self.node()
        shared = ("network", "ipc", "uts", "mount")
        with self.held(self.container(node=node, namespaces=shared), "status Pid") as running:
            target = Answers(running.out).value("status Pid")
            plain = {"landgate": 1, "syscalls": {"deny": ["personality"]}}
            self.expect(self.container(plain, node=node, namespaces=shared), [
                (f"kill {target} 0", "EPERM"), ("kill 0 0", "ok")])
            self.expect(self.container({**plain, "scopes": []}, node=node, namespaces=shared),
                        [(f"kill {target} 0", "ok")])

    def test_own_namespaces_have_no_scopes(self):
        container = self.container({"landgate": 1, "syscalls": {"deny": ["personality"]}})
        with self.held(container):
            self.expect_exec(container, [("kill 1 0", "ok"), ("kill 1 1", "ok")])
        container = self.container({"landgate": 1, "scopes": ["signal"]})
        with self.held(container):
            self.expect_exec(container, [("kill 1 0", "EPERM"), ("kill 0 0", "ok")])
