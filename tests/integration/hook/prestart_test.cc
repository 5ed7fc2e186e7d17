// The config-patch shape with plain runc: inject, prestart, launcher, poststop.
#include <gmock/gmock.h>

#include <fstream>
#include <functional>

#include "tests/integration/hook/container_fixture.h"

namespace landgate::hook {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kTry[] =
    "cat /data/open/file; cat /data/closed/file || echo closed-denied;"
    "touch /tmp/made && echo tmp-written; touch /etc/made || echo etc-denied";

class PrestartTest : public ContainerTest {};

TEST_F(PrestartTest, AnInjectedBundleRunsUnderItsFloor) {
  WriteBundle({"/bin/sh", "-c", kTry});
  ASSERT_EQ(Inject().status, 0);
  const Outcome outcome = RuncRun();
  EXPECT_THAT(outcome.output, HasSubstr("open\n"));
  EXPECT_THAT(outcome.output, HasSubstr("closed-denied"));
  EXPECT_THAT(outcome.output, HasSubstr("tmp-written"));
  EXPECT_THAT(outcome.output, HasSubstr("etc-denied"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("closed\n")));
  EXPECT_FALSE(fs::exists(container_dir())) << "poststop leaves nothing";
}

TEST_F(PrestartTest, TheSameBundleWithoutPolicyKeepsItsBytesAndDoesEverything) {
  WriteBundle({"/bin/sh", "-c", kTry}, {{"annotations", Json::object()}});
  const std::string before = ReadText(bundle() + "/config.json");
  ASSERT_EQ(Inject().status, 0);
  EXPECT_EQ(ReadText(bundle() + "/config.json"), before);
  const Outcome outcome = RuncRun();
  EXPECT_THAT(outcome.output, HasSubstr("closed\n"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("denied")));
}

TEST_F(PrestartTest, InjectTwiceIsInjectOnce) {
  WriteBundle({"/bin/sh", "-c", kTry});
  ASSERT_EQ(Inject().status, 0);
  const std::string once = ReadText(bundle() + "/config.json");
  ASSERT_EQ(Inject().status, 0);
  EXPECT_EQ(ReadText(bundle() + "/config.json"), once);
}

// A path in linux.namespaces may lead to the host's namespace by any name.
TEST_F(PrestartTest, NamespacesOfTheHostTurnScopesOnHoweverTheyAreNamed) {
  const auto scopes = [this](const Json& network) {
    WriteBundle({"/bin/sleep", "1000"});
    EditBundle([&](Json& config) {
      for (Json& ns : config["linux"]["namespaces"]) {
        if (ns["type"] == "network") ns = network;
      }
      config["annotations"]["io.landgate.policy"] = "work";
    });
    const Outcome started = StartSleeping(Runtime());
    EXPECT_EQ(started.status, 0) << started.output;
    const Json floor = Json::parse(ReadText(container_dir() / "floor.json"));
    (void)Sh("runc delete -f " + id_);
    return floor["layers"][0]["scopes"].dump();
  };
  EXPECT_EQ(scopes({{"type", "network"}}), "[]");
  const std::string named = (dir_ / "some-network").string();
  WriteText(named, "");
  ASSERT_EQ(Sh("mount --bind /proc/self/ns/net " + named).status, 0);
  EXPECT_THAT(scopes({{"type", "network"}, {"path", named}}), HasSubstr("abstract-unix"));
  EXPECT_EQ(Sh("umount " + named).status, 0);
}

TEST_F(PrestartTest, ExitStatusAndSignalsAreTheWorkloads) {
  WriteBundle({"/bin/sh", "-c", "exit 7"});
  ASSERT_EQ(Inject().status, 0);
  EXPECT_EQ(RuncRun().status, 7);
}

TEST_F(PrestartTest, APolicyThatChangedSinceThePatchKeepsTheContainerFromStarting) {
  WriteBundle({"/bin/touch", "/tmp/ran"});
  ASSERT_EQ(Inject().status, 0);
  WritePolicy("work", {{"capabilities", {{"keep", Json::array()}}}});
  const Outcome outcome = RuncRun();
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("is not what the container's policies require"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
  EXPECT_FALSE(fs::exists(container_dir()));
}

TEST_F(PrestartTest, AnAnnotationTakenOutOfAPatchedBundleKeepsItFromStarting) {
  WriteBundle({"/bin/touch", "/tmp/ran"});
  ASSERT_EQ(Inject().status, 0);
  EditBundle([](Json& config) { config.erase("annotations"); });
  const Outcome outcome = RuncRun();
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("no policy is selected"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

TEST_F(PrestartTest, WithoutTheHookTheLauncherFindsAnEmptyPlanAndRefuses) {
  WriteBundle({"/bin/touch", "/tmp/ran"});
  ASSERT_EQ(Inject().status, 0);
  EditBundle([](Json& config) {
    config.erase("hooks");
    config["linux"].erase("seccomp");  // nobody would serve its listener
  });
  const Outcome outcome = RuncRun();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("landgate:"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

TEST_F(PrestartTest, APolicyWithoutPatchIsRefusedWithTheWays) {
  WriteBundle({"/bin/touch", "/tmp/ran"});
  EditBundle([this](Json& config) {
    config["hooks"]["prestart"] = {
        {{"path", std::string(LANDGATE_BIN_DIR) + "/landgate-hook"},
         {"args", {"landgate-hook", "prestart", "--config", config_file()}}}};
  });
  const Outcome outcome = RuncRun();
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("landgate-hook inject --bundle"));
  EXPECT_THAT(outcome.output, HasSubstr("landgate-runtime"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

TEST_F(PrestartTest, ThePlainHookLeavesContainersWithoutPolicyAlone) {
  WriteBundle({"/bin/touch", "/tmp/ran"}, {{"annotations", Json::object()}});
  EditBundle([this](Json& config) {
    config["hooks"]["createRuntime"] = {
        {{"path", std::string(LANDGATE_BIN_DIR) + "/landgate-hook"},
         {"args", {"landgate-hook", "createRuntime", "--config", config_file()}}}};
  });
  const Outcome outcome = RuncRun();
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

TEST_F(PrestartTest, AnImageWhoseDevIsASymlinkIsRefused) {
  fs::remove(bundle() + "/rootfs/dev");
  fs::create_directory(bundle() + "/rootfs/elsewhere");
  fs::create_directory_symlink("elsewhere", bundle() + "/rootfs/dev");
  WriteBundle({"/bin/touch", "/tmp/ran"});
  ASSERT_EQ(Inject().status, 0);
  EXPECT_NE(RuncRun().status, 0);
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

TEST_F(PrestartTest, NothingPropagatesToTheHostAndNothingStaysInTheVolume) {
  const fs::path volume = dir_ / "volume";
  fs::create_directories(volume / "secret");
  WriteText(volume / "secret/file", "closed\n");
  ASSERT_EQ(Sh("mount --bind " + volume.string() + " " + volume.string() +
               " && mount --make-shared " + volume.string())
                .status,
            0);
  WritePolicy("work", {{"paths",
                        {{{"allow", {"read", "execute"}}, {"beneath", {"/"}}},
                         {{"deny", {"all"}}, {"beneath", {"/volume/secret"}}}}}});
  WriteBundle({"/bin/sh", "-c", "cat /volume/secret/file || echo denied"});
  EditBundle([&](Json& config) {
    config["mounts"].push_back({{"destination", "/volume"},
                                {"type", "bind"},
                                {"source", volume},
                                {"options", {"rbind", "rprivate"}}});
  });
  ASSERT_EQ(Inject().status, 0);
  const Outcome outcome = RuncRun();
  EXPECT_THAT(outcome.output, HasSubstr("denied"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("closed")));
  EXPECT_THAT(Sh("cat /proc/self/mountinfo").output, Not(HasSubstr((volume / "secret").string())));
  EXPECT_EQ(ReadText(volume / "secret/file"), "closed\n");

  EditBundle([&](Json& config) { config["mounts"].back() = config["mounts"].back(); });
  WriteBundle({"/bin/touch", "/tmp/ran"});
  EditBundle([&](Json& config) {
    config["mounts"].push_back({{"destination", "/volume"},
                                {"type", "bind"},
                                {"source", volume},
                                {"options", {"rbind", "rshared"}}});
    config["linux"]["rootfsPropagation"] = "shared";
  });
  ASSERT_EQ(Inject().status, 0);
  EXPECT_NE(RuncRun().status, 0) << "a mask on a shared mount would reach the host";
  EXPECT_THAT(Sh("cat /proc/self/mountinfo").output, Not(HasSubstr((volume / "secret").string())));
  EXPECT_EQ(Sh("umount " + volume.string()).status, 0);
}

TEST_F(PrestartTest, ExecSessionsAreRefusedUnlessThePolicySaysUnconfined) {
  WriteBundle({"/bin/sleep", "1000"});
  ASSERT_EQ(Inject().status, 0);
  Outcome started = StartSleeping("runc");
  ASSERT_EQ(started.status, 0) << started.output;
  EXPECT_TRUE(fs::exists(container_dir() / "record.json"));
  const Outcome refused = Sh("runc exec " + id_ + " /bin/touch /tmp/ran");
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr("seccomp agent"));
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/ran"));
  EXPECT_EQ(Sh("runc delete -f " + id_).status, 0);
  EXPECT_FALSE(fs::exists(container_dir()));

  WritePolicy("work", {{"execSessions", "unconfined"}});
  WriteBundle({"/bin/sleep", "1000"});
  ASSERT_EQ(Inject().status, 0);
  started = StartSleeping("runc");
  ASSERT_EQ(started.status, 0) << started.output;
  EXPECT_EQ(Sh("runc exec " + id_ + " /bin/touch /tmp/ran").status, 0);
  EXPECT_TRUE(fs::exists(bundle() + "/rootfs/tmp/ran"));
}

// While a second container from the bundle starts somebody accepts at the socket of the first.
TEST_F(PrestartTest, OneInjectedBundleStartsOneContainerAtATime) {
  WriteBundle({"/bin/sleep", "60"});
  ASSERT_EQ(Inject().status, 0);
  ASSERT_EQ(StartSleeping("runc").status, 0);
  const std::string second = id_ + "-second";
  const Outcome refused = Sh("runc run -d --bundle " + bundle() + " " + second +
                             " </dev/null; runc delete -f " + second);
  EXPECT_THAT(refused.output, HasSubstr("runs from the same bundle"));
  EXPECT_NE(Sh("runc exec " + id_ + " /bin/touch /tmp/exec-ran").status, 0);
  EXPECT_FALSE(fs::exists(bundle() + "/rootfs/tmp/exec-ran"));
  ASSERT_EQ(Sh("runc delete -f " + id_).status, 0);
  // The first is gone, with its record or without.
  EXPECT_EQ(StartSleeping("runc").status, 0);
}

TEST_F(PrestartTest, AConfigurationOthersCanWriteIsRefused) {
  WriteBundle({"/bin/touch", "/tmp/ran"});
  fs::permissions(config_file(), fs::perms(0666));
  const Outcome outcome = Inject();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("chmod go-w"));
}

TEST_F(PrestartTest, CommandLineErrorsAreTwo) {
  EXPECT_EQ(Sh(Program("landgate-hook")).status, 2);
  EXPECT_EQ(Sh(Program("landgate-hook") + " inject").status, 2);
  EXPECT_EQ(Sh(Program("landgate-hook") + " prestart --front-end x </dev/null").status, 2);
  EXPECT_EQ(Sh(Program("landgate-hook") + " --version").status, 0);
}

TEST_F(PrestartTest, PrecreateWritesAllOrNothing) {
  WriteBundle({"/bin/true"}, {{"annotations", {{"io.landgate.policy", "absent"}}}});
  const std::string precreate =
      Program("landgate-hook") + " precreate <" + bundle() + "/config.json";
  const Outcome refused = Sh(precreate + " 2>/dev/null");
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.output, "");
  WriteBundle({"/bin/true"}, {{"annotations", Json::object()}});
  EXPECT_EQ(Sh(precreate).output, ReadText(bundle() + "/config.json"));
}

TEST_F(PrestartTest, PoststopIsIdempotent) {
  const std::string state = R"({"ociVersion":"1.0.2","id":")" + id_ +
                            R"(","status":"stopped","pid":0,"bundle":")" + bundle() + R"("})";
  WriteText(dir_ / "state", state);
  const std::string poststop = Program("landgate-hook") + " poststop <" + (dir_ / "state").string();
  EXPECT_EQ(Sh(poststop).status, 0);
  EXPECT_EQ(Sh(poststop).status, 0);
}

}  // namespace
}  // namespace landgate::hook
