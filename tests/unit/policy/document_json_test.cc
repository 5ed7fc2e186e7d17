#include "policy/document_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "policy/decide_path.h"

namespace landgate::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace fs = std::filesystem;

std::string Contents(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::vector<fs::path> Documents(const std::string& kind) {
  std::vector<fs::path> paths;
  for (const auto& entry :
       fs::directory_iterator(LANDGATE_SOURCE_DIR "/tests/data/policies/" + kind)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Policy Decoded(std::string_view text) {
  Result<Policy> policy = DecodePolicy(text, "p", "p.json");
  EXPECT_TRUE(policy) << policy.error().message;
  return policy ? *policy : Policy{};
}

std::string RefusalOf(std::string_view text) {
  Result<Policy> policy = DecodePolicy(text, "p", "p.json");
  return policy ? "" : policy.error().message;
}

std::string InlineRefusalOf(std::string_view text) {
  Result<Policy> policy = DecodeInlinePolicy(text, "io.landgate.policy");
  return policy ? "" : policy.error().message;
}

TEST(DecodePolicy, TakesEveryGoodDocument) {
  const auto documents = Documents("good");
  ASSERT_GE(documents.size(), 10U);
  for (const fs::path& path : documents) {
    Result<Policy> policy = DecodePolicy(Contents(path), path.stem().string(), path.string());
    EXPECT_TRUE(policy) << policy.error().message;
  }
}

// The first line of each bad document says what the message must contain.
TEST(DecodePolicy, RefusesEveryBadDocumentForItsReason) {
  constexpr std::string_view kExpected = "// refused: ";
  const auto documents = Documents("bad");
  ASSERT_GE(documents.size(), 70U);
  for (const fs::path& path : documents) {
    const std::string text = Contents(path);
    ASSERT_THAT(text, StartsWith(std::string(kExpected))) << path;
    const std::string reason = text.substr(kExpected.size(), text.find('\n') - kExpected.size());
    Result<Policy> policy = DecodePolicy(text, "bad", "bad.json");
    ASSERT_FALSE(policy) << path;
    EXPECT_THAT(policy.error().message, HasSubstr(reason)) << path;
    EXPECT_THAT(policy.error().message, StartsWith("bad.json:")) << path;
    EXPECT_EQ(policy.error().status, ExitStatus::kRefused);
  }
}

TEST(DecodePolicy, AbsentIsNotEmpty) {
  const Policy absent = Decoded(R"({"landgate": 1})");
  EXPECT_FALSE(absent.paths);
  EXPECT_FALSE(absent.network);
  EXPECT_FALSE(absent.capabilities);
  EXPECT_FALSE(absent.scopes);
  EXPECT_EQ(absent.landlock, LandlockUse::kRequired);
  EXPECT_FALSE(absent.landlock_given);
  EXPECT_EQ(absent.name, "p");
  EXPECT_EQ(absent.file, "p.json");

  const Policy empty = Decoded(
      R"({"landgate": 1, "paths": [], "network": [], "capabilities": {"keep": []}, "scopes": []})");
  ASSERT_TRUE(empty.paths);
  EXPECT_TRUE(empty.paths->empty());
  ASSERT_TRUE(empty.network);
  ASSERT_TRUE(empty.capabilities);
  EXPECT_EQ(empty.capabilities->keep, CapabilitySet{0});
  EXPECT_EQ(empty.scopes, uint64_t{0});
  EXPECT_FALSE(Decoded(R"({"landgate": 1, "capabilities": {}})").capabilities->keep);
}

TEST(DecodePolicy, PathRulesCarryAllTheySay) {
  const Policy policy = Decoded(R"({"landgate": 1, "paths": [
    {"allow": ["read", 65536], "beneath": ["/a", "/b"], "file": ["/c"], "optional": true,
     "required": true, "final": true},
    {"deny": ["all"], "file": ["/d"], "glob": ["/e/*"], "mask": "empty", "hardlinks": "accept"},
    {"deny": ["read"], "beneath": ["/f"], "runtime": true},
    {"allow": ["read_file"], "file": ["/g"], "verify": {"sha256": [
      "ABCDEF0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789"]}}]})");
  ASSERT_EQ(policy.paths->size(), 4U);
  const PathRule& first = policy.paths->at(0);
  EXPECT_EQ(first.effect, Effect::kAllow);
  EXPECT_EQ(first.rights, kRead | kUnix);
  EXPECT_TRUE(first.names_unix);
  ASSERT_EQ(first.targets.size(), 3U);
  EXPECT_EQ(first.targets[1].path, "/b");
  EXPECT_EQ(first.targets[1].kind, PathKind::kBeneath);
  EXPECT_EQ(first.targets[2].kind, PathKind::kFile);
  EXPECT_TRUE(first.optional && first.required && first.final);
  EXPECT_FALSE(first.runtime);
  EXPECT_EQ(first.origin.file, "p.json");
  EXPECT_EQ(first.origin.pointer, "/paths/0");

  const PathRule& second = policy.paths->at(1);
  EXPECT_EQ(second.effect, Effect::kDeny);
  EXPECT_EQ(second.rights, kAll);
  EXPECT_FALSE(second.names_unix);  // by way of "all" only
  EXPECT_EQ(second.targets[1].kind, PathKind::kGlob);
  EXPECT_EQ(second.mask, Mask::kEmpty);
  EXPECT_TRUE(second.accept_hardlinks);
  EXPECT_TRUE(policy.paths->at(2).runtime);
  EXPECT_THAT(policy.paths->at(3).verify_sha256,
              ElementsAre("abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"));
  EXPECT_TRUE(Decoded(R"({"landgate": 1, "paths": [{"allow": ["unix"], "file": ["/s"]}]})")
                  .paths->at(0)
                  .names_unix);
}

// What is decoded decides: the allowed and the denied side of one document.
TEST(DecodePolicy, DecodedRulesDecide) {
  const Policy policy = Decoded(R"({"landgate": 1, "paths": [
    {"allow": ["read", "modify"], "beneath": ["/tree"]},
    {"deny": ["all"], "beneath": ["/tree/.git"]}]})");
  const PathRules rules(policy);
  EXPECT_EQ(rules.Decide("/tree/a", kRead).verdict, Verdict::kAllow);
  EXPECT_EQ(rules.Decide("/tree/a", kExecute).verdict, Verdict::kDeny);
  const Decision denied = rules.Decide("/tree/.git/hooks", abi::kFsReadFile);
  EXPECT_EQ(denied.verdict, Verdict::kDeny);
  EXPECT_EQ(denied.rule, "/paths/1");
}

TEST(DecodePolicy, NetworkRulesCarryAllTheySay) {
  const Policy policy = Decoded(R"({"landgate": 1, "network": [
    {"allow": ["connect", "bind"], "to": ["10.0.0.0/8:443", "udp://[::1]:53"], "optional": true},
    {"deny": ["bind"], "to": ["*"], "final": true}]})");
  ASSERT_EQ(policy.network->size(), 2U);
  const NetworkRule& first = policy.network->at(0);
  EXPECT_TRUE(first.connect && first.bind && first.optional);
  ASSERT_EQ(first.to.size(), 2U);
  EXPECT_EQ(first.to[0].prefix.length, 8);
  EXPECT_EQ(first.to[1].transport, Transport::kUdp);
  const NetworkRule& second = policy.network->at(1);
  EXPECT_EQ(second.effect, Effect::kDeny);
  EXPECT_FALSE(second.connect);
  EXPECT_TRUE(second.bind && second.final);
  EXPECT_EQ(second.origin.pointer, "/network/1");
}

TEST(DecodePolicy, TheOtherSectionsCarryAllTheySay) {
  const Policy policy = Decoded(R"({"landgate": 1, "description": "d", "extends": ["a", "b"],
    "compatibility": {"landlock": "best-effort", "minAbi": 4},
    "capabilities": {"keep": ["CAP_CHOWN"], "ask": ["CAP_BPF"], "emulate": {
      "mknod": {"devices": ["/dev/null"]},
      "sched_setscheduler": {"policies": ["SCHED_BATCH"], "maxPriority": 3}}},
    "syscalls": {"deny": ["ptrace", "bpf", "ptrace"]}, "scopes": ["signal"],
    "selfRestrict": "allow", "landlock": [{"ruleset": [{"scoped": ["signal"]}]}],
    "execSessions": "refused", "onViolation": "kill",
    "approval": {"timeout": "2m", "rate": 0.5, "burst": 7}})");
  EXPECT_EQ(policy.description, "d");
  EXPECT_THAT(policy.extends, ElementsAre("a", "b"));
  EXPECT_EQ(policy.landlock, LandlockUse::kBestEffort);
  EXPECT_EQ(policy.landlock_given, LandlockUse::kBestEffort);
  EXPECT_EQ(policy.min_abi, 4);
  EXPECT_EQ(policy.capabilities->keep, CapabilitySet{1});
  EXPECT_EQ(policy.capabilities->ask, CapabilitySet{1} << 39);
  ASSERT_EQ(policy.capabilities->emulate.size(), 2U);
  EXPECT_THAT(policy.capabilities->emulate[0].devices, ElementsAre("/dev/null"));
  EXPECT_EQ(policy.capabilities->emulate[1].max_priority, 3);
  EXPECT_THAT(policy.denied_syscalls, ElementsAre("bpf", "ptrace"));
  EXPECT_EQ(policy.scopes, abi::kScopeSignal);
  EXPECT_EQ(policy.self_restrict_allowed, true);
  ASSERT_EQ(policy.landlock_layers.size(), 1U);
  EXPECT_EQ(policy.landlock_layers[0].scoped, abi::kScopeSignal);
  EXPECT_EQ(policy.landlock_layers[0].origin.pointer, "/landlock/0");
  EXPECT_EQ(policy.exec_sessions, ExecSessions::kRefused);
  EXPECT_EQ(policy.on_violation, OnViolation::kKill);
  EXPECT_EQ(policy.approval->timeout, std::chrono::minutes(2));
  EXPECT_EQ(policy.approval->rate, 0.5);
  EXPECT_EQ(policy.approval->burst, 7);
  EXPECT_EQ(policy.origins.at("approval").pointer, "/approval");
}

TEST(DecodePolicy, TheFirstMistakeIsTheOneReported) {
  EXPECT_THAT(RefusalOf(R"({"landgate": 1, "paths": [{"allow": ["raed"], "beneath": ["x"]}],
                            "network": [{}]})"),
              HasSubstr("/paths/0/allow/0: "));
}

TEST(DecodePolicy, TakesCommentsAndRefusesTrailingText) {
  EXPECT_EQ(RefusalOf("// why\n{ \"landgate\": 1 /* because */ }"), "");
  EXPECT_THAT(RefusalOf("{ \"landgate\": 1 } {}"), StartsWith("p.json:1:"));
  EXPECT_THAT(RefusalOf(""), HasSubstr("the document is empty"));
}

TEST(DecodePolicy, MessagesStayOnOneLine) {
  for (const char* text :
       {"{\"landgate\": 1, \"a\\nb\": 1}",
        R"({"landgate": 1, "paths": [{"allow": ["a\nb"], "beneath": ["/"]}]})",
        R"({"landgate": 1, "paths": [{"allow": ["read"], "beneath": ["a\nb"]}]})",
        R"({"landgate": 1, "network": [{"allow": ["connect"], "to": ["a\nb"]}]})",
        R"({"landgate": 1, "paths": [{"deny": ["all"], "glob": ["a\nb"]}]})"}) {
    EXPECT_NE(RefusalOf(text), "");
    EXPECT_THAT(RefusalOf(text), ::testing::Not(HasSubstr("\n"))) << text;
  }
}

TEST(DecodeInlinePolicy, MayTakeAway) {
  Result<Policy> policy = DecodeInlinePolicy(R"({"landgate": 1,
    "paths": [{"allow": ["read"], "beneath": ["/"]}, {"deny": ["all"], "beneath": ["/srv"]}],
    "network": [], "capabilities": {"keep": []}, "syscalls": {"deny": ["ptrace"]},
    "scopes": ["signal"], "execSessions": "refused"})",
                                             "io.landgate.policy");
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->name, "inline");
  EXPECT_EQ(policy->file, "annotation io.landgate.policy");
  EXPECT_EQ(policy->paths->at(0).origin.file, "annotation io.landgate.policy");
}

TEST(DecodeInlinePolicy, NothingElse) {
  const struct {
    const char* text;
    const char* where;
  } cases[] = {
      {R"({"landgate": 1, "extends": ["a"]})", "/extends"},
      {R"({"landgate": 1, "compatibility": {"landlock": "off"}})", "/compatibility"},
      {R"({"landgate": 1, "selfRestrict": "allow"})", "/selfRestrict"},
      {R"({"landgate": 1, "approval": {}})", "/approval"},
      {R"({"landgate": 1, "execSessions": "unconfined"})", "/execSessions"},
      {R"({"landgate": 1, "paths": [{"ask": ["read"], "beneath": ["/"]}]})", "/paths/0/ask"},
      {R"({"landgate": 1, "network": [{"ask": ["connect"], "to": ["*"]}]})", "/network/0/ask"},
      {R"({"landgate": 1, "capabilities": {"ask": ["CAP_BPF"]}})", "/capabilities/ask"},
      {R"({"landgate": 1, "capabilities": {"emulate": {"sysinfo": {}}}})", "/capabilities/emulate"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(InlineRefusalOf(c.text),
                StartsWith(std::string("annotation io.landgate.policy: ") + c.where +
                           ": an inline policy may only take away"));
    EXPECT_EQ(RefusalOf(c.text), "") << "in a file it is fine: " << c.text;
  }
  EXPECT_THAT(InlineRefusalOf("{}"), HasSubstr("\"landgate\": 1 is missing"));
  EXPECT_THAT(InlineRefusalOf(R"({"landgate": 1, "path": []})"),
              HasSubstr("did you mean \"paths\""));
}

TEST(DecodePolicy, GuessesACapabilityByItsBeginning) {
  EXPECT_THAT(RefusalOf(R"({"landgate": 1, "capabilities": {"keep": ["NET_BIND"]}})"),
              HasSubstr("did you mean \"CAP_NET_BIND_SERVICE\""));
}

}  // namespace
}  // namespace landgate::policy
