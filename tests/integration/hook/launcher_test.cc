// The launcher as a container sees it: on /dev/lg, its plan on /dev/lg.plan, in a mount namespace
// of its own. What it starts is this very test program, which then tells how it finds itself.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/linux_abi.h"
#include "base/syscalls.h"
#include "sandbox/filter.h"
#include "sandbox/plan.h"

namespace landgate {
namespace {

using sandbox::Plan;
using sandbox::PlannedLayer;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kRead = abi::kFsReadFile | abi::kFsReadDir;
constexpr uint64_t kRun = kRead | abi::kFsExecute;
constexpr uint64_t kHandled = (1ULL << 14) - 1;  // ABI 2
constexpr char kLauncher[] = LANDGATE_BIN_DIR "/landgate-init";

struct Outcome {
  int exit_status = -1;  // 128 + signal where one ended it
  std::string output;    // standard output
  std::string errors;    // standard error
};

struct Case {
  std::string plan;  // bytes of /dev/lg.plan
  bool has_plan = true;
  std::vector<std::string> arguments;  // after /dev/lg
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin"};
  std::function<bool()> before = [] { return true; };  // in the child, at its end
};

std::string Drain(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(count));
  }
  close(fd);
  return text;
}

// A /dev of its own with the launcher and the plan, each a mount as in a container.
bool MakeDev(const Case& test) {
  if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
    return false;
  }
  const UniqueFd null(
      open("/dev/null", O_PATH | O_CLOEXEC));  // its mount must be of this namespace
  if (mount("tmpfs", "/dev", "tmpfs", 0, "mode=0755") < 0) return false;
  std::ofstream("/dev/null") << "";
  const std::string from = "/proc/self/fd/" + std::to_string(null.get());
  if (mount(from.c_str(), "/dev/null", nullptr, MS_BIND, nullptr) < 0) return false;
  std::ofstream("/dev/lg") << "";
  if (mount(kLauncher, "/dev/lg", nullptr, MS_BIND, nullptr) < 0) return false;
  if (test.has_plan && !WriteFileAtomically("/dev/lg.plan", test.plan, 0444)) return false;
  return true;
}

Outcome Launch(const Case& test) {
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    std::vector<char*> arguments = {const_cast<char*>("/dev/lg")};
    for (const std::string& argument : test.arguments) {
      arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    std::vector<char*> environment;
    for (const std::string& entry : test.environment) {
      environment.push_back(const_cast<char*>(entry.c_str()));
    }
    environment.push_back(nullptr);
    if (!MakeDev(test) || !test.before()) _exit(99);
    execve("/dev/lg", arguments.data(), environment.data());
    _exit(98);
  }
  close(out[1]);
  close(err[1]);
  Outcome outcome;
  outcome.output = Drain(out[0]);
  outcome.errors = Drain(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  outcome.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

Plan PlanOf(PlannedLayer layer) {
  layer.name = "test";
  Plan plan;
  plan.layers.push_back(std::move(layer));
  return plan;
}

// Files may be read and run everywhere, and but for /dev/null written nowhere.
Plan ReadOnly() {
  PlannedLayer layer;
  layer.handled_fs = kHandled;
  layer.paths.push_back({"/", kRun, true, std::nullopt});
  layer.paths.push_back({"/dev/null", abi::kFsWriteFile, true, std::nullopt});
  return PlanOf(layer);
}

std::vector<uint8_t> FilterOf(const sandbox::FilterRequest& request) {
  Result<sandbox::Filter> filter = sandbox::BuildFilter(request);
  EXPECT_TRUE(filter.has_value());
  return filter ? filter->program : std::vector<uint8_t>{};
}

class Launcher : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to make mounts";
    if (LandlockAbi() < 2) GTEST_SKIP() << "needs Landlock ABI 2";
    ASSERT_EQ(access(kLauncher, X_OK), 0) << kLauncher;
    char pattern[] = "/tmp/landgate-launcher-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    dir_ = std::filesystem::canonical(pattern);
    chmod(dir_.c_str(), 0755);
  }
  void TearDown() override {
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  std::string Script(const std::string& name, const std::string& text, mode_t mode = 0755) const {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  static Case Start(const Plan& plan, std::vector<std::string> arguments,
                    const std::string& session = "start") {
    Case test;
    test.plan = EncodePlan(plan);
    test.arguments = std::move(arguments);
    test.arguments.insert(test.arguments.begin(), session);
    return test;
  }
  static Outcome Shell(const Plan& plan, const std::string& script,
                       const std::string& session = "start") {
    return Launch(Start(plan, {"sh", "-c", script}, session));
  }
  std::string dir_;
};

// --- what it does

TEST_F(Launcher, StartsTheWorkloadConfined) {
  for (const char* session : {"start", "exec"}) {
    const Outcome outcome = Shell(ReadOnly(),
                                  "cat /etc/hostname >/dev/null || exit 3; "
                                  "(echo x > " +
                                      dir_ + "/new) 2>/dev/null && exit 4; exit 7",
                                  session);
    EXPECT_EQ(outcome.exit_status, 7) << session << outcome.errors;
    EXPECT_EQ(outcome.errors, "") << session;
    EXPECT_FALSE(std::filesystem::exists(dir_ + "/new"));
  }
}

TEST_F(Launcher, AppliesEveryLayerInOrder) {
  Plan plan = ReadOnly();
  PlannedLayer second;
  second.name = "second";
  second.handled_fs = kHandled;
  for (const char* path : {"/usr", "/etc", "/proc"}) {
    second.paths.push_back({path, kRun, true, std::nullopt});
  }
  second.paths.push_back({dir_, kHandled, true, std::nullopt});
  plan.layers.push_back(second);
  const std::string file = Script("file", "text");
  const Outcome outcome = Shell(plan, "cat " + file +
                                          "; cat /var/lib/dpkg/status 2>/dev/null || "
                                          "(echo x >> " +
                                          file + ") 2>/dev/null || exit 5");
  EXPECT_EQ(outcome.exit_status, 5) << outcome.errors;
  EXPECT_EQ(outcome.output, "text");
}

TEST_F(Launcher, ReducesCapabilitiesAndSetsNoNewPrivs) {
  Plan plan = ReadOnly();
  plan.keep = CapabilitySet{1} << CAP_NET_BIND_SERVICE;
  const Outcome outcome = Shell(plan, "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
  EXPECT_EQ(outcome.output,
            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"
            "CapBnd:\t0000000000000400\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n")
      << outcome.errors;
}

TEST_F(Launcher, LoadsTheFilterLastSoThatItMayCloseWhatTheLauncherNeeds) {
  Plan plan = ReadOnly();
  plan.keep = 0;
  sandbox::FilterRequest request;
  request.denied_syscalls = {"sethostname"};
  request.closed_again = {"prctl",
                          "seccomp",
                          "capset",
                          "capget",
                          "landlock_create_ruleset",
                          "landlock_add_rule",
                          "landlock_restrict_self",
                          "openat2",
                          "faccessat2",
                          "faccessat",
                          "access"};
  plan.filter = FilterOf(request);
  const Outcome outcome = Shell(plan, "grep Seccomp: /proc/self/status; exit 6");
  EXPECT_EQ(outcome.exit_status, 6) << outcome.errors;
  EXPECT_EQ(outcome.output, "Seccomp:\t2\n");
  // Run again by the workload it can't confine itself, so it does not run anything.
  const Outcome again = Shell(plan, "exec /dev/lg start true");
  EXPECT_EQ(again.exit_status, 1);
  EXPECT_THAT(again.errors, HasSubstr("landgate: "));
}

TEST_F(Launcher, RunAgainByTheWorkloadItOnlyTakesAwayMore) {
  const Outcome outcome = Shell(ReadOnly(), "/dev/lg start /dev/lg exec sh -c '(echo x > " + dir_ +
                                                "/new) 2>/dev/null && exit 4; exit 8'");
  EXPECT_EQ(outcome.exit_status, 8) << outcome.errors;
}

TEST_F(Launcher, PassesExitStatusAndSignal) {
  EXPECT_EQ(Shell(ReadOnly(), "exit 42").exit_status, 42);
  EXPECT_EQ(Shell(ReadOnly(), "kill -TERM $$").exit_status, 128 + SIGTERM);
}

// --- what it leaves alone

std::string Facts() {
  return R"sh(
echo "argv $0 $@"; echo "cwd $(/bin/pwd -P)"; ulimit -a
/usr/bin/env | sort
for fd in /proc/self/fd/*; do echo "$fd"; done
grep -E '^(Sig(Blk|Ign|Cgt)|Uid|Gid|Groups|Umask)' /proc/self/status
cat /proc/self/oom_score_adj /proc/self/timerslack_ns /proc/self/coredump_filter
/usr/bin/stat -c %U:%G /proc/self/status
)sh";
}

TEST_F(Launcher, LeavesNothingBehindAndChangesNothingElse) {
  Plan plan = ReadOnly();
  plan.filter = FilterOf({});
  Case launched = Start(plan, {"bash", "-c", Facts(), "zero", "one two", ""});
  launched.environment = {"PATH=/usr/bin:/bin", "EMPTY=", "ODD=a=b\nc", "LC_ALL=C"};
  launched.before = [this] {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    const rlimit files{200, 300};
    return sigprocmask(SIG_SETMASK, &mask, nullptr) == 0 && signal(SIGHUP, SIG_IGN) != SIG_ERR &&
           setrlimit(RLIMIT_NOFILE, &files) == 0 && chdir(dir_.c_str()) == 0 &&
           umask(027) != 0777 && dup2(1, 17) == 17;
  };
  Case direct = launched;
  direct.before = [&launched] {
    if (!launched.before()) return false;
    std::vector<char*> arguments;
    for (size_t i = 1; i < launched.arguments.size(); ++i) {
      arguments.push_back(const_cast<char*>(launched.arguments[i].c_str()));
    }
    arguments.push_back(nullptr);
    std::vector<char*> environment;
    for (const std::string& entry : launched.environment) {
      environment.push_back(const_cast<char*>(entry.c_str()));
    }
    environment.push_back(nullptr);
    execve("/usr/bin/bash", arguments.data(), environment.data());
    return false;
  };
  const Outcome with = Launch(launched);
  const Outcome without = Launch(direct);
  EXPECT_EQ(with.exit_status, 0) << with.errors;
  EXPECT_EQ(with.output, without.output);
  EXPECT_EQ(with.errors, without.errors);
  EXPECT_THAT(with.output, HasSubstr("argv zero one two"));
  EXPECT_THAT(with.output, HasSubstr("/fd/17\n"));
}

TEST_F(Launcher, WorksWithoutStandardDescriptors) {
  Case test = Start(ReadOnly(), {"sh", "-c", "for fd in /proc/$$/fd/*; do exit 9; done"});
  test.before = [] { return close(0) == 0 && close(1) == 0 && close(2) == 0; };
  const Outcome outcome = Launch(test);
  EXPECT_EQ(outcome.exit_status, 9);
}

// --- the workload's own lookup

TEST_F(Launcher, FindsProgramsAsTheRuntimeDoes) {
  Script("prog", "#!/bin/sh\necho \"here as $0\"\n");
  Script("plain", "text", 0644);
  std::filesystem::create_directory(dir_ + "/first");
  std::filesystem::create_directory(dir_ + "/first/prog");  // a directory is no program
  const std::string not_found = "executable file not found in $PATH";
  struct Lookup {
    std::string name;
    std::vector<std::string> environment;
    int exit_status;
    std::string says;
  };
  const std::vector<Lookup> lookups = {
      {"prog", {"PATH=" + dir_}, 0, "here as " + dir_ + "/prog"},
      {"prog", {"PATH=/nowhere:" + dir_ + "/first:" + dir_ + ":/bin"}, 0, "here as "},
      {"prog", {"PATH=:/nowhere"}, 0, "here as ./prog"},  // "" is the working directory
      {"prog", {"PATH=/nowhere:"}, 0, "here as ./prog"},
      {"./prog", {}, 0, "here as ./prog"},
      {dir_ + "/prog", {}, 0, "here as " + dir_ + "/prog"},
      {"prog", {"PATH="}, 127, not_found},
      {"prog", {}, 127, not_found},
      {"sh", {"HOME=/"}, 127, not_found},
      {"plain", {"PATH=" + dir_}, 127, not_found},
      {"", {"PATH=" + dir_}, 127, not_found},
      {"./none", {}, 127, "exec \"./none\": no such file or directory"},
      {"./prog/x", {}, 127, "exec \"./prog/x\": not a directory"},
      {"./plain", {}, 126, "exec \"./plain\": permission denied"},
      {"./first", {}, 126, "exec \"./first\": is a directory"},
  };
  for (const Lookup& lookup : lookups) {
    Case test = Start(ReadOnly(), {lookup.name});
    test.environment = lookup.environment;
    test.before = [this] { return chdir(dir_.c_str()) == 0; };
    const Outcome outcome = Launch(test);
    EXPECT_EQ(outcome.exit_status, lookup.exit_status) << lookup.name << outcome.errors;
    EXPECT_THAT(outcome.output + outcome.errors, HasSubstr(lookup.says)) << lookup.name;
  }
}

TEST_F(Launcher, SaysWhyAProgramDoesNotStart) {
  const std::string no_interpreter = Script("lost", "#!/no/such/interpreter\n");
  Outcome outcome = Launch(Start(ReadOnly(), {no_interpreter}));
  EXPECT_EQ(outcome.exit_status, 127);
  EXPECT_THAT(outcome.errors, HasSubstr("no such file or directory"));

  const std::string no_magic = Script("text", "echo not a script\n");
  outcome = Launch(Start(ReadOnly(), {no_magic}));
  EXPECT_EQ(outcome.exit_status, 126);
  EXPECT_THAT(outcome.errors, HasSubstr("exec format error"));

  // The floor denies what the mode allows.
  const std::string prog = Script("prog", "#!/bin/sh\necho ran\n");
  for (const uint64_t rights : {kRead, uint64_t{abi::kFsExecute}}) {
    PlannedLayer layer;
    layer.handled_fs = kHandled;
    layer.paths.push_back({"/usr", kRun, true, std::nullopt});
    layer.paths.push_back({dir_, rights, true, std::nullopt});
    outcome = Launch(Start(PlanOf(layer), {prog}));
    EXPECT_EQ(outcome.exit_status, 126);
    EXPECT_EQ(outcome.output, "");
    EXPECT_THAT(outcome.errors, HasSubstr("the policy must grant read and execute on " + prog));
  }
  PlannedLayer both;
  both.handled_fs = kHandled;
  both.paths.push_back({"/usr", kRun, true, std::nullopt});
  both.paths.push_back({dir_, kRun, true, std::nullopt});
  EXPECT_EQ(Launch(Start(PlanOf(both), {prog})).output, "ran\n");
}

TEST_F(Launcher, OpensRulePathsAsTheContainersUser) {
  ASSERT_EQ(chmod(dir_.c_str(), 0700), 0);
  Plan plan = ReadOnly();
  plan.layers[0].paths.push_back({dir_ + "/in", kRead, false, std::nullopt});
  std::filesystem::create_directory(dir_ + "/in");
  Case test = Start(plan, {"id", "-u"});
  test.before = [] { return setgroups(0, nullptr) == 0 && setgid(1000) == 0 && setuid(1000) == 0; };
  Outcome outcome = Launch(test);
  EXPECT_EQ(outcome.output, "1000\n");
  EXPECT_THAT(outcome.errors, HasSubstr(dir_ + "/in: out of the reach of uid 1000"));

  plan.layers[0].paths.back().required = true;
  test.plan = EncodePlan(plan);
  outcome = Launch(test);
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_EQ(outcome.output, "");
  EXPECT_THAT(outcome.errors, HasSubstr(dir_ + "/in: Permission denied"));
}

// --- what it refuses: no workload runs

TEST_F(Launcher, RefusesEveryPlanThatIsNone) {
  const std::string good = EncodePlan(ReadOnly());
  ASSERT_EQ(Shell(ReadOnly(), "echo ran").output, "ran\n");
  struct BadPlan {
    std::string bytes;
    std::string says;
  };
  std::string version = good;
  version[8] = 9;
  Plan bad_filter = ReadOnly();
  bad_filter.filter = std::vector<uint8_t>(16);
  Plan unknown_right = ReadOnly();
  unknown_right.layers[0].handled_fs |= 1ULL << 40;
  Plan gone = ReadOnly();
  gone.layers[0].paths.push_back({dir_ + "/gone", kRead, false, std::nullopt});
  Plan swapped = ReadOnly();
  swapped.layers[0].paths.push_back({dir_, kRead, false, sandbox::ObjectId{1, 2, 3}});
  const std::vector<BadPlan> bad = {
      {"", "the prestart hook has not run"},
      {"{}", "plan: offset"},
      {good.substr(0, good.size() - 1), "plan: offset"},
      {good + '\0', "bytes after the end"},
      {version, "version 9"},
      {std::string(sandbox::kMaxPlanBytes + 1, 'x'), "larger than"},
      {EncodePlan(bad_filter), "filter: seccomp: Invalid argument"},
      {EncodePlan(unknown_right), "policy test: landlock_create_ruleset: Invalid argument"},
      {EncodePlan(gone), dir_ + "/gone: No such file or directory"},
      {EncodePlan(swapped), dir_ + ": another object"},
  };
  for (const BadPlan& plan : bad) {
    Case test = Start({}, {"sh", "-c", "echo ran"});
    test.plan = plan.bytes;
    const Outcome outcome = Launch(test);
    EXPECT_EQ(outcome.exit_status, 1) << plan.says;
    EXPECT_EQ(outcome.output, "") << plan.says;
    EXPECT_THAT(outcome.errors, StartsWith("landgate: "));
    EXPECT_THAT(outcome.errors, HasSubstr(plan.says));
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
  }
}

TEST_F(Launcher, RefusesWithoutAPlanOrWithSomethingElseInItsPlace) {
  Case missing = Start({}, {"sh", "-c", "echo ran"});
  missing.has_plan = false;
  Outcome outcome = Launch(missing);
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_EQ(outcome.output, "");
  EXPECT_THAT(outcome.errors, HasSubstr("nothing would be confined"));

  Case fifo = missing;
  fifo.before = [] { return mkfifo("/dev/lg.plan", 0444) == 0; };
  outcome = Launch(fifo);  // and does not wait for a writer
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("not a regular file"));

  Case unreadable = Start(ReadOnly(), {"sh", "-c", "echo ran"});
  unreadable.before = [] { return chmod("/dev/lg.plan", 0) == 0 && setuid(1000) == 0; };
  outcome = Launch(unreadable);
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_EQ(outcome.output, "");
  EXPECT_THAT(outcome.errors, HasSubstr("Permission denied"));
}

TEST_F(Launcher, RefusesWhereTheEnginesProfileDeniesWhatItNeeds) {
  for (const char* name : {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
                           "capset", "seccomp"}) {
    Plan plan = ReadOnly();
    plan.keep = 0;
    plan.filter = FilterOf({});
    Case test = Start(plan, {"sh", "-c", "echo ran"});
    test.before = [name] {
      sandbox::FilterRequest request;
      request.deny_mount_api = false;
      request.denied_syscalls = {name};
      const Result<sandbox::Filter> filter = sandbox::BuildFilter(request);
      return filter && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
             sandbox::LoadFilter(filter->program);
    };
    const Outcome outcome = Launch(test);
    EXPECT_EQ(outcome.exit_status, 1) << name;
    EXPECT_EQ(outcome.output, "") << name;
    EXPECT_THAT(outcome.errors, HasSubstr("Operation not permitted")) << name;
  }
}

TEST_F(Launcher, AnExecSessionSkipsWhatIsGone) {
  Plan plan = ReadOnly();
  plan.layers[0].paths.push_back({dir_ + "/gone", kHandled, false, std::nullopt});
  plan.layers[0].paths.push_back({dir_, kRead, false, sandbox::ObjectId{1, 2, 3}});
  const Outcome outcome = Shell(plan, "echo ran", "exec");
  EXPECT_EQ(outcome.output, "ran\n");
  EXPECT_EQ(outcome.errors, "");  // the session's own output stays its own
}

// --- the program itself

TEST_F(Launcher, KnowsItsCommandLine) {
  Case test = Start(ReadOnly(), {});
  test.arguments = {"--version"};
  EXPECT_EQ(Launch(test).output, "landgate-init " LANDGATE_VERSION "\n");
  test.arguments = {"--help"};
  EXPECT_THAT(Launch(test).output, StartsWith("usage: "));
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{}, {"start"}, {"exec"}, {"run", "true"}, {"", "true"}}) {
    test.arguments = bad;
    const Outcome outcome = Launch(test);
    EXPECT_EQ(outcome.exit_status, 2);
    EXPECT_THAT(outcome.errors, StartsWith("usage: "));
  }
}

TEST_F(Launcher, IsSmallAndNeedsNoLoader) {
#if !defined(NDEBUG)
  GTEST_SKIP() << "holds for release builds";
#endif
  EXPECT_LE(std::filesystem::file_size(kLauncher), uintmax_t{1} << 20);
  std::ifstream file(kLauncher, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(bytes.find("/ld-linux"), std::string::npos);
}

}  // namespace
}  // namespace landgate
