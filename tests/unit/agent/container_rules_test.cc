#include "agent/handlers/container_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "policy/document_json.h"

namespace landgate::agent {
namespace {

using policy::Verdict;

policy::Policy Decode(const std::string& name, const std::string& text) {
  auto decoded = policy::DecodePolicy(text, name, "/etc/landgate/policies/" + name + ".json");
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
  return decoded ? *decoded : policy::Policy{};
}

class Root : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/landgate-rules-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    path_ = name;
    std::filesystem::create_directories(path_ + "/usr/bin");
    std::filesystem::create_directories(path_ + "/w/deep");
    ASSERT_EQ(0, symlink("usr/bin", (path_ + "/bin").c_str()));
    fd_ = UniqueFd(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  std::string path_;
  UniqueFd fd_;
};

constexpr char kPolicy[] = R"({"landgate": 1, "paths": [
  {"allow": ["read", "execute"], "beneath": ["/bin"]},
  {"allow": ["read", "modify"], "beneath": ["/w"]},
  {"deny": ["all"], "glob": ["/w/**/.env"]},
  {"ask": ["read"], "beneath": ["/home"]}],
  "network": [{"allow": ["connect"], "to": ["10.0.0.7:443"]},
              {"deny": ["connect"], "to": ["169.254.169.254"]}]})";

TEST_F(Root, RulesAreInTheContainersNames) {
  const ContainerRules rules({Decode("p", kPolicy)}, fd_);
  EXPECT_TRUE(rules.PathAllowed("/usr/bin/ls", abi::kFsExecute | abi::kFsReadFile));
  EXPECT_FALSE(rules.PathAllowed("/usr/lib", abi::kFsReadDir));
  const ContainerRules written({Decode("p", kPolicy)}, BorrowedFd(-1));
  EXPECT_FALSE(written.PathAllowed("/usr/bin/ls", abi::kFsExecute));
}

TEST_F(Root, AJudgementNamesRuleRightsAndReason) {
  const ContainerRules rules({Decode("p", kPolicy)}, fd_);
  Judgement judgement = rules.Path("/w/deep/.env", abi::kFsReadFile);
  EXPECT_EQ(Verdict::kDeny, judgement.decision.verdict);
  EXPECT_EQ(policy::Reason::kRule, judgement.decision.reason);
  EXPECT_EQ("p#/paths/2", judgement.rule);
  EXPECT_EQ(uint64_t{abi::kFsReadFile}, judgement.denied);

  judgement = rules.Path("/usr/bin/ls", abi::kFsReadFile | abi::kFsWriteFile);
  EXPECT_EQ(policy::Reason::kInsufficientAccess, judgement.decision.reason);
  EXPECT_EQ("", judgement.rule);
  EXPECT_EQ(uint64_t{abi::kFsWriteFile}, judgement.denied);

  judgement = rules.Path("/etc/shadow", abi::kFsReadFile);
  EXPECT_EQ(policy::Reason::kNotCovered, judgement.decision.reason);
  EXPECT_EQ(EACCES, judgement.decision.error_number);

  // Missing in the root: the rule keeps its name as written.
  judgement = rules.Path("/home/me", abi::kFsReadDir);
  EXPECT_EQ(Verdict::kAsk, judgement.decision.verdict);
  EXPECT_EQ("p#/paths/3", judgement.rule);
}

TEST_F(Root, AllPoliciesAndTheirLayersMustAllow) {
  const auto wide = Decode("wide", R"({"landgate": 1})");
  const auto narrow = Decode("narrow", R"({"landgate": 1, "paths": [
    {"allow": ["read"], "beneath": ["/w"]}]})");
  const ContainerRules both({wide, narrow}, fd_);
  EXPECT_TRUE(both.PathAllowed("/w/deep", abi::kFsReadDir));
  EXPECT_FALSE(both.PathAllowed("/usr", abi::kFsReadDir));
  EXPECT_FALSE(both.restricts_network());

  const auto layered = Decode("layered", R"({"landgate": 1, "landlock": [
    {"ruleset": [{"handledAccessFs": ["execute"], "handledAccessNet": ["connect_tcp"]}],
     "pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/bin"]}],
     "netPort": [{"allowedAccess": ["connect_tcp"], "port": [443]}]}]})");
  const ContainerRules layers({layered}, fd_);
  EXPECT_TRUE(layers.restricts_paths());
  EXPECT_TRUE(layers.PathAllowed("/usr/bin/ls", abi::kFsExecute));
  const Judgement judgement = layers.Path("/w/deep/x", abi::kFsExecute | abi::kFsReadFile);
  EXPECT_EQ(Verdict::kDeny, judgement.decision.verdict);
  EXPECT_EQ("layered#/landlock/0", judgement.rule);
  EXPECT_EQ(uint64_t{abi::kFsExecute}, judgement.denied);
  const auto port = [&](const char* to) {
    return layers.Network(policy::Operation::kConnect, *policy::ParseEndpoint(to)).decision.verdict;
  };
  EXPECT_EQ(Verdict::kAllow, port("1.2.3.4:443"));
  EXPECT_EQ(Verdict::kDeny, port("1.2.3.4:80"));
  EXPECT_EQ(Verdict::kAllow, port("udp://1.2.3.4:80"));
}

TEST_F(Root, Destinations) {
  const ContainerRules rules({Decode("p", kPolicy)}, fd_);
  const auto judge = [&](const char* to) {
    return rules.Network(policy::Operation::kConnect, *policy::ParseEndpoint(to));
  };
  EXPECT_EQ(Verdict::kAllow, judge("10.0.0.7:443").decision.verdict);
  EXPECT_EQ(policy::Reason::kNotCovered, judge("10.0.0.7:80").decision.reason);
  EXPECT_EQ("p#/network/1", judge("169.254.169.254:80").rule);
}

TEST_F(Root, AMergedDocumentGoesByItsOwnName) {
  policy::Policy merged = Decode("p", kPolicy);
  (*merged.paths)[2].origin.file = "/usr/share/landgate/policies/baseline.json";
  (*merged.paths)[2].origin.pointer = "/paths/0";
  const ContainerRules rules({merged}, fd_);
  EXPECT_EQ("baseline#/paths/0", rules.Path("/w/.env", abi::kFsReadFile).rule);
}

}  // namespace
}  // namespace landgate::agent
