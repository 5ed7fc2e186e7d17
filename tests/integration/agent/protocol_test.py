"""The listener protocol as runtimes speak it, well and badly: every state is understood, nothing stalls, and
no descriptor stays behind."""
import json
import os
import re
import socket
import unittest

from fake_runtime import ENOSYS_ANSWER, AgentTest, Peer, Workload, state, until


class States(AgentTest):
    def test_one_piece(self):
        workload = self.container("one")
        self.assertTrue(workload.served())
        workload.end()
        until(lambda: not self.agent.containers(), "the container is collected")
        self.assert_all_given_back()

    def test_split_at_every_kind_of_place(self):
        for cuts in ([1], [2, 3], [40], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [-1], [100, -2]):
            with self.subTest(cuts=cuts):
                identity = "split" + "_".join(str(cut) for cut in cuts)
                workload = self.workload()
                self.assertEqual(self.agent.register(identity, workload), {"ok": True})
                data = state(identity, pid=workload.pid)
                with self.agent.peer() as peer:
                    at = 0
                    for cut in cuts:
                        cut %= len(data)
                        peer.send_with(data[at:cut], [workload.listener] if at == 0 else [])
                        # Each piece is seen on its own: the agent has taken it out.
                        until(lambda: peer.unread() == 0, "the piece is read")
                        at = cut
                    peer.send_with(data[at:], [])
                    workload.give_away()
                    self.assertTrue(workload.served())
                    # Ended by its last bracket: we have not closed.
                    self.assertTrue(peer.closed())
                workload.end()
        self.assert_all_given_back()

    def test_ended_by_the_end_of_the_stream_or_by_the_last_bracket(self):
        for name, close in (("close", True), ("bracket", False)):
            workload = self.workload()
            self.assertEqual(self.agent.register(name, workload), {"ok": True})
            peer = self.agent.peer()
            self.addCleanup(peer.close)
            peer.send_with(state(name, pid=workload.pid), [workload.listener])
            workload.give_away()
            if close:
                peer.close()
            self.assertTrue(workload.served())
            workload.end()
            peer.close()
        self.assert_all_given_back()

    def test_a_state_of_a_mebibyte_and_more(self):
        for size in (60_000, 1 << 20, 6 << 20):
            workload = self.workload()
            identity = f"long{size}"
            self.assertEqual(self.agent.register(identity, workload), {"ok": True})
            annotations = {"brackets": "}{][\\\"" * 3, "long": "x" * size}
            self.agent.listen(identity, workload, state(identity, pid=workload.pid, annotations=annotations))
            self.assertTrue(workload.served())
            workload.end()
        self.assert_all_given_back()

    def test_more_than_the_most_is_refused(self):
        workload = self.workload()
        reader, writer = self.pipe()
        with self.agent.peer() as peer:
            with self.assertRaises((BrokenPipeError, ConnectionResetError)):
                peer.send_with(b'{"x":"', [workload.listener, writer])
                while True:
                    peer.send(b"x" * 65536)
        os.close(writer)
        self.assert_closed(reader)
        self.assert_all_given_back()

    def test_the_listener_is_taken_by_its_name_and_the_others_are_closed(self):
        workload = self.workload()
        self.assertEqual(self.agent.register("several", workload), {"ok": True})
        pipes = [self.pipe() for _ in range(3)]
        data = state("several", pid=workload.pid, fds=["a", "b", "seccompFd", "c"])
        with self.agent.peer() as peer:
            peer.send_with(data, [pipes[0][1], pipes[1][1], workload.listener, pipes[2][1]])
        for _, writer in pipes:
            os.close(writer)
        workload.give_away()
        self.assertTrue(workload.served())
        for reader, _ in pipes:
            self.assert_closed(reader)

    def test_crun_s_zeros_and_pretty_text(self):
        workload = self.workload()
        self.assertEqual(self.agent.register("crun", workload), {"ok": True})
        text = state("crun", pid=0, status="running", bundle=".", indent=4).replace(b"1.0.2-dev", b"0.2.0")
        self.agent.listen("crun", workload, b"  \n" + text + b"\n")
        self.assertTrue(workload.served())

    def test_idle_connections_stall_nobody_and_may_speak_later(self):
        idle = [self.agent.peer() for _ in range(200)]
        for peer in idle:
            self.addCleanup(peer.close)
        self.assertTrue(self.container("busy").served())
        workload = self.workload()
        self.assertEqual(self.agent.register("late", workload), {"ok": True})
        idle[137].send_with(state("late", pid=workload.pid), [workload.listener])
        workload.give_away()
        self.assertTrue(workload.served())

    def test_a_peer_that_dies(self):
        for name, data in (("without a byte", b""), ("in the middle", state("dies")[:50]),
                           ("in the middle of a long one", state("dies", annotations={"a": "x" * 100_000})[:90_000])):
            with self.subTest(name):
                reader, writer = self.pipe()
                with self.agent.peer() as peer:
                    if data:
                        peer.send_with(data, [writer])
                os.close(writer)
                self.assert_closed(reader)
        self.assertTrue(self.container("after").served())

    def test_what_is_no_state(self):
        workload = self.workload()
        cases = {
            "garbage": b"GET / HTTP/1.1\r\n\r\n",
            "NULs": b"\0" * 100,
            "an array": b"[1]",
            "no fds": b'{"state": {"id": "x", "bundle": "/b"}}',
            "no name": state("x", fds=["other"]),
            "an index without a descriptor": state("x", fds=["a", "b", "seccompFd"]),
            "no id": b'{"fds": ["seccompFd"], "state": {"bundle": "/b"}}',
            "an id that is a path": state("../x"),
            "not UTF-8": b'{"fds": ["\xff"]}',
            "too many brackets": b"}",
            "deep": b"{" + b'"a":{' * 5000,
        }
        for name, data in cases.items():
            with self.subTest(name):
                reader, writer = self.pipe()
                with self.agent.peer() as peer:
                    peer.send_with(data, [writer])
                    peer.shutdown(socket.SHUT_WR)
                    os.close(writer)
                    self.assertTrue(peer.closed())
                self.assert_closed(reader)
        with self.subTest("no descriptor"), self.agent.peer() as peer:
            peer.send_with(state("x"), [])
            self.assertTrue(peer.closed())
        with self.subTest("a descriptor that is no listener"), self.agent.peer() as peer:
            peer.send_with(state("x"), [workload.pidfd])
            self.assertTrue(peer.closed())
        with self.subTest("more descriptors than a message may have"):
            reader, writer = self.pipe()
            with self.agent.peer() as peer:
                peer.send_with(state("x"), [writer] * 253)
                os.close(writer)
                self.assertTrue(peer.closed())
            self.assert_closed(reader)
        self.assert_all_given_back()

    def test_a_listener_of_nobody_answers_enosys_and_is_told(self):
        workload = self.workload()
        self.agent.listen("nobody", workload)
        self.assertEqual(workload.call(), ENOSYS_ANSWER)
        until(lambda: self.agent.audit(event="listener_refused", container="nobody"), "the audit record")
        workload.end()
        self.assert_all_given_back()

    def test_a_thousand_connections(self):
        workload = self.workload()
        self.assertEqual(self.agent.register("thousand", workload), {"ok": True})
        peers = []
        for _ in range(1000):
            peers.append(self.agent.peer())
            self.addCleanup(peers[-1].close)
        peers[500].send_with(state("thousand", pid=workload.pid), [workload.listener])
        workload.give_away()
        self.assertTrue(workload.served())
        workload.end()
        for peer in peers:
            peer.close()
        self.assert_all_given_back()


class Peers(AgentTest):
    def test_other_users_are_refused(self):
        self.assertEqual(os.stat(self.agent.socket).st_mode & 0o777, 0o600)
        # Were the socket open to them, they would be refused all the same.
        os.chmod(self.agent.socket, 0o666)
        os.chmod(self.agent.run, 0o755)
        workload = self.workload()
        self.assertEqual(self.agent.register("theirs", workload), {"ok": True})
        done, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            peer = Peer(self.agent.socket)
            try:
                peer.send_with(state("theirs"), [workload.listener])
            except OSError:
                pass
            os.write(tell, b"1" if peer.closed() else b"0")
            os._exit(0)
        os.close(tell)
        self.assertEqual(os.read(done, 1), b"1")
        os.close(done)
        os.waitpid(child, 0)
        workload.give_away()
        # Nobody else has the listener: had the agent taken it, this would be continued.
        self.assertEqual(workload.call(), ENOSYS_ANSWER)
        until(lambda: re.search(r"refused: uid 65534 \(pid \d+\)", self.agent.errors), "the log says so")


class Registrations(AgentTest):
    def test_registered_listed_unregistered(self):
        workload = self.container("c1", pod="web-0")
        self.assertTrue(workload.served())
        self.assertEqual(list(self.agent.containers()), ["c1"])
        self.assertEqual(self.agent.unregister("c1"), {"ok": True})
        # Its listener lives, so it is served on.
        self.assertTrue(workload.served())
        self.assertEqual(list(self.agent.containers()), ["c1"])
        workload.end()
        until(lambda: not self.agent.containers(), "it is collected")
        until(lambda: self.agent.audit(event="container_ended", container="c1"), "the audit record")
        self.assertEqual(len(self.agent.audit(event="container_started", container="c1", pod="web-0")), 1)
        self.assert_all_given_back()

    def test_unregistering_what_is_not_there(self):
        self.assertEqual(self.agent.unregister("never"), {"ok": True})

    def test_collected_without_a_hook(self):
        workload = self.workload(filtered=False)
        self.assertEqual(self.agent.register("bare", workload), {"ok": True})
        workload.end()
        until(lambda: not self.agent.containers(), "it is collected")
        self.assert_all_given_back()

    def test_twice_the_same_and_another_of_its_id(self):
        first, second = self.workload(), self.workload()
        self.assertEqual(self.agent.register("id", first), {"ok": True})
        self.assertEqual(self.agent.register("id", first), {"ok": True})
        self.assertIn("is alive", self.agent.register("id", second)["error"])
        first.end()
        self.assertEqual(self.agent.register("id", second), {"ok": True})
        self.agent.listen("id", second)
        self.assertTrue(second.served())
        self.assertEqual(list(self.agent.containers()), ["id"])

    def test_what_is_no_registration(self):
        workload, other = self.workload(), self.workload()
        namespace = os.open(f"/proc/{workload.pid}/ns/mnt", os.O_RDONLY)
        wrong_namespace = os.open(f"/proc/{workload.pid}/ns/net", os.O_RDONLY)
        self.addCleanup(os.close, namespace)
        self.addCleanup(os.close, wrong_namespace)
        from fake_runtime import registration
        good = registration("bad", workload)
        right = [workload.pidfd, namespace]
        cases = {
            "no descriptors": ({"register": good}, []),
            "one descriptor": ({"register": good}, right[:1]),
            "no pidfd": ({"register": good}, [namespace, namespace]),
            "another namespace": ({"register": good}, [workload.pidfd, wrong_namespace]),
            "another process": ({"register": {**good, "startTime": good["startTime"] + 1}}, right),
            "no policy": ({"register": {**good, "policies": []}}, right),
            "an unknown key": ({"register": {**good, "more": 1}}, right),
            "neither": ({}, []),
            "both": ({"register": good, "unregister": {"id": "x"}}, right),
            "an unknown request": ({"forget": {}}, []),
            "no id": ({"unregister": {}}, []),
        }
        for name, (request, fds) in cases.items():
            with self.subTest(name):
                self.assertIn("error", self.agent.hook(request, fds))
        dead = Workload(filtered=False)
        pidfd = os.dup(dead.pidfd)
        request = {"register": registration("dead", dead)}
        dead.end()
        self.assertIn("ended", self.agent.hook(request, [pidfd, namespace])["error"])
        os.close(pidfd)
        self.assertEqual(self.agent.containers(), {})
        self.assert_all_given_back()


if __name__ == "__main__":
    unittest.main()
