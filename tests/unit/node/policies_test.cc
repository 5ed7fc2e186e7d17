#include "node/policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/files.h"
#include "policy/decide_path.h"
#include "policy/rights.h"

namespace landgate::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Annotations = std::map<std::string, std::string>;

class PoliciesTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/landgate-policies-XXXXXX";
    ASSERT_TRUE(mkdtemp(pattern));
    dir_ = pattern;
    for (const char* name : {"first", "second"}) {
      ASSERT_EQ(mkdir((dir_ + "/" + name).c_str(), 0755), 0);
      config_.policy_dirs.push_back(dir_ + "/" + name);
    }
    config_.file = "config.json";
    for (const char* name : {"base", "web", "weak"}) {
      Write("first", name, R"({"landgate": 1, "syscalls": {"deny": ["ptrace"]}})");
    }
  }
  void TearDown() override { ASSERT_EQ(system(("rm -rf " + dir_).c_str()), 0); }

  void Write(const std::string& dir, const std::string& name, std::string_view text,
             mode_t mode = 0644) {
    ASSERT_TRUE(WriteFileAtomically(dir_ + "/" + dir + "/" + name + ".json", text, mode));
  }
  std::vector<std::string> Select(const Annotations& annotations, const std::string& forced = "") {
    const Result<Selection> selection = SelectPolicies(config_, annotations, forced);
    EXPECT_TRUE(selection) << selection.error().message;
    std::vector<std::string> names;
    if (selection) {
      for (const policy::Policy& policy : selection->policies) names.push_back(policy.name);
    }
    return names;
  }
  std::string Refusal(const Annotations& annotations) {
    const Result<Selection> selection = SelectPolicies(config_, annotations, "");
    return selection ? "" : selection.error().message;
  }
  oci::Mode ModeOf(const Annotations& annotations) {
    const Result<Selection> selection = SelectPolicies(config_, annotations, "");
    EXPECT_TRUE(selection) << selection.error().message;
    return selection ? selection->mode : oci::Mode::kLearn;
  }
  void AddRule(const Annotations& match, const std::string& policy, bool replace) {
    SelectionRule rule;
    rule.annotations = match;
    rule.policy = policy;
    rule.replace_default = replace;
    config_.rules.push_back(rule);
  }

  std::string dir_;
  Config config_;
};

TEST_F(PoliciesTest, WithoutAnnotationRuleOrDefaultAContainerIsNoneOfOurs) {
  EXPECT_THAT(Select({{"other", "x"}}), ElementsAre());
}

TEST_F(PoliciesTest, AnAnnotationAddsToTheDefaultAndNeverReplacesIt) {
  EXPECT_THAT(Select({{"io.landgate.policy", "web"}}), ElementsAre("web"));
  config_.default_policy = "base";
  EXPECT_THAT(Select({}), ElementsAre("base"));
  EXPECT_THAT(Select({{"io.landgate.policy", "weak"}}), ElementsAre("base", "weak"));
  EXPECT_THAT(Select({{"io.landgate.policy", "base"}}), ElementsAre("base"));
  EXPECT_THAT(Select({{"io.landgate.policy", "web"}}, "weak"), ElementsAre("base", "weak", "web"));
}

TEST_F(PoliciesTest, OnlyARuleLetsItsOwnPolicyStandInForTheDefault) {
  config_.default_policy = "base";
  AddRule({{"image", "docker.io/web/*"}}, "web", true);
  AddRule({{"image", "*"}}, "weak", false);
  EXPECT_THAT(Select({{"image", "docker.io/web/a:1"}}), ElementsAre("web"));
  EXPECT_THAT(Select({{"image", "docker.io/web/a:1"}, {"io.landgate.policy", "web"}}),
              ElementsAre("web"));
  // An annotation can't use the rule to get rid of the default.
  EXPECT_THAT(Select({{"image", "docker.io/web/a:1"}, {"io.landgate.policy", "weak"}}),
              ElementsAre("base", "web", "weak"));
  EXPECT_THAT(Select({{"image", "quay.io/x"}}), ElementsAre("base", "weak"));
  EXPECT_THAT(Select({}), ElementsAre("base"));
}

TEST_F(PoliciesTest, LabelsAreReadFromCriOAndOtherwiseTheRuleRefuses) {
  config_.rules.push_back({{}, {{"tier", "front*"}}, "web", false});
  EXPECT_THAT(Select({{"io.kubernetes.cri-o.Labels", R"({"tier": "frontend"})"}}),
              ElementsAre("web"));
  EXPECT_THAT(Select({{"io.kubernetes.cri-o.Labels", R"({"tier": "back"})"}}), ElementsAre());
  EXPECT_THAT(Refusal({}), HasSubstr("/rules/0/match/labels"));
  EXPECT_NE(Refusal({{"io.kubernetes.cri-o.Labels", "no json"}}), "");
}

TEST_F(PoliciesTest, TheFirstDirectoryThatHasThePolicyGivesIt) {
  Write("second", "web", R"({"landgate": 1, "description": "second"})");
  Write("second", "only", R"({"landgate": 1, "description": "second"})");
  Result<policy::Policy> policy = LoadPolicy(config_, "web");
  ASSERT_TRUE(policy);
  EXPECT_EQ(policy->description, "");
  policy = LoadPolicy(config_, "only");
  ASSERT_TRUE(policy);
  EXPECT_EQ(policy->description, "second");
}

TEST_F(PoliciesTest, NamesCanNotLeaveTheDirectories) {
  for (const char* name : {"../first/web", "/etc/passwd", "a/b", "", ".web"}) {
    EXPECT_FALSE(LoadPolicy(config_, name)) << name;
  }
  EXPECT_THAT(Refusal({{"io.landgate.policy", "absent"}}),
              HasSubstr("annotation io.landgate.policy"));
}

TEST_F(PoliciesTest, APolicyThatOthersCanWriteIsRefusedAndNotSkipped) {
  Write("first", "web", R"({"landgate": 1})", 0666);
  Write("second", "web", R"({"landgate": 1})");
  EXPECT_THAT(Refusal({{"io.landgate.policy", "web"}}), HasSubstr("chmod go-w"));
}

TEST_F(PoliciesTest, UnknownKeysAndModesWithoutAgentRefuse) {
  EXPECT_THAT(Refusal({{"io.landgate.polcy", "web"}}), HasSubstr("io.landgate.polcy"));
  EXPECT_THAT(Refusal({{"io.landgate.mode", "learn"}}), HasSubstr("not supported in this build"));
  EXPECT_THAT(Select({{"io.landgate.mode", "enforce"}, {"io.landgate.policy", "web"}}),
              ElementsAre("web"));
}

TEST_F(PoliciesTest, AuditHoldsWhereTheAnnotationsAloneChoseThePolicy) {
  const Annotations audit = {{"io.landgate.mode", "audit"}, {"io.landgate.policy", "web"}};
  EXPECT_THAT(Select(audit), ElementsAre("web"));
  EXPECT_EQ(ModeOf(audit), oci::Mode::kAudit);
  EXPECT_EQ(ModeOf({{"io.landgate.policy", "web"}}), oci::Mode::kEnforce);
  EXPECT_THAT(Refusal({{"io.landgate.mode", "audit"}}), HasSubstr("No policy is selected"));
  EXPECT_THAT(Refusal({{"io.landgate.mode", "audit"},
                       {"io.landgate.policy", R"({"landgate": 1, "paths": []})"}}),
              HasSubstr("inline policy"));
}

// Otherwise whoever starts a container would switch off what the node requires.
TEST_F(PoliciesTest, AuditTakesNothingAwayThatTheNodeRequires) {
  const Annotations audit = {{"io.landgate.mode", "audit"}, {"io.landgate.policy", "web"}};
  const Result<Selection> forced = SelectPolicies(config_, audit, "base");
  ASSERT_FALSE(forced);
  EXPECT_THAT(forced.error().message, HasSubstr("what this node requires"));
  config_.default_policy = "base";
  EXPECT_THAT(Refusal(audit), HasSubstr("what this node requires"));
  EXPECT_THAT(Refusal({{"io.landgate.mode", "audit"}}), HasSubstr("what this node requires"));
  AddRule({{"io.landgate.policy", "web"}}, "web", true);
  EXPECT_THAT(Refusal(audit), HasSubstr("what this node requires"));
}

TEST_F(PoliciesTest, ARuleThatNamesTheModeAllowsAudit) {
  config_.default_policy = "base";
  AddRule({{"io.landgate.mode", "audit"}, {"namespace", "staging"}}, "web", true);
  const Annotations audit = {{"io.landgate.mode", "audit"}, {"namespace", "staging"}};
  EXPECT_THAT(Select(audit), ElementsAre("web"));
  EXPECT_EQ(ModeOf(audit), oci::Mode::kAudit);
  EXPECT_THAT(Refusal({{"io.landgate.mode", "audit"}, {"namespace", "production"}}),
              HasSubstr("what this node requires"));
  EXPECT_EQ(ModeOf({{"namespace", "staging"}}), oci::Mode::kEnforce);
}

TEST_F(PoliciesTest, InlinePoliciesOnlyTakeAwayAndCanBeSwitchedOff) {
  config_.default_policy = "base";
  const std::string text = R"({"landgate": 1, "syscalls": {"deny": ["bpf"]}})";
  EXPECT_THAT(Select({{"io.landgate.policy", text}}), ElementsAre("base", "inline"));
  EXPECT_NE(Refusal({{"io.landgate.policy", R"({"landgate": 1, "extends": ["weak"]})"}}), "");
  EXPECT_NE(Refusal({{"io.landgate.policy", R"({"landgate": 1, "execSessions": "unconfined"})"}}),
            "");
  EXPECT_TRUE(Refusal({{"io.landgate.policy", R"({"landgate": 1, "pathz": []})"}})
                  .starts_with("annotation io.landgate.policy: /pathz: "));
  config_.inline_policies = InlinePolicies::kDeny;
  EXPECT_THAT(Refusal({{"io.landgate.policy", text}}), HasSubstr("/inlinePolicies"));
}

TEST_F(PoliciesTest, ProtectedPathsBeatEveryPolicyAndRestrictNothingElse) {
  config_.protected_paths = {"/etc/shadow"};
  Write("first", "wide", R"({"landgate": 1, "paths": [
    {"allow": ["all"], "beneath": ["/"]},
    {"allow": ["read"], "file": ["/etc/shadow"], "final": true}]})");
  for (const char* name : {"wide", "web"}) {
    const Result<policy::Policy> policy = LoadPolicy(config_, name);
    ASSERT_TRUE(policy) << policy.error().message;
    const policy::PathRules rules(*policy);
    const policy::Decision shadow = rules.Decide("/etc/shadow", abi::kFsReadFile);
    EXPECT_EQ(shadow.verdict, policy::Verdict::kDeny) << name;
    EXPECT_EQ(shadow.reason, policy::Reason::kProtected) << name;
    EXPECT_EQ(rules.Decide("/etc/passwd", policy::kModify).verdict, policy::Verdict::kAllow)
        << name;
  }
}

TEST_F(PoliciesTest, AFileByPathExtendsItsNeighboursFirst) {
  ASSERT_EQ(mkdir((dir_ + "/mine").c_str(), 0755), 0);
  Write("mine", "base", R"({"landgate": 1, "syscalls": {"deny": ["bpf"]}})");
  Write("mine", "top", R"({"landgate": 1, "extends": ["base", "web"]})");
  const Result<policy::Policy> policy = LoadPolicyFile(config_, dir_ + "/mine/top.json");
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->name, "top");
  EXPECT_THAT(policy->denied_syscalls, ElementsAre("bpf", "ptrace"));
}

}  // namespace
}  // namespace landgate::node
