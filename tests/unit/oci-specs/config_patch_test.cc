#include "oci-specs/config_patch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "oci-specs/seccomp_profile.h"

namespace landgate::oci {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::ordered_json;

constexpr CapabilitySet Bit(int number) { return CapabilitySet{1} << number; }

PatchRequest Request() {
  PatchRequest request;
  request.launcher_source = "/usr/libexec/landgate/landgate-init";
  request.plan_source = "/usr/libexec/landgate/empty";
  request.prestart = {{"/usr/bin/landgate-hook", {"landgate-hook", "prestart"}, {}}};
  request.poststop = {{"/usr/bin/landgate-hook", {"landgate-hook", "poststop"}, {}}};
  return request;
}

// What the golden pairs are made with: everything at once.
PatchRequest FullRequest() {
  PatchRequest request = Request();
  request.prestart[0].args = {"landgate-hook", "prestart", "--config", "/etc/other.json"};
  request.prestart[0].env = {"HOME=/root"};
  request.keep = Bit(0) | Bit(*CapabilityNumber("CAP_NET_BIND_SERVICE"));
  request.masked_paths = {"/proc/kallsyms", "/proc/kcore"};
  request.readonly_paths = {"/proc/sysrq-trigger", "/sys/power"};
  request.listener = Listener{"/run/landgate/exec/refuse.sock", "refuse", {kExecRefusalSyscall}};
  return request;
}

// An agent answers: it turns exec sessions to the launcher.
PatchRequest AgentRequest() {
  PatchRequest request = FullRequest();
  request.listener = Listener{"/run/landgate/agent.sock", kAgentMetadata, kExecNotifications};
  return request;
}

// Audit mode: only watched.
PatchRequest AuditRequest() {
  PatchRequest request;
  request.confine = false;
  request.prestart = Request().prestart;
  request.poststop = Request().poststop;
  request.listener = Listener{"/run/landgate/agent.sock", kAgentMetadata, kAuditNotifications};
  return request;
}

// What every run of every test holds: a second patch changes nothing and reports the same.
Result<Patched> Patch(const std::string& config, const PatchRequest& request = Request()) {
  Result<Patched> patched = PatchConfig(config, "config.json", request);
  if (!patched) return patched;
  EXPECT_EQ(patched->changed, patched->text != config);
  Result<Patched> again = PatchConfig(patched->text, "config.json", request);
  EXPECT_TRUE(again) << (again ? "" : again.error().message);
  if (!again) return again;
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(again->text, patched->text);
  EXPECT_EQ(again->opened_syscalls, patched->opened_syscalls);
  EXPECT_EQ(again->profile_errno, patched->profile_errno);
  return patched;
}

Json MustPatch(const Json& config, const PatchRequest& request = Request()) {
  Result<Patched> patched = Patch(config.dump(), request);
  EXPECT_TRUE(patched) << (patched ? "" : patched.error().message);
  return patched ? Json::parse(patched->text) : Json();
}

std::string ErrorOf(const Json& config, const PatchRequest& request = Request()) {
  Result<Patched> patched = PatchConfig(config.dump(), "config.json", request);
  return patched ? "accepted" : patched.error().message;
}

Json Minimal() {
  return Json::parse(R"({"ociVersion":"1.0.2","process":{"args":["sh"]},
    "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
              {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid"]}],
    "linux":{"namespaces":[{"type":"mount"}]}})");
}

Json Mount(const std::string& destination, const std::string& type = "bind") {
  return Json{
      {"destination", destination}, {"type", type}, {"source", "/x"}, {"options", {"rbind"}}};
}

// --- what is written -------------------------------------------------------------------------

TEST(PatchConfigTest, MinimalPatch) {
  const Json patched = MustPatch(Minimal());
  Json expected = Minimal();
  expected["process"]["args"] = {"/dev/lg", "start", "sh"};
  expected["mounts"].push_back({{"destination", "/dev/lg"},
                                {"type", "bind"},
                                {"source", "/usr/libexec/landgate/landgate-init"},
                                {"options", {"bind", "private", "ro", "nosuid", "nodev"}}});
  expected["mounts"].push_back(
      {{"destination", "/dev/lg.plan"},
       {"type", "bind"},
       {"source", "/usr/libexec/landgate/empty"},
       {"options", {"bind", "private", "ro", "nosuid", "nodev", "noexec"}}});
  expected["hooks"] = {{"prestart", Json::array({{{"path", "/usr/bin/landgate-hook"},
                                                  {"args", {"landgate-hook", "prestart"}}}})},
                       {"poststop", Json::array({{{"path", "/usr/bin/landgate-hook"},
                                                  {"args", {"landgate-hook", "poststop"}}}})}};
  EXPECT_EQ(patched, expected);
}

TEST(PatchConfigTest, NullsCountAsAbsent) {
  Json config = Minimal();
  config["hooks"] = nullptr;
  config["process"]["capabilities"] = nullptr;
  config["linux"]["seccomp"] = nullptr;
  config["linux"]["maskedPaths"] = nullptr;
  PatchRequest request = Request();
  request.keep = 0;
  request.masked_paths = {"/proc/x"};
  const Json patched = MustPatch(config, request);
  EXPECT_EQ(patched["linux"]["maskedPaths"], Json({"/proc/x"}));
  EXPECT_EQ(patched["linux"]["seccomp"], Json());
  EXPECT_EQ(patched["hooks"]["prestart"].size(), 1U);
}

TEST(PatchConfigTest, PathsAreAddedOnce) {
  Json config = Minimal();
  config["linux"]["maskedPaths"] = {"/proc/kcore"};
  PatchRequest request = Request();
  request.masked_paths = {"/proc/kcore", "/proc/keys", "/proc/keys"};
  request.readonly_paths = {"/proc/sys"};
  const Json patched = MustPatch(config, request);
  EXPECT_EQ(patched["linux"]["maskedPaths"], Json({"/proc/kcore", "/proc/keys"}));
  EXPECT_EQ(patched["linux"]["readonlyPaths"], Json({"/proc/sys"}));
  config.erase("linux");
  EXPECT_EQ(MustPatch(config, request)["linux"]["readonlyPaths"], Json({"/proc/sys"}));
  EXPECT_FALSE(MustPatch(config).contains("linux"));
}

TEST(PatchConfigTest, CapabilitiesOnlyShrink) {
  Json config = Minimal();
  for (const char* set : {"bounding", "effective", "inheritable", "permitted", "ambient"}) {
    config["process"]["capabilities"][set] = {"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_KILL"};
  }
  PatchRequest request = Request();
  EXPECT_EQ(MustPatch(config, request)["process"]["capabilities"],
            config["process"]["capabilities"]);
  request.keep = Bit(*CapabilityNumber("CAP_KILL")) | Bit(*CapabilityNumber("CAP_BPF"));
  Json patched = MustPatch(config, request);
  for (const char* set : {"bounding", "effective", "inheritable", "permitted", "ambient"}) {
    EXPECT_EQ(patched["process"]["capabilities"][set], Json({"CAP_KILL"}));
  }
  // A later patch with a larger set gives nothing back.
  request.keep = kAllCapabilities;
  EXPECT_EQ(MustPatch(patched, request)["process"]["capabilities"],
            patched["process"]["capabilities"]);
}

TEST(PatchConfigTest, ForeignHooksStayInPlace) {
  Json config = Minimal();
  const Json foreign = {{"path", "/x"}, {"args", {"x", "landgate-hook"}}, {"timeout", 1.5}};
  config["hooks"] = {{"createRuntime", {foreign}}, {"prestart", {foreign, foreign}}, {"new", 1}};
  const Json patched = MustPatch(config);
  EXPECT_EQ(patched["hooks"]["createRuntime"], config["hooks"]["createRuntime"]);
  ASSERT_EQ(patched["hooks"]["prestart"].size(), 3U);
  EXPECT_EQ(patched["hooks"]["prestart"][0], foreign);
  EXPECT_EQ(patched["hooks"]["prestart"][1], foreign);
  EXPECT_EQ(patched["hooks"]["new"], 1);
}

// --- patching what is patched ------------------------------------------------------------------

TEST(PatchConfigTest, AnotherPatchOfOursIsReplaced) {
  Json config = Minimal();
  config["process"]["capabilities"]["bounding"] = {"CAP_CHOWN", "CAP_KILL"};
  const Json full = MustPatch(config, FullRequest());
  PatchRequest request = Request();
  request.launcher_source = "/opt/landgate-init";
  request.plan_source = "/opt/empty";
  request.prestart = {{"/opt/landgate-hook", {"landgate-hook", "prestart"}, {"A=b"}}};
  request.poststop.clear();
  const Json patched = MustPatch(full, request);
  EXPECT_EQ(patched["process"]["args"], Json({"/dev/lg", "start", "sh"}));
  EXPECT_EQ(patched["process"]["capabilities"]["bounding"], Json({"CAP_CHOWN"}));
  ASSERT_EQ(patched["mounts"].size(), 4U);
  EXPECT_EQ(patched["mounts"][2]["source"], "/opt/landgate-init");
  EXPECT_EQ(patched["mounts"][3]["source"], "/opt/empty");
  EXPECT_EQ(patched["hooks"]["prestart"], Json::array({{{"path", "/opt/landgate-hook"},
                                                        {"args", {"landgate-hook", "prestart"}},
                                                        {"env", {"A=b"}}}}));
  EXPECT_EQ(patched["hooks"]["poststop"], Json::array());
  EXPECT_FALSE(patched["linux"]["seccomp"].contains("listenerPath"));
  EXPECT_EQ(patched["linux"]["seccomp"]["syscalls"], Json::array());
}

TEST(PatchConfigTest, EveryTamperingIsAChange) {
  const Json patched = MustPatch(Minimal(), FullRequest());
  const std::vector<std::function<void(Json&)>> tamperings = {
      [](Json& c) { c["process"]["args"] = {"sh"}; },
      [](Json& c) { c["process"]["args"][1] = "exec"; },
      [](Json& c) { c["hooks"]["prestart"].clear(); },
      [](Json& c) { c["hooks"]["prestart"][0]["path"] = "/bin/true"; },
      [](Json& c) { c["hooks"]["prestart"][0]["args"].push_back("x"); },
      [](Json& c) { c["hooks"]["prestart"][0]["env"] = {"LD_PRELOAD=/x"}; },
      [](Json& c) { c["hooks"]["prestart"][0]["timeout"] = 1; },
      [](Json& c) { c["hooks"]["prestart"].push_back(Json(c["hooks"]["prestart"][0])); },
      [](Json& c) { c["hooks"].erase("poststop"); },
      [](Json& c) { c["mounts"].erase(2); },
      [](Json& c) { c["mounts"].erase(3); },
      [](Json& c) { c["mounts"][2]["source"] = "/evil"; },
      [](Json& c) { c["mounts"][2]["options"] = {"bind"}; },
      [](Json& c) { c["mounts"][2]["uidMappings"] = Json::array(); },
      [](Json& c) { c["mounts"][3]["source"] = "/evil"; },
      [](Json& c) { c["mounts"].push_back(Json(c["mounts"][2])); },
      [](Json& c) { c["mounts"].push_back(Mount("dev//lg/")); },
      [](Json& c) { std::swap(c["mounts"][1], c["mounts"][2]); },
      [](Json& c) { std::swap(c["mounts"][1], c["mounts"][3]); },
      [](Json& c) { c["linux"]["maskedPaths"].erase(0); },
      [](Json& c) { c["linux"]["readonlyPaths"].clear(); },
      [](Json& c) { c["linux"]["seccomp"]["listenerPath"] = "/x"; },
      [](Json& c) { c["linux"]["seccomp"]["listenerMetadata"] = "x"; },
      [](Json& c) {
        c["linux"]["seccomp"]["syscalls"].clear();
        c["linux"]["seccomp"].erase("listenerPath");
      },
      [](Json& c) { c["linux"].erase("seccomp"); },
      [](Json& c) { c["process"]["capabilities"]["bounding"] = {"CAP_SYS_ADMIN"}; },
  };
  size_t index = 0;
  for (const auto& tamper : tamperings) {
    Json tampered = patched;
    tamper(tampered);
    Result<Patched> again = PatchConfig(tampered.dump(), "config.json", FullRequest());
    EXPECT_TRUE(!again || again->changed) << index;
    ++index;
  }
  // What others add behind our patch without touching it is no tampering.
  Json extended = patched;
  extended["mounts"].push_back(Mount("/data"));
  extended["hooks"]["prestart"].push_back({{"path", "/x"}});
  extended["process"]["env"] = {"A=b"};
  extended["linux"]["maskedPaths"].push_back("/proc/more");
  Result<Patched> again = PatchConfig(extended.dump(), "config.json", FullRequest());
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
}

// podman passes precreate's output through its own structures.
TEST(PatchConfigTest, OtherSpellingOfTheSamePatchIsNoChange) {
  PatchRequest request = FullRequest();
  request.launcher_source = "/a<b>&c";
  const Json patched = MustPatch(Minimal(), request);
  std::string text = nlohmann::json::parse(patched.dump()).dump(3);  // sorted keys, indented
  const size_t at = text.find("/a<b>&c");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 7, "/a\\u003cb\\u003e\\u0026c");
  Result<Patched> again = PatchConfig(text, "config.json", request);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(again->text, text);
}

// --- refusals ----------------------------------------------------------------------------------

TEST(PatchConfigTest, NeedsATmpfsOnDev) {
  Json config = Minimal();
  config["mounts"].erase(1);
  EXPECT_THAT(ErrorOf(config), HasSubstr("config.json: /mounts: a mount of type tmpfs on /dev"));
  config.erase("mounts");
  EXPECT_THAT(ErrorOf(config), HasSubstr("tmpfs on /dev"));
  for (const char* type : {"bind", "none", "devtmpfs", "Tmpfs"}) {
    config = Minimal();
    config["mounts"][1]["type"] = type;
    EXPECT_THAT(ErrorOf(config), HasSubstr("/mounts/1: a mount of type tmpfs on /dev")) << type;
  }
  // Runtimes go by the options.
  for (const char* option : {"bind", "rbind", "remount"}) {
    config = Minimal();
    config["mounts"][1]["options"].push_back(option);
    EXPECT_THAT(ErrorOf(config), HasSubstr("/mounts/1: a mount of type tmpfs on /dev")) << option;
  }
  for (const char* spelled : {"dev", "//dev/", "/./dev/."}) {
    config = Minimal();
    config["mounts"][1]["destination"] = spelled;
    EXPECT_EQ(ErrorOf(config), "accepted") << spelled;
  }
}

TEST(PatchConfigTest, NothingMayCoverLauncherAndPlan) {
  for (const char* destination : {"/dev/lg", "/dev/lg.plan", "//dev/lg/", "dev/lg",
                                  "/dev/./lg.plan", "/dev/lg/x", "/dev/lg.plan/x/y", "dev/lg//x"}) {
    Json config = Minimal();
    config["mounts"].push_back(Mount(destination));
    EXPECT_THAT(ErrorOf(config), HasSubstr("/mounts/2: /dev/lg")) << destination;
    config["process"]["args"] = {"/dev/lg", "exec", "sh"};
    EXPECT_THAT(ErrorOf(config), HasSubstr("/mounts/2: /dev/lg")) << destination;
  }
  for (const char* destination : {"/dev", "/", "dev/", "", "."}) {
    Json config = Minimal();
    config["mounts"].push_back(Mount(destination, "tmpfs"));
    EXPECT_THAT(ErrorOf(config), HasSubstr("/mounts/2: would cover /dev")) << destination;
    Json patched = MustPatch(Minimal());
    patched["mounts"].push_back(Mount(destination, "tmpfs"));
    EXPECT_THAT(ErrorOf(patched), HasSubstr("/mounts/4: would cover /dev")) << destination;
  }
  Json config = Minimal();
  config["mounts"].push_back(Mount("/x/../dev/lg"));
  EXPECT_THAT(ErrorOf(config), HasSubstr("/mounts/2/destination: must have no"));
  for (const char* destination :
       {"/dev/lg2", "/dev/lg.plan2", "/devlg", "/dev/shm", "/dev/pts/lg", "/etc/..x"}) {
    config = Minimal();
    config["mounts"].push_back(Mount(destination));
    EXPECT_EQ(ErrorOf(config), "accepted") << destination;
  }
}

TEST(PatchConfigTest, RefusesWhatHasNoProgramOrIsNoConfig) {
  Json config = Minimal();
  config["process"]["args"] = Json::array();
  EXPECT_THAT(ErrorOf(config), HasSubstr("config.json: /process/args"));
  config["process"].erase("args");
  EXPECT_THAT(ErrorOf(config), HasSubstr("/process/args"));
  config.erase("process");
  EXPECT_THAT(ErrorOf(config), HasSubstr("/process"));
  EXPECT_THAT(ErrorOf(Json::array()), HasSubstr("config.json: /: must be an object"));
  for (const auto& [pointer, value] :
       std::map<std::string, Json>{{"/hooks", 1},
                                   {"/hooks/prestart", "x"},
                                   {"/hooks/prestart/0", "x"},
                                   {"/mounts", Json::object()},
                                   {"/mounts/0", 1},
                                   {"/mounts/0/destination", 1},
                                   {"/linux", 1},
                                   {"/linux/maskedPaths", "x"},
                                   {"/linux/seccomp", "x"},
                                   {"/process/capabilities", "x"},
                                   {"/process/capabilities/ambient", "x"},
                                   {"/process/capabilities/ambient/0", 1}}) {
    config = Minimal();
    Json::json_pointer place(pointer);
    if (pointer.ends_with("/0") && !pointer.starts_with("/mounts"))
      config[place.parent_pointer()] = Json::array({nullptr});
    config[place] = value;
    EXPECT_THAT(ErrorOf(config, FullRequest()), HasSubstr("config.json: /")) << pointer;
  }
}

TEST(PatchConfigTest, KeysThatRuntimesReadDifferentlyAreRefused) {
  for (const char* pointer :
       {"/Process", "/MOUNTS", "/Hooks", "/process/Args", "/process/Capabilities", "/linux/Seccomp",
        "/linux/MaskedPaths", "/hooks/PreStart", "/mounts/0/Destination", "/mounts/1/Options"}) {
    Json config = Minimal();
    config["hooks"] = Json::object();
    config[Json::json_pointer(pointer)] = nullptr;
    EXPECT_THAT(ErrorOf(config, FullRequest()),
                HasSubstr(std::string(pointer) + ": runc takes this key for"));
  }
}

TEST(PatchConfigTest, AnotherListenerIsRefusedWhereOneIsNeeded) {
  const Json rule = {{"names", {"mount"}}, {"action", "SCMP_ACT_NOTIFY"}};
  Json config = Minimal();
  config["linux"]["seccomp"] = {
      {"defaultAction", "SCMP_ACT_ALLOW"}, {"listenerPath", "/x.sock"}, {"syscalls", {rule}}};
  EXPECT_THAT(ErrorOf(config, FullRequest()),
              HasSubstr("/linux/seccomp: has a listener of somebody else"));
  EXPECT_EQ(MustPatch(config)["linux"]["seccomp"], config["linux"]["seccomp"]);
  config["linux"]["seccomp"].erase("listenerPath");
  EXPECT_THAT(ErrorOf(config, FullRequest()), HasSubstr("somebody else"));
  config["linux"]["seccomp"]["listenerPath"] = "/x.sock";
  config["linux"]["seccomp"]["syscalls"] = Json::array();
  EXPECT_THAT(ErrorOf(config, FullRequest()), HasSubstr("somebody else"));
  config["linux"]["seccomp"] = {{"defaultAction", "SCMP_ACT_NOTIFY"}};
  EXPECT_THAT(ErrorOf(config), HasSubstr("/linux/seccomp/defaultAction"));
}

// --- seccomp -----------------------------------------------------------------------------------

TEST(PatchConfigTest, OpensTheProfileAndReportsIt) {
  Json config = Minimal();
  config["linux"]["seccomp"] = {
      {"defaultAction", "SCMP_ACT_ERRNO"},
      {"defaultErrnoRet", 38},
      {"syscalls", Json::array({{{"names", {"read", "prctl"}}, {"action", "SCMP_ACT_ALLOW"}}})}};
  Result<Patched> patched = Patch(config.dump(), FullRequest());
  ASSERT_TRUE(patched) << patched.error().message;
  EXPECT_THAT(patched->opened_syscalls, Contains("landlock_restrict_self"));
  EXPECT_THAT(patched->opened_syscalls, Not(Contains("prctl")));
  EXPECT_EQ(patched->profile_errno, 38);
  const Json seccomp = Json::parse(patched->text)["linux"]["seccomp"];
  EXPECT_EQ(seccomp["listenerPath"], "/run/landgate/exec/refuse.sock");
  EXPECT_EQ(seccomp["listenerMetadata"], "refuse");
  EXPECT_EQ(seccomp["syscalls"][0]["action"], "SCMP_ACT_NOTIFY");
}

TEST(PatchConfigTest, NoProfileIsMadeButForAListener) {
  EXPECT_FALSE(MustPatch(Minimal())["linux"].contains("seccomp"));
  const Json seccomp = MustPatch(Minimal(), FullRequest())["linux"]["seccomp"];
  EXPECT_EQ(seccomp["defaultAction"], "SCMP_ACT_ALLOW");
  ASSERT_EQ(seccomp["syscalls"].size(), 1U);
  EXPECT_EQ(seccomp["syscalls"][0]["names"], Json({kExecRefusalSyscall, kExecRefusalSyscall}));
}

// --- the variants of the listener --------------------------------------------------------------

Json Profile() {
  return Json::parse(R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
      {"names": ["read", "execve", "execveat", "openat", "openat2", "connect", "prctl", "seccomp"],
       "action": "SCMP_ACT_ALLOW"}]})");
}

Json WithProfile() {
  Json config = Minimal();
  config["linux"]["seccomp"] = Profile();
  return config;
}

std::vector<std::string> NotifiedBy(const Json& config) {
  std::vector<std::string> names;
  for (const Json& entry : config["linux"]["seccomp"]["syscalls"]) {
    if (entry["action"] != "SCMP_ACT_NOTIFY") continue;
    for (const Json& name : entry["names"]) names.push_back(name);
  }
  return names;
}

TEST(ListenerVariants, AnAgentIsToldOfExecAndOfTheLaunchersQuestion) {
  const Json patched = MustPatch(WithProfile(), AgentRequest());
  const Json& seccomp = patched["linux"]["seccomp"];
  EXPECT_EQ(seccomp["listenerPath"], "/run/landgate/agent.sock");
  EXPECT_EQ(seccomp["listenerMetadata"], "landgate");
  EXPECT_THAT(NotifiedBy(patched), ElementsAre("nfsservctl", "execve", "execveat", "nfsservctl"));
  for (const Json& entry : seccomp["syscalls"]) {
    if (entry["action"] == "SCMP_ACT_NOTIFY") continue;
    EXPECT_THAT(entry["names"], Not(Contains("execve")));  // one rule alone
  }
  EXPECT_EQ(ReadConfig(patched.dump(), "config.json")->listener_path, "/run/landgate/agent.sock");
}

TEST(ListenerVariants, AuditChangesListenerAndHooksAndNothingElse) {
  const Json before = WithProfile();
  Json patched = MustPatch(before, AuditRequest());
  EXPECT_EQ(patched["hooks"]["prestart"].size(), 1U);
  EXPECT_EQ(patched["hooks"]["poststop"].size(), 1U);
  EXPECT_THAT(NotifiedBy(patched), ElementsAre("openat", "openat2", "execve", "execveat", "connect",
                                               "openat"));  // open is denied, and stays so
  patched.erase("hooks");
  patched["linux"]["seccomp"] = before["linux"]["seccomp"];
  EXPECT_EQ(patched, before);
  EXPECT_FALSE(ReadConfig(patched.dump(), "config.json")->patched);
}

TEST(ListenerVariants, AuditNeedsNoTmpfsOnDev) {
  Json config = Minimal();
  config["mounts"] = Json::array();
  EXPECT_NE(ErrorOf(config), "accepted");
  EXPECT_EQ(ErrorOf(config, AuditRequest()), "accepted");
}

TEST(ListenerVariants, AConfinedContainerIsNotTurnedIntoAWatchedOne) {
  const Json confined = MustPatch(WithProfile(), AgentRequest());
  EXPECT_THAT(ErrorOf(confined, AuditRequest()), HasSubstr("/process/args: starts the launcher"));
}

// inject over inject, while an agent comes and goes and the mode changes.
TEST(ListenerVariants, OneAfterTheOtherLeavesTheWorkloadTheSameCalls) {
  PatchRequest none = Request();
  const std::vector<std::pair<std::string, PatchRequest>> variants = {
      {"agent", AgentRequest()}, {"refusal", FullRequest()}, {"none", none}};
  std::vector<std::pair<std::string, PatchRequest>> firsts = variants;
  firsts.emplace_back("audit", AuditRequest());
  for (const auto& [first_name, first] : firsts) {
    for (const auto& [second_name, second] : variants) {
      const std::string what = first_name + " then " + second_name;
      Result<Patched> once = Patch(WithProfile().dump(), first);
      ASSERT_TRUE(once) << what;
      Result<Patched> twice = Patch(once->text, second);
      ASSERT_TRUE(twice) << what << ": " << twice.error().message;
      Result<Patched> fresh = Patch(WithProfile().dump(), second);
      ASSERT_TRUE(fresh) << what;
      EXPECT_EQ(twice->opened_syscalls, fresh->opened_syscalls) << what;
      const Json left = Json::parse(twice->text), right = Json::parse(fresh->text);
      const auto names = [](const Json& config) {  // the mark is one of them, wherever it stands
        const std::vector<std::string> notified = NotifiedBy(config);
        return std::set<std::string>(notified.begin(), notified.end());
      };
      EXPECT_EQ(names(left), names(right)) << what;
      EXPECT_EQ(left["linux"]["seccomp"].value("listenerPath", ""),
                right["linux"]["seccomp"].value("listenerPath", ""))
          << what;
      EXPECT_EQ(left["process"]["args"], right["process"]["args"]) << what;
      EXPECT_EQ(left["hooks"]["poststop"], right["hooks"]["poststop"]) << what;
    }
  }
}

TEST(ListenerVariants, SomebodyElsesListenerIsRefusedInEveryVariant) {
  Json config = WithProfile();
  config["linux"]["seccomp"]["listenerPath"] = "/run/other.sock";
  for (const PatchRequest& request : {FullRequest(), AgentRequest(), AuditRequest()}) {
    EXPECT_THAT(ErrorOf(config, request), HasSubstr("listener of somebody else"));
  }
}

// --- golden pairs ------------------------------------------------------------------------------

const std::string kGolden = LANDGATE_SOURCE_DIR "/tests/data/configs/";

class GoldenTest : public ::testing::TestWithParam<std::string> {};

// Takes back what FullRequest adds, by another parser, so that what is left must be the engine's.
Json WithoutOurs(Json config, const Json& original) {
  Json& process = config["process"];
  process["args"].erase(0);
  process["args"].erase(0);
  process["capabilities"] = original["process"]["capabilities"];
  config["mounts"].erase(config["mounts"].size() - 1);
  config["mounts"].erase(config["mounts"].size() - 1);
  for (const char* stage : {"prestart", "poststop"}) {
    Json& hooks = config["hooks"][stage];
    hooks.erase(hooks.size() - 1);
    if (!original.contains("hooks") || !original["hooks"].contains(stage))
      config["hooks"].erase(stage);
  }
  if (!original.contains("hooks")) config.erase("hooks");
  for (const char* key : {"maskedPaths", "readonlyPaths", "seccomp"}) {
    if (original["linux"].contains(key)) {
      config["linux"][key] = original["linux"][key];
    } else {
      config["linux"].erase(key);
    }
  }
  return config;
}

// The variants with an agent, which differ from the first in linux.seccomp alone (agent), or write
// nothing but that and the hooks (audit).
TEST_P(GoldenTest, RealEnginesConfigsWithAnAgent) {
  Result<std::string> before = ReadFile(kGolden + GetParam() + ".before.json");
  ASSERT_TRUE(before) << before.error().message;
  for (const auto& [variant, request] :
       {std::pair{"agent", AgentRequest()}, std::pair{"audit", AuditRequest()}}) {
    Result<Patched> patched = Patch(*before, request);
    ASSERT_TRUE(patched) << patched.error().message;
    const std::string file = kGolden + GetParam() + "." + variant + ".json";
    if (getenv("LANDGATE_UPDATE_GOLDEN") != nullptr) {
      ASSERT_TRUE(WriteFileAtomically(file, patched->text, 0644));
    }
    Result<std::string> after = ReadFile(file);
    ASSERT_TRUE(after) << after.error().message;
    EXPECT_EQ(patched->text, *after);
    Json written = Json::parse(*after);
    Json compared = Json::parse(request.confine ? Patch(*before, FullRequest())->text : *before);
    written["linux"].erase("seccomp");
    compared["linux"].erase("seccomp");
    if (!request.confine) {
      for (Json* config : {&written, &compared}) config->erase("hooks");
    }
    EXPECT_EQ(written, compared) << variant;
  }
}

TEST_P(GoldenTest, RealEnginesConfigs) {
  Result<std::string> before = ReadFile(kGolden + GetParam() + ".before.json");
  ASSERT_TRUE(before) << before.error().message;
  Result<Patched> patched = Patch(*before, FullRequest());
  ASSERT_TRUE(patched) << patched.error().message;
  const std::string after_file = kGolden + GetParam() + ".after.json";
  if (getenv("LANDGATE_UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(after_file, patched->text, 0644));
  }
  Result<std::string> after = ReadFile(after_file);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(patched->text, *after);
  const Json original = Json::parse(*before);
  // ordered_json compares keys with their order.
  EXPECT_EQ(WithoutOurs(Json::parse(*after), original), original);
  EXPECT_TRUE(ReadConfig(*after, "config.json")->patched);
  EXPECT_FALSE(ReadConfig(*before, "config.json")->patched);
}

INSTANTIATE_TEST_SUITE_P(Engines, GoldenTest,
                         ::testing::Values("runc-spec", "runc-spec-rootless", "crun-spec", "podman",
                                           "podman-privileged", "docker", "docker-without-landlock",
                                           "containerd", "containerd-seccomp"),
                         [](const auto& engine) {
                           std::string name = engine.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// --- properties --------------------------------------------------------------------------------

// JSON text that no other parser would write back the same.
rc::Gen<std::string> GenOddValue() {
  return rc::gen::element<std::string>("1e3", "18446744073709551615", "18446744073709551616",
                                       "1.10", "-0", "0.1e-07", "\"\\u00e9\\/\"", "\"\xc3\xa9\"",
                                       "null", "[1.0, 2.50 ,{\"a\" :-0.0}]", "{ }", "[\n]",
                                       "\"\\ud83d\\ude00\"", "123456789012345678901234567890");
}

struct Generated {
  std::string text;
  std::vector<std::string> odd;  // `"keyN" : VALUE` as it stands in the text
};

Generated GenConfig() {
  Generated config;
  const auto odd = [&config](const char* comma) {
    std::string member = "\"k" + std::to_string(config.odd.size()) + "\" : " + *GenOddValue();
    config.odd.push_back(member.substr(member.find(": ") + 2));
    return member + comma;
  };
  std::string mounts = R"({"destination":"/dev","type":"tmpfs","source":"tmpfs"})";
  const int extra = *rc::gen::inRange(0, 3);
  for (int i = 0; i < extra; ++i) {
    mounts +=
        R"(, {"destination":"/m)" + std::to_string(i) + "\"," + odd(",") + R"("options":["rw"]})";
  }
  std::string linux_section = odd("");
  if (*rc::gen::arbitrary<bool>()) {
    std::string entries;
    const int rules = *rc::gen::inRange(0, 5);
    for (int i = 0; i < rules; ++i) {
      if (i > 0) entries += ", ";
      entries +=
          R"({"names":[")" +
          *rc::gen::element<std::string>("prctl\",\"read", "seccomp", "nfsservctl\",\"capset",
                                         "bpf", "statx\",\"statx2") +
          R"("],"action":")" +
          *rc::gen::element<std::string>("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",
                                         "SCMP_ACT_LOG") +
          "\"," +
          (*rc::gen::arbitrary<bool>()
               ? R"("args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}],)"
               : "") +
          odd("") + "}";
    }
    linux_section +=
        R"(, "seccomp":{"defaultAction":")" +
        *rc::gen::element<std::string>("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL") +
        "\"," + odd(",") + R"("syscalls":[)" + entries + "]}";
  }
  if (*rc::gen::arbitrary<bool>()) linux_section += R"(,"maskedPaths":["/proc/kcore"])";
  std::string hooks;
  if (*rc::gen::arbitrary<bool>()) {
    hooks = R"("hooks":{)" + odd(",") + R"("prestart":[{"path":"/x",)" + odd(",") +
            R"("timeout":1.50}]},)";
  }
  std::string capabilities;
  if (*rc::gen::arbitrary<bool>()) {
    capabilities = R"("capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"],)" + odd("") + "},";
  }
  config.text = "{" + odd(",") + hooks + R"("process":{)" + odd(",") + capabilities +
                R"("args":["sh","\u0061"]},"mounts":[)" + mounts + R"(],"linux":{)" +
                linux_section + "}," + odd("") + "}\n";
  return config;
}

PatchRequest GenRequest() {
  PatchRequest request = Request();
  if (*rc::gen::arbitrary<bool>())
    request.keep = *rc::gen::arbitrary<uint64_t>() & kAllCapabilities;
  if (*rc::gen::arbitrary<bool>()) request.masked_paths = {"/proc/kcore", "/proc/keys"};
  if (*rc::gen::arbitrary<bool>()) request.readonly_paths = {"/sys/power"};
  if (*rc::gen::arbitrary<bool>()) request.poststop.clear();
  if (*rc::gen::arbitrary<bool>()) request.prestart[0].env = {"HOME=/h"};
  if (*rc::gen::arbitrary<bool>()) request.launcher_source = "/other";
  if (*rc::gen::arbitrary<bool>()) {
    request.listener = Listener{*rc::gen::element<std::string>("/a.sock", "/b.sock"),
                                *rc::gen::element<std::string>("", "m"),
                                {*rc::gen::element<std::string>("nfsservctl", "uselib")}};
  }
  return request;
}

RC_GTEST_PROP(PatchConfigTest, OnceIsEnoughAndNothingIsLost, ()) {
  const Generated config = GenConfig();
  const PatchRequest request = GenRequest();
  Result<Patched> once = PatchConfig(config.text, "c", request);
  RC_ASSERT(bool(once));
  RC_ASSERT(once->changed);
  Result<Patched> twice = PatchConfig(once->text, "c", request);
  RC_ASSERT(bool(twice));
  RC_ASSERT(!twice->changed);
  RC_ASSERT(twice->text == once->text);
  RC_ASSERT(twice->opened_syscalls == once->opened_syscalls);
  // Odd values stand in the order and with the bytes they had. Only a rule that lost all its names
  // goes.
  size_t missing = 0;
  for (size_t i = 0; i < config.odd.size(); ++i) {
    const std::string key = "\"k" + std::to_string(i) + "\":";
    const size_t at = once->text.find(key);
    const size_t spaced = once->text.find("\"k" + std::to_string(i) + "\" : " + config.odd[i]);
    const bool same =
        spaced != std::string::npos ||
        (at != std::string::npos && once->text.substr(at + key.size()).starts_with(config.odd[i]));
    if (!same) ++missing;
  }
  const auto rules = [](const std::string& text) {
    const Json parsed = Json::parse(text);
    return parsed["linux"].contains("seccomp") ? parsed["linux"]["seccomp"]["syscalls"].size() : 0;
  };
  const size_t ours = (once->opened_syscalls.empty() ? 0 : 1) + (request.listener ? 1 : 0);
  RC_ASSERT(missing == rules(config.text) + ours - rules(once->text));
}

RC_GTEST_PROP(PatchConfigTest, AnyPatchOverAnyOtherEqualsTheLast, ()) {
  const Generated config = GenConfig();
  Result<Patched> first = PatchConfig(config.text, "c", GenRequest());
  RC_ASSERT(bool(first));
  const PatchRequest request = GenRequest();
  Result<Patched> second = PatchConfig(first->text, "c", request);
  RC_ASSERT(bool(second));
  Result<Patched> third = PatchConfig(second->text, "c", request);
  RC_ASSERT(bool(third));
  RC_ASSERT(!third->changed);
  // Our parts are those of a direct patch.
  Result<Patched> direct = PatchConfig(config.text, "c", request);
  RC_ASSERT(bool(direct));
  const Json a = Json::parse(second->text), b = Json::parse(direct->text);
  RC_ASSERT((a["process"]["args"] == b["process"]["args"]));
  RC_ASSERT((a["mounts"] == b["mounts"]));
  RC_ASSERT((a["hooks"]["prestart"] == b["hooks"]["prestart"]));
  RC_ASSERT(second->opened_syscalls == direct->opened_syscalls);
}

// --- reading -----------------------------------------------------------------------------------

TEST(ReadConfigTest, WhatFrontEndsNeed) {
  Result<ConfigView> view = ReadConfig(R"({
    "annotations":{"a":"b","c":""}, "root":{"path":"rootfs"},
    "process":{"args":["/dev/lg","start","sh"],"user":{"uid":1000,"gid":4294967295,"additionalGids":[1,2]}},
    "hooks":{"startContainer":[{"path":"/x"}]},
    "linux":{"cgroupsPath":"/a/b","seccomp":{"defaultAction":"x"},
      "namespaces":[{"type":"network"},{"type":"pid","path":"/proc/77/ns/pid"},{"type":"user"}]}})",
                                       "config.json");
  ASSERT_TRUE(view) << view.error().message;
  EXPECT_EQ(view->annotations, (std::map<std::string, std::string>{{"a", "b"}, {"c", ""}}));
  EXPECT_THAT(view->args, ElementsAre("/dev/lg", "start", "sh"));
  EXPECT_TRUE(view->patched);
  EXPECT_EQ(view->root_path, "rootfs");
  EXPECT_EQ(view->cgroups_path, "/a/b");
  EXPECT_EQ(view->uid, 1000U);
  EXPECT_EQ(view->gid, 4294967295U);
  EXPECT_THAT(view->additional_gids, ElementsAre(1, 2));
  EXPECT_TRUE(view->has_seccomp);
  EXPECT_TRUE(view->has_start_container_hooks);
}

TEST(ReadConfigTest, EmptyAndNull) {
  for (
      const char* text :
      {"{}", R"({"annotations":null,"process":null,"linux":null,"hooks":null,"root":null})",
       R"({"process":{"args":null,"user":null},"linux":{"namespaces":null,"seccomp":null},"hooks":{"startContainer":[]}})"}) {
    Result<ConfigView> view = ReadConfig(text, "config.json");
    ASSERT_TRUE(view) << view.error().message;
    EXPECT_THAT(view->args, IsEmpty());
    EXPECT_FALSE(view->patched || view->has_seccomp || view->has_start_container_hooks);
  }
}

TEST(ReadConfigTest, MalformedMembersAreRefusedWithTheirPlace) {
  for (const auto& [text, place] : std::map<std::string, std::string>{
           {R"({"annotations":{"a":1}})", "/annotations/a"},
           {R"({"annotations":[]})", "/annotations"},
           {R"({"Annotations":{}})", "/Annotations"},
           {R"({"process":{"args":"x"}})", "/process/args"},
           {R"({"process":{"args":[1]}})", "/process/args"},
           {R"({"process":{"user":{"uid":-1}}})", "/process/user/uid"},
           {R"({"process":{"user":{"gid":4294967296}}})", "/process/user/gid"},
           {R"({"process":{"user":{"additionalGids":[1.5]}}})", "/process/user/additionalGids"},
           {R"({"root":{"path":1}})", "/root/path"},
           {R"({"root":{"path":"a\u0000"}})", "/root/path"},
           {R"({"linux":{"cgroupsPath":1}})", "/linux/cgroupsPath"}}) {
    Result<ConfigView> view = ReadConfig(text, "config.json");
    ASSERT_FALSE(view) << text;
    EXPECT_THAT(view.error().message, HasSubstr("config.json: " + place)) << text;
  }
}

}  // namespace
}  // namespace landgate::oci
