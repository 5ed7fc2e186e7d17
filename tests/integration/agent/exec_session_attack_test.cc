// What must not run, and what is told about it.
#include <errno.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "agent/handlers/turn_watch.h"
#include "base/syscalls.h"
#include "tests/integration/agent/session_harness.h"

namespace landgate::agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class ExecSessionAttack : public SessionTest {
 protected:
  // The session is refused with that errno, and nothing ran.
  AuditRecord ExpectRefused(const Ended& ended, int error_number, AuditReason reason) {
    EXPECT_EQ(ended.status, 100 + error_number) << ended.errors;
    EXPECT_EQ(ended.output, "");
    AuditRecord record = records_.Await(reason);
    EXPECT_EQ(record.verdict, AuditVerdict::kDeny);
    EXPECT_EQ(record.error_number, error_number);
    return record;
  }
};

TEST_F(ExecSessionAttack, ALauncherThatIsAnotherFile) {
  launcher_ = Script("other", "#!/bin/sh\necho unconfined\n");
  const AuditRecord record =
      ExpectRefused(Shell("echo ran"), EPERM, AuditReason::kVerificationFailed);
  EXPECT_THAT(record.message, HasSubstr("/dev/lg: is not what was mounted there"));
}

TEST_F(ExecSessionAttack, ALauncherThatIsNoMount) {
  bind_ = false;  // a copy, in a directory that could be renamed
  registration_.launcher = {};
  ExpectRefused(Shell("echo ran"), EPERM, AuditReason::kVerificationFailed);
}

TEST_F(ExecSessionAttack, NoLauncherASymlinkOrAnotherPlan) {
  before_ = [] { return umount2("/dev/lg", MNT_DETACH) == 0 && unlink("/dev/lg") == 0; };
  ExpectRefused(Shell("echo ran"), EPERM, AuditReason::kVerificationFailed);
  before_ = [] {
    return umount2("/dev/lg", MNT_DETACH) == 0 && unlink("/dev/lg") == 0 &&
           symlink(kLauncher, "/dev/lg") == 0;
  };
  ExpectRefused(Shell("echo ran"), EPERM, AuditReason::kVerificationFailed);
  before_ = [] { return mount("/etc/passwd", "/dev/lg.plan", nullptr, MS_BIND, nullptr) == 0; };
  ExpectRefused(Shell("echo ran"), EPERM, AuditReason::kVerificationFailed);
  before_ = [] { return true; };
  EXPECT_EQ(Shell("echo ran").output, "ran\n");
}

// Comparing by name would be enough for none of these: what counts is what runs.
TEST_F(ExecSessionAttack, WhatRunsIsNotTheLauncher) {
  launcher_ = Script("other", "#!/bin/sh\nwhile :; do :; done\n");
  registration_.launcher = *sandbox::IdentifyFile(launcher_);  // but its interpreter runs
  const Ended ended = Shell("echo ran");
  EXPECT_EQ(ended.status, 128 + SIGKILL);
  EXPECT_EQ(ended.output, "");
  const AuditRecord record = records_.Await(AuditReason::kVerificationFailed);
  EXPECT_EQ(record.message, "killed: it executes something that is not the launcher");
}

TEST_F(ExecSessionAttack, OtherWaysToExecute) {
  const Ended by_descriptor = Run([] {
    syscall(SYS_execveat, AT_FDCWD, "/bin/sh", Pointers({"sh", "-c", "echo ran"}).data(),
            Pointers({}).data(), 0);
    return 100 + errno;
  });
  ExpectRefused(by_descriptor, EPERM, AuditReason::kUnsupported);
#if defined(__x86_64__)
  const Ended by_x32 = Run([] {
    syscall(0x40000000 + 520, "/bin/sh", Pointers({"sh", "-c", "echo ran"}).data(),
            Pointers({}).data());
    return 100 + errno;
  });
  ExpectRefused(by_x32, EPERM, AuditReason::kUnsupported);
#endif
}

TEST_F(ExecSessionAttack, AnotherProcessOfTheSession) {
  const auto child_and_parent = [] {
    const pid_t child = fork();
    if (child == 0) {
      execve("/bin/sh", Pointers({"sh", "-c", "echo child"}).data(), Pointers({}).data());
      _exit(100 + errno);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    if (WEXITSTATUS(status) != 100 + EPERM) return WEXITSTATUS(status);
    execve("/bin/sh", Pointers({"sh", "-c", "echo parent"}).data(), Pointers({}).data());
    return 100 + errno;
  };
  // Where the runtime names its process …
  test::FilteredProcess process = StartProcess(child_and_parent);
  const uint32_t region = *area_->Allocate(area_->NextKey());
  std::shared_ptr<Listener> listener =
      Serve(process.TakeListener(), region, Session(process.pid()));
  Ended ended = Collect(process);
  AwaitEnd();
  EXPECT_EQ(ended.output, "parent\n") << ended.errors;
  // … and where it does not, the first one is.
  ended = Run([&] {
    const int status = child_and_parent();
    return status == 0 ? 100 : status;
  });
  EXPECT_EQ(ended.output, "child\n") << ended.errors;
}

TEST_F(ExecSessionAttack, ARuntimeThatNamesSomebodyElse) {
  ExpectRefused(
      Run(
          [] {
            execve("/bin/sh", Pointers({"sh", "-c", "echo ran"}).data(), Pointers({}).data());
            return 100 + errno;
          },
          Session(1)),
      EPERM, AuditReason::kUnsupported);
}

TEST_F(ExecSessionAttack, TheLaunchersQuestionByOthers) {
  const Ended ended = Run([] {
    // By the runtime before its execve, and by anybody with other arguments.
    for (const long third : {0L, 1L}) {
      if (syscall(SYS_nfsservctl, 0x4c47L, 1L, third) != -1 || errno != ENOSYS) return 90;
    }
    if (syscall(SYS_nfsservctl, 1L, 1L, 0L) != -1 || errno != ENOSYS) return 91;
    execve("/bin/sh",
           Pointers({"sh", "-c", "/dev/lg start /bin/echo again; /dev/lg; echo $?"}).data(),
           Pointers({"PATH=/bin"}).data());
    return 100 + errno;
  });
  // Run again it has arguments of its own, and no session.
  EXPECT_EQ(ended.output, "again\n2\n") << ended.errors;
  EXPECT_THAT(ended.errors, HasSubstr("usage: landgate-init"));
}

TEST_F(ExecSessionAttack, ByThePolicy) {
  registration_.exec_sessions = policy::ExecSessions::kRefused;
  const AuditRecord record = ExpectRefused(Shell("echo ran"), EACCES, AuditReason::kRule);
  EXPECT_EQ(record.message, "the policy refuses exec sessions");
}

// --- where the agent itself fails, nothing has changed in the runtime and nothing runs

TEST_F(ExecSessionAttack, TheHolderDoesNotTakeIt) {
  holder_.on_keep = [] { return Refuse("full"); };
  const Ended ended = Run([] {
    static char path[] = "/bin/sh";
    execve(path, Pointers({"sh", "-c", "echo ran"}).data(), Pointers({}).data());
    const int error = errno;
    return strcmp(path, "/bin/sh") == 0 ? 100 + error : 1;
  });
  const AuditRecord record = ExpectRefused(ended, EAGAIN, AuditReason::kBackendError);
  EXPECT_THAT(record.message, HasSubstr("full"));
}

TEST_F(ExecSessionAttack, MemoryThatCanNotBeWritten) {
  Script("a", "#!/bin/sh\necho ran\n");
  before_ = [this] { return chdir(directory_.c_str()) == 0; };
  const Ended ended = Run([] {
    // "a" at the end of a page behind which there is none.
    char* pages = static_cast<char*>(
        mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (munmap(pages + 4096, 4096) < 0) return 98;
    char* path = pages + 4094;
    path[0] = 'a';
    execve(path, Pointers({"a"}).data(), Pointers({}).data());
    return 100 + errno;
  });
  ExpectRefused(ended, EPERM, AuditReason::kBackendError);
}

TEST_F(ExecSessionAttack, NoRoomForTheDescriptor) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitized launcher needs descriptors for its libraries";
#endif
  before_ = [] {
    const rlimit none{3, 3};
    return setrlimit(RLIMIT_NOFILE, &none) == 0;
  };
  const Ended ended = Shell("echo ran");
  EXPECT_NE(ended.status, 0);
  EXPECT_EQ(ended.output, "");
  EXPECT_THAT(ended.errors, HasSubstr("exec session"));
}

TEST_F(ExecSessionAttack, WithoutStandardDescriptors) {
  before_ = [] { return close(0) == 0 && close(1) == 0 && close(2) == 0; };
  EXPECT_EQ(Shell("exit 9").status, 9);
}

// --- the watch

class Watch : public testing::Test {
 protected:
  // A child that becomes `program`.
  pid_t Become(const char* program, const char* argument) {
    const pid_t child = fork();
    if (child == 0) {
      execl(program, program, argument, nullptr);
      _exit(99);
    }
    children_.push_back(child);
    return child;
  }
  TurnEnd Run(pid_t process, const char* launcher, bool asked,
              std::optional<sandbox::ObjectId> before = std::nullopt) {
    Result<UniqueFd> pidfd = PidfdOpen(process);
    EXPECT_TRUE(pidfd);
    const Turned turned{process, *pidfd, *sandbox::IdentifyFile(std::string(launcher)), before};
    return WatchTurn(
        turned, std::chrono::milliseconds(200), [asked] { return asked; }, &why_);
  }
  // How it ended: the signal, or 0.
  int Reap(pid_t child) {
    int status = 0;
    (void)waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  std::string_view why_;
  std::vector<pid_t> children_;
};

TEST_F(Watch, WhoHasAskedIsLeftAlone) {
  const pid_t child = Become("/bin/sleep", "100");
  EXPECT_EQ(Run(child, "/bin/sh", true), TurnEnd::kAsked);
  EXPECT_EQ(kill(child, SIGTERM), 0);
  EXPECT_EQ(Reap(child), SIGTERM);
}

TEST_F(Watch, WhoEndsIsNotKilled) {
  const pid_t child = Become("/bin/true", nullptr);
  siginfo_t ended;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(Run(child, "/bin/sh", false), TurnEnd::kEnded);
  EXPECT_EQ(Reap(child), 0);
}

TEST_F(Watch, WhatIsNeitherIsKilled) {
  const pid_t child = Become("/bin/sleep", "100");
  EXPECT_EQ(Run(child, "/bin/sh", false, sandbox::ObjectId{0, 0, 1}), TurnEnd::kKilled);
  EXPECT_EQ(why_, "it executes something that is not the launcher");
  EXPECT_EQ(Reap(child), SIGKILL);
}

TEST_F(Watch, ALauncherThatNeverAsksIsKilled) {
  const pid_t child = Become("/bin/sleep", "100");
  EXPECT_EQ(Run(child, "/bin/sleep", false), TurnEnd::kKilled);
  EXPECT_EQ(why_, "the launcher does not ask for its command line");
  EXPECT_EQ(Reap(child), SIGKILL);
}

TEST_F(Watch, ARuntimeThatDoesNotGoOnIsKilled) {
  const pid_t child = fork();
  if (child == 0) {
    (void)pause();
    _exit(0);
  }
  EXPECT_EQ(Run(child, "/bin/sh", false), TurnEnd::kKilled);
  EXPECT_EQ(why_, "it has not executed the launcher in time");
  EXPECT_EQ(Reap(child), SIGKILL);
}

}  // namespace
}  // namespace landgate::agent
