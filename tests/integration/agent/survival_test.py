"""The serving process ends, in whatever way and moment, and the next one goes on: nothing of a container fails,
hangs, or is forgotten."""
import os
import random
import signal
import socket
import threading
import time
import unittest

from fake_runtime import ENOSYS_ANSWER, PATIENCE, SANITIZED, AgentTest, readable, state, until


class Survival(AgentTest):
    def test_calls_wait_for_the_next_agent(self):
        for end in (self.agent.kill, self.agent.end):
            with self.subTest(end.__name__):
                workload = self.container(f"waits-{end.__name__}")
                self.assertTrue(workload.served())
                end()
                workload.ask()
                self.agent.start()
                self.assertEqual(workload.answered(), (os.getpid(), 0))
                self.assertTrue(workload.served())
                workload.end()
        until(lambda: not self.agent.containers(), "they are collected")
        self.assert_all_given_back()

    def test_what_is_known_of_containers_stays_known(self):
        first = self.container("first", pod="web-0")
        second = self.workload(filtered=False)
        self.assertEqual(self.agent.register("second", second), {"ok": True})
        foreign = self.workload()
        self.agent.listen("foreign", foreign)
        self.assertEqual(foreign.call(), ENOSYS_ANSWER)
        self.assertTrue(first.served())
        before = self.agent.containers()
        self.agent.kill()
        self.agent.start()
        self.assertEqual(self.agent.containers(), before)
        self.assertEqual(foreign.call(), ENOSYS_ANSWER)
        # The second's listener comes only now.
        other = self.workload()
        self.agent.listen("second", other)
        self.assertTrue(other.served())
        self.assertIn("is alive", self.agent.register("first", other)["error"])
        self.assertEqual(self.agent.unregister("first"), {"ok": True})
        first.end()
        until(lambda: list(self.agent.containers()) == ["second"], "the first is collected")

    def test_who_ended_while_nobody_served(self):
        workload = self.container("gone")
        self.assertTrue(workload.served())
        self.agent.kill()
        workload.end()
        self.agent.start()
        until(lambda: not self.agent.containers(), "it is collected")
        self.assert_all_given_back()

    def test_connections_outlive_the_serving_process(self):
        workloads = [self.workload() for _ in range(4)]
        for number, workload in enumerate(workloads):
            self.assertEqual(self.agent.register(f"c{number}", workload), {"ok": True})
        idle, half, long, late = (self.agent.peer() for _ in range(4))
        for peer in (idle, half, long, late):
            self.addCleanup(peer.close)
        texts = [state(f"c{number}", annotations={"a": "x" * (300_000 if number == 2 else 10)})
                 for number in range(4)]
        half.send_with(texts[1][:20], [workloads[1].listener])
        until(lambda: half.unread() == 0, "half of it is read")
        long.send_with(texts[2][:250_000], [workloads[2].listener])
        until(lambda: long.unread() == 0, "most of it is read")
        self.agent.kill()
        # Sent while nobody serves; the holder keeps accepting, too.
        half.send_with(texts[1][20:], [])
        late.send_with(texts[3], [workloads[3].listener])
        for workload in workloads[1:]:
            workload.give_away()
            workload.ask()
        self.agent.start()
        long.send_with(texts[2][250_000:], [])
        for workload in workloads[1:]:
            self.assertEqual(workload.answered(), (os.getpid(), 0))
        idle.send_with(texts[0], [workloads[0].listener])
        workloads[0].give_away()
        self.assertTrue(workloads[0].served())
        for workload in workloads:
            workload.end()
        for peer in (idle, half, long, late):
            self.assertTrue(peer.closed())
            peer.close()
        self.assert_all_given_back()

    def test_somebody_connects_while_nobody_serves(self):
        workload = self.workload()
        self.assertEqual(self.agent.register("early", workload), {"ok": True})
        self.agent.kill()
        self.agent.listen("early", workload)
        workload.ask()
        self.agent.start()
        self.assertEqual(workload.answered(), (os.getpid(), 0))

    def test_killed_again_and_again_at_any_moment(self):
        """Arrivals, registrations and calls go on meanwhile; each workload counts its calls."""
        rounds, random_ = 25, random.Random(7)
        stop = threading.Event()
        wrong, counts = [], {}

        def live(number):
            while not stop.is_set():
                identity = f"w{number}-{counts.get(number, 0)}"
                workload = made[number].pop() if made[number] else None
                if workload is None:
                    return
                try:
                    answer = self.agent.register(identity, workload)
                    if answer != {"ok": True}:
                        wrong.append((identity, answer))
                    self.agent.listen(identity, workload)
                    for _ in range(200):
                        if workload.call() != (os.getpid(), 0):
                            wrong.append((identity, "a call"))
                        counts[number] = counts.get(number, 0) + 1
                        if stop.is_set():
                            break
                except (AssertionError, OSError) as error:
                    wrong.append((identity, repr(error)))
                finally:
                    workload.end()

        # Forked before any thread is there.
        made = [[self.workload() for _ in range(40)] for _ in range(4)]
        threads = [threading.Thread(target=live, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        moved = 0
        for _ in range(rounds):
            seen = dict(counts)
            time.sleep(random_.uniform(0, 0.03))  # a moment of any kind
            self.agent.kill()
            self.agent.start()
            until(lambda: wrong or not any(thread.is_alive() for thread in threads) or counts != seen, "progress")
            moved += counts != seen
        stop.set()
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive(), "a workload hangs")
        self.assertEqual(wrong, [])
        self.assertGreater(moved, rounds // 2)

    def test_only_one_serves(self):
        from fake_runtime import Agent
        second = Agent(self.directory)
        second.config = self.agent.config
        import subprocess
        result = subprocess.run([str(second.program), "--config", str(second.config)], capture_output=True, text=True,
                                timeout=20, check=False)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertTrue(self.container("still").served())

    def test_the_socket_stays_the_same_file(self):
        inode = os.stat(self.agent.socket).st_ino
        self.agent.kill()
        self.agent.start()
        self.assertEqual(os.stat(self.agent.socket).st_ino, inode)
        # Somebody removed it: a new one.
        self.agent.end()
        os.unlink(self.agent.socket)
        self.agent.start()
        self.assertTrue(self.container("new").served())

    def answers(self):
        """Whether anybody accepts where runtimes and hooks connect."""
        try:
            self.agent.peer().close()
        except OSError:
            return False
        return True

    def test_nothing_is_left_of_an_agent_without_containers(self):
        """A clean stop: nobody answers from then on. A crash: nobody after the holder's ten seconds. No process stays."""
        holder = os.pidfd_open(self.agent.holder())
        self.addCleanup(os.close, holder)
        workload = self.container("one")
        self.assertTrue(workload.served())
        self.assertEqual(self.agent.end(), 0)
        self.assertTrue(self.answers(), "a container waits for the next agent")
        self.agent.start()
        workload.end()
        until(lambda: not self.agent.containers(), "it is collected")
        self.assertEqual(self.agent.end(), 0)
        self.assertFalse(self.answers(), "an agent that was stopped")
        self.agent.start()
        self.assertTrue(self.answers())
        self.agent.kill()
        # Whoever still connects doesn't keep the holder.
        until(lambda: not self.answers(), "the holder has ended", 30)
        self.assertTrue(readable(holder, PATIENCE))
        self.agent.start()
        self.assertTrue(self.container("two").served())


class Scale(AgentTest):
    def test_a_thousand_listeners(self):
        workloads = []
        first = self.container("many")
        for number in range(1000):
            workload = self.workload()
            workloads.append(workload)
            identity = f"c{number // 100}"
            if number % 100 == 0:
                self.assertEqual(self.agent.register(identity, workload), {"ok": True})
            self.agent.listen(identity, workload)
        for workload in workloads:
            self.assertTrue(workload.served())
        rss = int(next(line.split()[1] for line in open(f"/proc/{self.agent.pid}/status") if line.startswith("VmRSS")))
        # Audit mode, each asked: the listeners of a container that enforces take less.
        if not SANITIZED:
            self.assertLess(rss, 40 * 1024)
        for workload in [first, *workloads]:
            workload.end()
        until(lambda: not self.agent.containers(), "they are collected", 60)
        self.assert_all_given_back()


if __name__ == "__main__":
    unittest.main()
