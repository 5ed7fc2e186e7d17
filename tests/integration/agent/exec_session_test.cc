// Exec sessions turned to the real launcher. What an attacker could try is in
// exec_session_attack_test.cc.
#include <errno.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <numeric>

#include "agent/notify/memory.h"
#include "tests/integration/agent/session_harness.h"

namespace landgate::agent {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Prints arguments, environment and descriptors of the shell that runs it, exactly.
constexpr char kTell[] =
    "cat /proc/$$/cmdline; printf '|'; cat /proc/$$/environ; printf '|'; "
    "for fd in /proc/$$/fd/*; do printf '%s ' \"${fd##*/}\"; done; printf '|'; "
    "exec grep -E 'Sig[PBIC]|Umask' /proc/self/status";  // itself: dash blocks signals around vfork

std::string Joined(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += text + '\0';
  return joined;
}

TEST_F(SessionTest, RunsWhatWasAskedForUnderThePlan) {
  const Ended ended = Shell("echo out; echo err >&2; echo x > /tmp/should-not-be; exit 7");
  EXPECT_EQ(ended.status, 7) << ended.errors;
  EXPECT_EQ(ended.output, "out\n");
  EXPECT_THAT(ended.errors, HasSubstr("err\n"));
  EXPECT_THAT(ended.errors, HasSubstr("Permission denied"));  // the plan's
  EXPECT_EQ(static_cast<Phase>(last_region().phase.load()), Phase::kWorkload);
  EXPECT_EQ(last_region().session.load(), kHandedOver);
  EXPECT_EQ(holder_.keeps(), 1);
  EXPECT_EQ(holder_.kept(), 0U) << "nothing of a session that runs is kept";
  const std::vector<AuditRecord> records = records_.Get();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].event, AuditEvent::kExecSession);
  EXPECT_EQ(records[0].verdict, AuditVerdict::kAllow);
  EXPECT_EQ(records[0].requested_path, "/bin/sh");
  EXPECT_EQ(records[0].container, "tested");
}

TEST_F(SessionTest, WithoutTheHandlerNothingIsConfined) {
  // So the test above tests something.
  registration_.exec_sessions = policy::ExecSessions::kUnconfined;
  const std::string file = directory_ + "/written";
  const Ended ended = Shell("echo x > " + file + " && grep -c x " + file);
  EXPECT_EQ(ended.output, "1\n") << ended.errors;
  EXPECT_EQ(records_.Await(AuditReason::kExecSessionUnconfined).verdict, AuditVerdict::kAllow);
}

TEST_F(SessionTest, ArgumentsAndEnvironmentAreKeptExactly) {
  const std::vector<std::vector<std::string>> arguments = {
      {"sh", "-c", kTell},
      {"-", "-c", kTell, "", "", " ", "a b", "\n", "\xff\xfe", "--version"},
      {"/dev/lg", "-c", kTell, "start", "exec"},
      {"", "-c", kTell, "start", "/bin/true"}};
  const std::vector<std::vector<std::string>> environments = {
      {}, {"A=b"}, {"PATH=/x", "A=", "=", "B", "", "A=again", "LANDGATE=1", "\xff=\n"}};
  for (const auto& argument : arguments) {
    for (const auto& environment : environments) {
      const std::string tool_path = "PATH=/usr/bin:/bin;";
      std::vector<std::string> told = argument;
      told[2] = tool_path + kTell;
      registration_.exec_sessions = policy::ExecSessions::kUnconfined;
      const Ended native = Exec("/bin/sh", told, environment);
      registration_.exec_sessions = policy::ExecSessions::kConfined;
      const Ended ended = Exec("/bin/sh", told, environment);
      EXPECT_EQ(ended.status, 0);
      EXPECT_THAT(ended.output, StartsWith(Joined(told) + "|" + Joined(environment) + "|"));
      EXPECT_EQ(ended.output, native.output);
      EXPECT_EQ(ended.errors, native.errors);
    }
  }
}

TEST_F(SessionTest, NamesOfEveryLength) {
  Script("a", "#!/bin/sh\necho \"here $0 $*\"\n");
  before_ = [this] { return chdir(directory_.c_str()) == 0; };
  std::string longest = directory_;
  while (longest.size() + 2 < 4095) longest += "/";
  longest.resize(4093, '/');
  longest += "/a";
  ASSERT_EQ(longest.size(), 4095U);
  for (const std::string& path :
       {std::string("a"), std::string("./a"), directory_ + "/a", longest}) {
    const Ended ended = Exec(path, {path, "one", "two"});
    EXPECT_EQ(ended.status, 0) << path << ended.errors;
    EXPECT_EQ(ended.output, "here " + path + " one two\n");
  }
  EXPECT_EQ(Exec(longest + "a", {"a"}).status, 100 + ENAMETOOLONG);
}

// Where a short path lies next to what is executed with it, /dev/lg is written over that, too.
TEST_F(SessionTest, StringsThatShareTheirBytes) {
  Script("a", "#!/bin/sh\necho \"here $0 $*\"\n");
  before_ = [this] { return chdir(directory_.c_str()) == 0; };
  const Ended next_to_it = Run([] {
    static char memory[] = "a\0x\0y";
    char* arguments[] = {memory + 2, memory + 4, nullptr};
    char* environment[] = {memory + 4, nullptr};
    execve(memory, arguments, environment);
    return 100 + errno;
  });
  EXPECT_EQ(next_to_it.output, "here a y\n") << next_to_it.errors;
  const Ended the_same = Run([] {
    static char memory[] = "./a";
    char* arguments[] = {memory, memory, nullptr};
    execve(memory, arguments, arguments);
    return 100 + errno;
  });
  EXPECT_EQ(the_same.output, "here ./a ./a\n") << the_same.errors;
  const Ended read_only = Run([] {  // a literal, in memory that the runtime itself can't write
    execve("/bin/sh", Pointers({"sh", "-c", "echo ran"}).data(), Pointers({}).data());
    return 100 + errno;
  });
  EXPECT_EQ(read_only.output, "ran\n") << read_only.errors;
}

TEST_F(SessionTest, NullForArgumentsAndEnvironment) {
  Script("a", "#!/bin/sh\necho here\n");
  const std::string path = directory_ + "/a";
  const Ended ended = Run([&path] {
    syscall(SYS_execve, path.c_str(), nullptr, nullptr);
    return 100 + errno;
  });
  EXPECT_EQ(ended.output, "here\n") << ended.errors;
}

TEST_F(SessionTest, AMebibyteOfArguments) {
  for (const size_t each : {size_t{100}, size_t{131071}}) {
    std::vector<std::string> arguments = {"sh", "-c", "cat /proc/$$/cmdline | cksum", "sh"};
    size_t bytes = 0;
    for (int i = 0; bytes < (size_t{1} << 20); ++i) {
      std::string number = std::to_string(i);
      arguments.push_back(number + std::string(each - number.size(), 'x'));
      bytes += each + 1;
    }
    // cksum of what the shell must see, by the same program.
    const std::string expected = directory_ + "/expected";
    std::ofstream(expected) << Joined(arguments);
    const Ended native = Shell("cksum < " + expected);
    const Ended ended = Exec("/bin/sh", arguments);
    EXPECT_EQ(ended.status, 0) << ended.errors;
    EXPECT_EQ(ended.output, native.output) << each;
  }
}

TEST_F(SessionTest, TooMuchIsWhatTheKernelSays) {
  // One string of more than 128 KiB, and in sum more than is carried.
  EXPECT_EQ(Exec("/bin/sh", {"sh", "-c", "true", std::string(131072, 'x')}).status, 100 + E2BIG);
  before_ = [] {
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    (void)getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_STACK, &limit) == 0;
  };
  const std::vector<std::string> many(45, std::string(100000, 'x'));
  EXPECT_EQ(Exec("/bin/sh", many).status, 100 + E2BIG);
  EXPECT_EQ(notifications_.load(), 2);
}

TEST_F(SessionTest, BadPointersAreWhatTheKernelSays) {
  const auto bad = [this](uint64_t path, uint64_t arguments, uint64_t environment) {
    return Run([=] {
             syscall(SYS_execve, path, arguments, environment);
             return 100 + errno;
           })
        .status;
  };
  static const char kShell[] = "/bin/sh";
  const auto shell = reinterpret_cast<uint64_t>(kShell);
  EXPECT_EQ(bad(0, 0, 0), 100 + EFAULT);
  EXPECT_EQ(bad(8, 0, 0), 100 + EFAULT);
  EXPECT_EQ(bad(~uint64_t{0}, 0, 0), 100 + EFAULT);
  EXPECT_EQ(bad(shell, 8, 0), 100 + EFAULT);
  EXPECT_EQ(bad(shell, 0, ~uint64_t{0} - 7), 100 + EFAULT);
}

TEST_F(SessionTest, ARuntimeThatTriesTheElementsOfPath) {
  Script("prog", "#!/bin/sh\necho \"here $0\"\n");
  Script("plain", "text", 0644);
  const Ended ended = Run([this] {
    const std::vector<std::string> tried = {"/nowhere/prog", directory_ + "/prog/x",
                                            directory_ + "/plain", directory_,
                                            directory_ + "/prog"};
    const int expected[] = {ENOENT, ENOTDIR, EACCES, EACCES, 0};
    for (size_t i = 0; i < tried.size(); ++i) {
      execve(tried[i].c_str(), Pointers({"prog"}).data(), Pointers({"PATH=/bin:/usr/bin"}).data());
      if (errno != expected[i]) return 100 + errno;
    }
    return 1;
  });
  EXPECT_EQ(ended.status, 0) << ended.errors;
  EXPECT_EQ(ended.output, "here " + directory_ + "/prog\n");
  EXPECT_EQ(holder_.keeps(), 1) << "what is not there is not turned";
}

TEST_F(SessionTest, WhatCanNotBeExecutedAfterAll) {
  const std::string lost = Script("lost", "#!/no/such/interpreter\n");
  Ended ended = Exec(lost, {"lost"});
  EXPECT_EQ(ended.status, 127);
  EXPECT_THAT(ended.errors, HasSubstr("landgate: exec \"" + lost + "\": no such file"));
  const std::string text = Script("text", "echo not a script\n");
  ended = Exec(text, {"text"});
  EXPECT_EQ(ended.status, 126);
  EXPECT_THAT(ended.errors, HasSubstr("exec format error"));
}

TEST_F(SessionTest, SignalsAndExitStatusAreThePrograms) {
  EXPECT_EQ(Shell("kill -TERM $$").status, 128 + SIGTERM);
  EXPECT_EQ(Shell("kill -SEGV $$").status, 128 + SIGSEGV);
  for (const int status : {0, 1, 42, 126, 127, 255}) {
    EXPECT_EQ(Shell("exit " + std::to_string(status)).status, status);
  }
  // What the runtime had blocked and ignored stays so.
  before_ = [] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigprocmask(SIG_SETMASK, &set, nullptr) == 0 && signal(SIGUSR2, SIG_IGN) != SIG_ERR;
  };
  EXPECT_EQ(Shell("exec grep -E 'Sig(Blk|Ign)' /proc/self/status").output,
            "SigBlk:\t0000000000000200\nSigIgn:\t0000000000000800\n");
}

TEST_F(SessionTest, AWorkingDirectoryAndAnotherUser) {
  before_ = [this] {
    return chdir(directory_.c_str()) == 0 && setgid(1000) == 0 && setuid(1000) == 0;
  };
  EXPECT_EQ(Shell("pwd; id -u; id -g").output, directory_ + "\n1000\n1000\n");
}

// A runtime's own signals (Go preempts its threads) take the caller away, and the same call comes
// again: before it was answered, and after the kernel took the answer for delivered.
TEST_F(SessionTest, SignalsWhileTheCallWaits) {
  int interrupted = 0;
  for (int round = 0; round < 40; ++round) {
    const int before = notifications_.load();
    const Ended ended = Run([round] {
      struct sigaction action {};
      action.sa_handler = [](int) {};
      action.sa_flags = SA_RESTART;
      sigaction(SIGURG, &action, nullptr);
      sigevent event{};
      event.sigev_notify = SIGEV_SIGNAL;
      event.sigev_signo = SIGURG;
      timer_t timer;  // unlike setitimer's, it ends with execve
      if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) return 98;
      const long every = 20000 + 7000 * round;
      const itimerspec times{{0, every}, {0, every}};
      if (timer_settime(timer, 0, &times, nullptr) < 0) return 97;
      execve("/bin/sh", Pointers({"sh", "-c", "echo once"}).data(), Pointers({}).data());
      return 100 + errno;
    });
    std::string said;
    for (const AuditRecord& record : records_.Get()) said += record.message + "\n";
    EXPECT_EQ(ended.status, 0) << ended.errors << said;
    EXPECT_EQ(ended.output, "once\n");
    // execve, marker, the launcher's execve; whatever is more was notified again.
    if (notifications_.load() - before > 3) ++interrupted;
  }
  EXPECT_GT(interrupted, 0) << "no signal ever met a waiting call";
}

// --- the container's own listener

TEST_F(SessionTest, MainListenerGoesThroughItsPhases) {
  ListenerOrigin origin;
  test::FilteredProcess process = StartProcess([] {
    // A startContainer hook: the runtime's child runs a program of the image.
    const pid_t hook = fork();
    if (hook == 0) {
      execve("/bin/sh", Pointers({"sh", "-c", "echo hook; /bin/echo hook2"}).data(),
             Pointers({}).data());
      _exit(100 + errno);
    }
    int status = 0;
    (void)waitpid(hook, &status, 0);
    if (status != 0) return 97;
    if (syscall(SYS_nfsservctl, 0x4c47, 1, 0) != -1 || errno != ENOSYS) return 96;
    execve("/dev/lg",
           Pointers({"/dev/lg", "start", "sh", "-c",
                     "echo main; echo x > /tmp/should-not-be; /dev/lg start /bin/echo again"})
               .data(),
           Pointers({"PATH=/usr/bin:/bin"}).data());
    return 100 + errno;
  });
  registration_.pid = process.pid();
  const uint32_t index = *area_->Allocate(area_->NextKey());
  std::shared_ptr<Listener> listener = Serve(process.TakeListener(), index, std::move(origin));
  EXPECT_EQ(listener->phase(), Phase::kRuntime);
  const Ended ended = Collect(process);
  AwaitEnd();
  EXPECT_EQ(ended.output, "hook\nhook2\nmain\nagain\n") << ended.errors;
  EXPECT_EQ(ended.status, 0);
  EXPECT_THAT(ended.errors, HasSubstr("Permission denied"));
  EXPECT_EQ(listener->phase(), Phase::kWorkload);
  EXPECT_EQ(holder_.keeps(), 0);
}

// --- a successor

// A predecessor that died at one of its steps, and the state that it left.
class Successor : public SessionTest {
 protected:
  enum class Died { kBeforeTheWrite, kAfterTheWrite, kAfterTheAnswer };

  Ended RunAfter(Died died, const sandbox::CommandLine& command) {
    test::FilteredProcess process = StartProcess([&] {
      execve(command.path.c_str(), Pointers(command.arguments).data(),
             Pointers(command.environment).data());
      return 100 + errno;
    });
    process.Release();
    const uint32_t index = *area_->Allocate(area_->NextKey());
    Region& region = area_->At(index);
    Slot& slot = region.slots[3];
    EXPECT_EQ(Receive(process.listener(), slot), 0);
    const auto& request = *reinterpret_cast<const seccomp_notif*>(slot.notification);
    ListenerOrigin origin = Session();
    origin.session = std::move(*SealCommandLine(command));
    region.process.store(static_cast<int32_t>(request.pid));
    region.session.store(kCommandLineKept);
    if (died != Died::kBeforeTheWrite) {
      const std::string launcher = "/dev/lg";
      EXPECT_TRUE(WriteBytes(static_cast<pid_t>(request.pid), request.data.args[0],
                             std::string_view(launcher.c_str(), launcher.size() + 1)));
    }
    if (died == Died::kAfterTheAnswer) {
      PendingNotification pending(process.listener(), slot);
      (void)std::move(pending).Let(Continue::NothingMutable("a test"));
    }
    std::shared_ptr<Listener> listener = Serve(process.TakeListener(), index, std::move(origin));
    Ended ended = Collect(process);
    AwaitEnd();
    return ended;
  }
  const sandbox::CommandLine shell_{"/bin/sh", {"sh", "-c", "echo ran; echo x > /tmp/not"}, {}};
};

TEST_F(Successor, GoesOnFromEveryStep) {
  for (const Died died : {Died::kBeforeTheWrite, Died::kAfterTheWrite, Died::kAfterTheAnswer}) {
    const Ended ended = RunAfter(died, shell_);
    EXPECT_EQ(ended.output, "ran\n") << static_cast<int>(died) << ended.errors;
    EXPECT_THAT(ended.errors, HasSubstr("Permission denied"));
  }
}

TEST_F(Successor, KillsWhatIsNotTheLauncher) {
  launcher_ = Script("other", "#!/bin/sh\nwhile :; do :; done\n");
  EXPECT_EQ(RunAfter(Died::kAfterTheAnswer, shell_).status, 128 + SIGKILL);
}

}  // namespace
}  // namespace landgate::agent
