"""Containers at full speed while the agent's processes are killed, stopped, replaced, and fail to start: every
call ends as it would have, each worker goes on, and nothing hangs.

Two containers are in audit mode, so that every open, exec, connect and change of a name is notified; two are
under a policy in hook mode and execute programs, each notified. What the workers counted lies in a volume.
"""
import contextlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import threading
import time

from harness import log
from harness.agent import Agent, alive
from harness.bundle import DEFAULT_CAPABILITIES
from harness.case import Case
from harness.policies import DATA, allow, policy

# Of the serving process, in the test of that. More for a soak: LANDGATE_KILLS=200.
KILLS = int(os.environ.get("LANDGATE_KILLS", "12"))
WORKERS = 3  # of each container
PATIENCE = 60  # seconds until something counts as hung

POLICY = policy(DATA, allow("read modify", "/shared", optional=True))
CONTAINERS = [(runtime, mode) for mode in ("audit", "enforce") for runtime in ("runc", "crun")]


class Load:
    """A container whose workers make calls at full speed; as in tests/e2e/worker.cc."""

    def __init__(self, case, runtime, mode):
        self.name = f"{runtime} {mode}"
        self.mode = mode
        self.volume = case.stage.directory("volume")
        (self.volume / "file").write_text("open\n")
        (self.volume / "counters").write_bytes(bytes(4096))
        with open(self.volume / "counters", "r+b") as file:
            self.counters = mmap.mmap(file.fileno(), 4096)
        self.container = case.container(
            "tested", how="inject", runtime=runtime, node=case.agents_node,
            annotations={"io.landgate.mode": "audit"} if mode == "audit" else None,
            capabilities=DEFAULT_CAPABILITIES,
            mounts=[{"destination": "/shared", "type": "bind", "source": str(self.volume), "options": ["bind", "rw"]}])
        shutil.copy(self.container.bundle.root / "bin" / "worker", self.container.bundle.root / "srv" / "tool")
        self.running = case.held(self.container, script=f"exec /bin/worker /shared/counters {WORKERS} {mode} /shared")

    def _numbers(self, field):
        return [int.from_bytes(self.counters[64 * worker + 8 * field:][:8], "little") for worker in range(1, WORKERS + 1)]

    @property
    def rounds(self):
        return self._numbers(0)

    @property
    def calls(self):
        return sum(self._numbers(1))

    @property
    def wrong(self):
        return sum(self._numbers(2))

    def ask_to_end(self):
        self.counters[0] = 1

    def ended(self):
        """Every worker finished its round: none hung. The container ends with 0: nothing was wrong."""
        try:
            status = self.running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name}: a worker hangs; rounds {self.rounds}") from None
        if status != 0 or self.wrong:
            raise AssertionError(f"{self.name}: exit {status}, {self.wrong} calls ended otherwise:\n"
                                 f"{self.running.err[:4000]}")


class Survival(Case):
    label = "survival"

    def setUp(self):
        self.agents_node = self.node()
        self.agents_node.policy("tested", POLICY)
        self.agent = Agent(self.agents_node).start()
        self.addCleanup(self.agent.stop)
        self.random = random.Random(time.time_ns() if KILLS > 12 else 4711)

    @contextlib.contextmanager
    def loads(self, which=CONTAINERS):
        """Running; in the end each must have ended by itself, with nothing wrong."""
        with contextlib.ExitStack() as stack:
            self.running = []
            for runtime, mode in which:
                load = Load(self, runtime, mode)
                stack.enter_context(load.running)
                self.running.append(load)
            try:
                self.progress("they have begun")
                yield self.running
                self.progress("in the end")
            except BaseException:
                if self.agent.running():
                    os.kill(self.agent.pid, signal.SIGCONT)
                for load in self.running:
                    log.note(f"{load.name}: rounds {load.rounds}, calls {load.calls}, wrong {load.wrong}")
                raise
            for load in self.running:
                load.ask_to_end()
            for load in self.running:
                load.ended()
            for load in self.running:
                log.note(f"{load.name}: {load.calls} calls, {sum(load.rounds)} rounds, {load.wrong} wrong")
        log.until(lambda: not self.agent.containers(), "the agent has forgotten them")

    def progress(self, what, than=None):
        """Every worker of every container finishes a round that it had not begun."""
        before = than or [load.rounds for load in self.running]
        deadline = time.monotonic() + PATIENCE

        def moved():
            return all(now >= then + 2 for load, rounds in zip(self.running, before)
                       for now, then in zip(load.rounds, rounds))
        while not moved():
            gone = [load.name for load in self.running if load.running.process.poll() is not None]
            if gone:
                self.fail(f"{what}: ended by somebody: {gone}")
            if time.monotonic() > deadline:
                stuck = {load.name: list(zip(rounds, load.rounds)) for load, rounds in zip(self.running, before)}
                self.fail(f"{what}: a worker stands still: {stuck}\n{''.join(self.agent.errors[-20:])}")
            time.sleep(0.001)
        self.assertEqual({load.name: load.wrong for load in self.running if load.wrong}, {}, what)

    def stalled(self):
        """Nothing moves any more: all workers wait for an answer."""
        def same():
            before = [load.rounds for load in self.running]
            time.sleep(0.2)
            return before == [load.rounds for load in self.running]
        log.until(same, "every worker waits", PATIENCE)

    def a_moment(self, most):
        time.sleep(self.random.uniform(0, most))

    def test_killed_again_and_again(self):
        """Whoever runs, at any moment, also while it takes over."""
        with self.loads():
            began = time.monotonic()
            for number in range(KILLS):
                self.a_moment(0.1)
                self.agent.kill()
                self.agent.start()
                if number % 4 == 3:  # and once more in the middle of taking over
                    self.agent.kill()
                    self.killed_while_starting(0.02)
                    self.agent.start()
                self.progress(f"after kill {number + 1}")
            seconds = time.monotonic() - began
            log.note(f"{KILLS} kills in {seconds:.1f} s, {KILLS // 4} more while starting")
        if KILLS > 12:
            print(f"{KILLS} kills in {seconds:.1f} s and {KILLS // 4} while starting: "
                  + ", ".join(f"{load.name}: {load.calls} calls, rounds {load.rounds}" for load in self.running))

    def killed_while_starting(self, after):
        process = subprocess.Popen([str(self.agent.program), *self.agent.flags], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=self.agent.environment, cwd="/")
        self.a_moment(after)
        process.kill()
        process.wait()

    def test_a_crash_loop(self):
        """Agents that die before they are ready, one after the other, each a little later in its start."""
        with self.loads():
            self.agent.kill()
            for number in range(20):
                self.killed_while_starting(0.005 * number)
            self.agent.start()
            self.progress("after the crash loop")

    def test_the_holder_is_killed(self):
        """Then the serving process starts another and gives it everything; that one is enough for a successor."""
        with self.loads():
            for _ in range(3):
                holder = self.agent.holder_pid()
                os.kill(holder, signal.SIGKILL)
                log.until(lambda gone=holder: self.agent.holder_pid() not in (None, gone), "there is another holder")
                self.progress("without the first holder")
                # Everything is there again before a successor needs it.
                log.until(lambda: self.kept() >= self.listeners(), "the new holder has every listener")
                self.agent.restart()
                self.progress("with the new holder and a new agent")

    def kept(self):
        """Descriptors of seccomp listeners in the holder."""
        count = 0
        holder = self.agent.holder_pid()
        with contextlib.suppress(OSError, TypeError):
            for entry in os.scandir(f"/proc/{holder}/fd"):
                count += "seccomp notify" in os.readlink(entry.path)
        return count

    def listeners(self):
        return sum(entry["listeners"] for entry in self.agent.containers())

    def test_an_upgrade(self):
        """SIGTERM, and the next one is another file at another place; and back."""
        other = self.stage.directory("other-version")
        shutil.copytree(self.stage.prefix, other / "prefix")
        programs = [other / "prefix" / "bin" / "landgate-agent", self.stage.bin("landgate-agent")]
        with self.loads():
            holder = self.agent.holder_pid()
            for program in programs * 2:
                self.assertEqual(self.agent.end(), 0)
                self.agent.program = program
                self.agent.start()
                self.assertEqual(os.readlink(f"/proc/{self.agent.pid}/exe"), str(program))
                self.progress(f"under {program}")
            self.assertEqual(self.agent.holder_pid(), holder, "the holder stays")
            # The new file, and the old one is gone.
            shutil.rmtree(other)
            self.agent.restart()
            self.progress("without the other version")

    def test_stopped(self):
        """SIGSTOP: calls wait, for as long as it takes, and then go on."""
        with self.loads():
            self.agent.signal(signal.SIGSTOP)
            self.stalled()
            before = [load.rounds for load in self.running]
            time.sleep(1)  # nothing may give up: this is what is tested
            self.assertEqual([load.rounds for load in self.running], before)
            self.agent.signal(signal.SIGCONT)
            self.progress("after SIGCONT")
            # Stopped and never continued: its successor answers what it had.
            self.agent.signal(signal.SIGSTOP)
            self.stalled()
            self.agent.restart()
            self.progress("after the end of a stopped one")

    def test_nobody_serves_for_a_while(self):
        with self.loads():
            self.agent.kill()
            self.stalled()
            self.assertTrue(alive(self.agent.holder_pid()))
            self.agent.start()
            self.progress("with an agent again")

    def test_sessions_and_containers_begin_meanwhile(self):
        """Also those that begin while nobody serves, in both modes."""
        with self.loads([("runc", "audit"), ("crun", "enforce")]) as loads:
            over = threading.Event()
            wrong, done = [], {"session": 0, "container": 0}

            def again_and_again(what, one):
                while not over.is_set():
                    try:
                        problem = one()
                    except (AssertionError, subprocess.TimeoutExpired) as error:
                        problem = repr(error)
                    done[what] += 1
                    if problem:
                        wrong.append(f"{what} {done[what]}: {problem}")

            def session(load):
                outside = load.container.exec("/bin/sh", "-c", "cat /shared/file; cat /srv/outside")
                expected = "open\noutside\n" if load.mode == "audit" else "open\n"
                if outside.out != expected or ("Permission denied" in outside.err) != (load.mode == "enforce"):
                    return str(outside)
                return None

            def container(runtime, mode):
                made = self.container("tested", how="inject", runtime=runtime, node=self.agents_node,
                                      annotations={"io.landgate.mode": "audit"} if mode == "audit" else None,
                                      args=["/bin/sh", "-c", "cat /data/open/file; cat /srv/outside; true"])
                ended = made.run()
                expected = "open\noutside\n" if mode == "audit" else "open\n"
                return None if (ended.status, ended.out) == (0, expected) else str(ended)

            threads = [threading.Thread(target=again_and_again, args=given) for given in (
                ("session", lambda: session(loads[0])), ("session", lambda: session(loads[1])),
                ("container", lambda: container("runc", "enforce")), ("container", lambda: container("crun", "audit")))]
            for thread in threads:
                thread.start()
            try:
                # While nobody serves, inject would choose a floor without an agent, or refuse audit mode; the
                # holder keeps accepting, so both find an agent at any moment.
                for number in range(KILLS):
                    self.a_moment(0.15)
                    self.agent.kill()
                    self.a_moment(0.15)
                    self.agent.start()
                    self.progress(f"after kill {number + 1}")
                enough = time.monotonic() + PATIENCE
                while min(done.values()) < 4 and time.monotonic() < enough:
                    time.sleep(0.05)
            finally:
                over.set()
                for thread in threads:
                    thread.join(2 * PATIENCE)
            self.assertFalse(any(thread.is_alive() for thread in threads), "one of them hangs")
            self.assertEqual(wrong, [])
            self.assertGreaterEqual(min(done.values()), 4, done)
            log.note(f"{done} meanwhile")



