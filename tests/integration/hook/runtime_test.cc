// landgate-runtime in front of a real runc.
#include <gmock/gmock.h>

#include <functional>

#include "tests/integration/hook/container_fixture.h"

namespace landgate::hook {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kTry[] =
    "cat /data/open/file; cat /data/closed/file || echo closed-denied;"
    "touch /tmp/made && echo tmp-written; touch /etc/made || echo etc-denied";

const auto IsConfined =
    AllOf(HasSubstr("open\n"), HasSubstr("closed-denied"), HasSubstr("tmp-written"),
          HasSubstr("etc-denied"), Not(HasSubstr("closed\n")));
const auto IsFree = AllOf(HasSubstr("open\n"), HasSubstr("closed\n"), Not(HasSubstr("denied")));

class RuntimeTest : public ContainerTest {
 protected:
  Outcome RuntimeRun(const std::string& flags = "") {
    return Sh(Runtime() + " " + flags + " run --bundle " + bundle() + " " + id_ + " </dev/null");
  }
  Outcome Exec(const std::string& script) {
    return Sh(Runtime() + " exec " + id_ + " /bin/sh -c '" + script + "'");
  }
  Outcome ExecDocument(const Json& process, const std::string& flags = "") {
    WriteText(dir_ / "process.json", process.dump());
    return Sh(Runtime() + " exec " + flags + " --process " + (dir_ / "process.json").string() +
              " " + id_ + " 3</dev/null");
  }
  void Start() {
    WriteBundle({"/bin/sleep", "1000"});
    const Outcome started = StartSleeping(Runtime());
    ASSERT_EQ(started.status, 0) << started.output;
  }
  Json Process(const std::string& script) {
    return {{"args", {"/bin/sh", "-c", script}},
            {"cwd", "/"},
            {"env", {"PATH=/bin"}},
            {"user", {{"uid", 0}, {"gid", 0}}},
            {"capabilities",
             {{"bounding", {"CAP_SYS_ADMIN", "CAP_KILL"}},
              {"effective", {"CAP_SYS_ADMIN", "CAP_KILL"}},
              {"permitted", {"CAP_SYS_ADMIN", "CAP_KILL"}}}}};
  }
};

TEST_F(RuntimeTest, RunsUnderTheAnnotatedPolicy) {
  WriteBundle({"/bin/sh", "-c", kTry});
  EXPECT_THAT(RuntimeRun().output, IsConfined);
  EXPECT_FALSE(fs::exists(container_dir()));
}

TEST_F(RuntimeTest, WithoutPolicyTheBundleIsUntouched) {
  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", Json::object()}});
  const std::string before = ReadText(bundle() + "/config.json");
  EXPECT_THAT(RuntimeRun().output, IsFree);
  EXPECT_EQ(ReadText(bundle() + "/config.json"), before);
}

TEST_F(RuntimeTest, TheCommandLineNamesAPolicyForEveryContainer) {
  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", Json::object()}});
  EXPECT_THAT(RuntimeRun("--landgate-policy work").output, IsConfined);
  // Engines hand it to every command.
  EXPECT_EQ(Sh(Runtime() + " --landgate-policy=work list").status, 0);
}

TEST_F(RuntimeTest, TheDefaultPolicyHoldsBesidesWhatAnAnnotationChooses) {
  Configure({{"defaultPolicy", "work"}});
  WriteText(dir_ / "policies/weak.json", R"({"landgate": 1})");
  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", {{"io.landgate.policy", "weak"}}}});
  EXPECT_THAT(RuntimeRun().output, IsConfined);
}

TEST_F(RuntimeTest, ARefusalIsSaidWhereEnginesLook) {
  WriteBundle({"/bin/touch", "/tmp/ran"}, {{"annotations", {{"io.landgate.polcy", "work"}}}});
  const std::string log = dir_ / "log.json";
  const Outcome outcome = RuntimeRun("--log " + log + " --log-format json");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("io.landgate.polcy"));
  const Json line = Json::parse(ReadText(log), nullptr, false);
  ASSERT_TRUE(line.is_object()) << ReadText(log);
  EXPECT_EQ(line["level"], "error");
  EXPECT_THAT(line["msg"].get<std::string>(), HasSubstr("io.landgate.polcy"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));

  fs::remove(log);
  EXPECT_EQ(RuntimeRun("--log " + log + " --log-format json --mystery").status, 2);
  EXPECT_THAT(ReadText(log), HasSubstr("--mystery"));
}

TEST_F(RuntimeTest, ExecSessionsAreConfinedInBothForms) {
  Start();
  EXPECT_THAT(Exec(kTry).output, IsConfined);
  EXPECT_THAT(ExecDocument(Process(kTry)).output, IsConfined);
  EXPECT_EQ(Exec("exit 9").status, 9);
  EXPECT_EQ(Sh(Runtime() + " exec " + id_ + " /bin/absent").status, 127);
  const Outcome free = Sh("runc exec " + id_ + " /bin/sh -c '" + kTry + "'");
  EXPECT_THAT(free.output, Not(HasSubstr("etc-denied"))) << "the container itself allows it";
}

TEST_F(RuntimeTest, ExecSessionsLoseTheCapabilitiesThatThePolicyDoesNotKeep) {
  WritePolicy("work", {{"capabilities", {{"keep", {"CAP_KILL"}}}}});
  Start();
  const Outcome outcome = ExecDocument(Process("grep Cap /proc/self/status"));
  EXPECT_THAT(outcome.output, HasSubstr("CapPrm:\t0000000000000020"));
  EXPECT_THAT(outcome.output, HasSubstr("CapBnd:\t0000000000000020"));
}

TEST_F(RuntimeTest, ExecSessionsGetNoDescriptorOfOurs) {
  Start();
  // ls itself has its directory open: number 3, or 4 beside one that was handed over.
  const std::string list = "ls /proc/self/fd";
  EXPECT_EQ(ExecDocument(Process(list)).output, "0\n1\n2\n3\n");
  EXPECT_EQ(ExecDocument(Process(list), "--preserve-fds 1").output, "0\n1\n2\n3\n4\n");
  EXPECT_EQ(Exec(list).output, "0\n1\n2\n3\n");
}

TEST_F(RuntimeTest, ExecSessionsOfOtherContainersPassThrough) {
  WriteBundle({"/bin/sleep", "1000"}, {{"annotations", Json::object()}});
  const Outcome started = StartSleeping(Runtime());
  ASSERT_EQ(started.status, 0) << started.output;
  EXPECT_THAT(Exec(kTry).output, IsFree);
}

TEST_F(RuntimeTest, ExecSessionsAreRefusedWhereThePolicySaysSo) {
  WritePolicy("work", {{"execSessions", "refused"}});
  Start();
  const Outcome outcome = Exec("touch /tmp/ran");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("refuses exec sessions"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

TEST_F(RuntimeTest, WithoutItsRecordAContainerTakesNoExecSession) {
  Start();
  fs::remove(container_dir() / "record.json");
  const Outcome outcome = Exec("touch /tmp/ran");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("record.json is gone"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

// Without a record it is the runtime that tells whose container this is, or nobody.
TEST_F(RuntimeTest, WhereNobodyCanTellAnExecSessionIsRefused) {
  Start();
  fs::remove(container_dir() / "record.json");
  WriteText(
      dir_ / "half-broken",
      "#!/bin/sh\n[ \"$1\" != state ] || { echo out of memory >&2; exit 1; }\nexec runc \"$@\"\n");
  fs::permissions(dir_ / "half-broken", fs::perms(0755));
  Configure({{"runtime", (dir_ / "half-broken").string()}});
  Outcome outcome = Exec("touch /tmp/ran");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("can't be told"), HasSubstr("out of memory")));

  Configure(Json::object());
  fs::rename(bundle() + "/config.json", bundle() + "/config.json.away");
  outcome = Exec("touch /tmp/ran");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("can't be told"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));

  outcome = Sh(Runtime() + " exec no-such-container /bin/true");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("does not exist"));
}

TEST_F(RuntimeTest, ARecordOfAnotherLauncherOrPlanRefusesTheSession) {
  Start();
  for (const char* object : {"launcher", "plan"}) {
    const std::string before = ReadText(container_dir() / "record.json");
    Json record = Json::parse(before);
    record[object]["inode"] = record[object]["inode"].get<uint64_t>() + 1;
    WriteText(container_dir() / "record.json", record.dump());
    const Outcome outcome = Exec("touch /tmp/ran");
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.output, HasSubstr("is not what was mounted there"));
    EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
    WriteText(container_dir() / "record.json", before);
  }
  EXPECT_THAT(Exec(kTry).output, IsConfined);
}

TEST_F(RuntimeTest, ContainerRootCanNotGetLauncherOrPlanOutOfTheWay) {
  // Every capability that the engine can give, and /dev writable to the last right.
  WritePolicy("work", {{"paths",
                        {{{"allow", {"all"}}, {"beneath", {"/"}}},
                         {{"deny", {"all"}}, {"beneath", {"/data/closed"}}}}}});
  WriteBundle({"/bin/sh", "-c",
               "mv /dev/lg /dev/x; rm -f /dev/lg; rm -f /dev/lg.plan; mv /dev/lg.plan /dev/y;"
               "mv /dev /dev2; rmdir /dev; cp /bin/busybox /dev/lg; echo x >/dev/lg.plan;"
               "mount -t tmpfs t /dev; umount /dev/lg; umount -l /dev/lg.plan;"
               "mount -o remount,rw /dev/lg.plan; mount --bind /bin/busybox /dev/lg; ln -sf "
               "/bin/sh /dev/lg;"
               "touch /tmp/tried; sleep 1000"});
  EditBundle([](Json& config) {
    const Json all = {"CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
                      "CAP_CHOWN",     "CAP_MKNOD",        "CAP_SYS_CHROOT",      "CAP_SYS_PTRACE"};
    for (const char* set : {"bounding", "effective", "permitted"}) {
      config["process"]["capabilities"][set] = all;
    }
  });
  const Outcome started = StartSleeping(Runtime());
  ASSERT_EQ(started.status, 0) << started.output;
  const Outcome waited = Sh("for i in $(seq 500); do [ -e " + bundle() +
                            "/rootfs/tmp/tried ] && exit 0; sleep 0.02; done; exit 1");
  ASSERT_EQ(waited.status, 0) << "the attack did not run to its end";
  const Outcome outcome = Exec("cat /data/closed/file || echo closed-denied; cat /data/open/file");
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("closed-denied"), HasSubstr("open\n")));
}

TEST_F(RuntimeTest, CheckpointAndRestoreOfAContainerUnderAPolicyAreRefused) {
  Start();
  const Outcome checkpoint = Sh(Runtime() + " checkpoint " + id_);
  EXPECT_EQ(checkpoint.status, 1);
  EXPECT_THAT(checkpoint.output, HasSubstr("not supported for a container under a policy"));
  const Outcome restore = Sh(Runtime() + " restore --bundle " + bundle() + " other");
  EXPECT_EQ(restore.status, 1);
  EXPECT_THAT(restore.output, HasSubstr("not supported for a container under a policy"));
}

TEST_F(RuntimeTest, AStaleRecordDoesNotOutliveItsContainer) {
  fs::create_directories(container_dir());
  WriteText(container_dir() / "record.json", "{}");
  fs::permissions(run_dir(), fs::perms(0755));
  WriteBundle({"/bin/true"}, {{"annotations", Json::object()}});
  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", Json::object()}});
  EXPECT_THAT(RuntimeRun().output, IsFree);
  EXPECT_FALSE(fs::exists(container_dir()));
}

// Engines with state directories of their own may use an id twice at a time.
TEST_F(RuntimeTest, ARunningContainersRecordIsNotReplaced) {
  Start();
  const std::string before = ReadText(container_dir() / "record.json");
  const std::string other_root = (dir_ / "other-root").string();
  const auto run_again = [&] {
    return Sh(Runtime() + " --root " + other_root + " run --bundle " + bundle() + " " + id_ +
              " </dev/null");
  };
  WritePolicy("lax", {{"execSessions", "unconfined"}});
  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", {{"io.landgate.policy", "lax"}}}});
  const Outcome lax = run_again();
  EXPECT_NE(lax.status, 0);
  EXPECT_THAT(lax.output, HasSubstr("runs under a policy already"));

  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", Json::object()}});
  EXPECT_THAT(run_again().output, HasSubstr("runs under a policy already"));
  EXPECT_EQ(ReadText(container_dir() / "record.json"), before);
  EXPECT_THAT(Exec(kTry).output, IsConfined);
}

TEST_F(RuntimeTest, EverythingElseReachesTheRealRuntimeUntouched) {
  WriteText(dir_ / "fake", "#!/bin/sh\nfor a in \"$@\"; do printf '<%s>' \"$a\"; done\n");
  fs::permissions(dir_ / "fake", fs::perms(0755));
  Configure({{"runtime", dir_ / "fake"}});
  EXPECT_EQ(Sh(Runtime() + " --root '' --debug kill 'a b' --all KILL ''").output,
            "<--root><><--debug><kill><a b><--all><KILL><>");
  EXPECT_EQ(Sh(Runtime() + " --version").output, "<--version>");
  EXPECT_EQ(Sh(Runtime() + " --landgate-policy p features").output, "<features>");
  EXPECT_EQ(Sh(Runtime() + " exec --help").output, "<exec><--help>");
  EXPECT_EQ(Sh(Runtime() + " --landgate-version").status, 0);
  EXPECT_EQ(Sh(Runtime() + " --mystery create").status, 2);
}

TEST_F(RuntimeTest, ItNeverTakesItselfForTheRealRuntime) {
  Configure({{"runtime", std::string(LANDGATE_BIN_DIR) + "/landgate-runtime"}});
  const Outcome outcome = Sh(Runtime() + " list");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.output, HasSubstr("is not an executable that could be the runtime"));
}

}  // namespace
}  // namespace landgate::hook
