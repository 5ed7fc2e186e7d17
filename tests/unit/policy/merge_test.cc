#include "policy/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "policy/decide_path.h"
#include "policy/document_json.h"

namespace landgate::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Merge : public ::testing::Test {
 protected:
  // A document without the braces and the version.
  void File(const std::string& name, const std::string& body) {
    texts_[name] = "{\"landgate\": 1" + (body.empty() ? "" : ", " + body) + "}";
  }
  Result<Policy> Decode(const std::string& name) {
    const auto found = texts_.find(name);
    if (found == texts_.end()) return Refuse("no such policy");
    return DecodePolicy(found->second, name, name + ".json");
  }
  Result<Policy> Resolve(const std::string& name) {
    Result<Policy> policy = Decode(name);
    if (!policy) return policy;
    return ResolveExtends(*policy, [this](const std::string& other) {
      ++lookups_;
      return Decode(other);
    });
  }
  Policy Merged(const std::string& name) {
    Result<Policy> policy = Resolve(name);
    EXPECT_TRUE(policy) << policy.error().message;
    return policy ? *policy : Policy{};
  }
  std::string RefusalOf(const std::string& name) {
    Result<Policy> policy = Resolve(name);
    return policy ? "" : policy.error().message;
  }
  // What `body_b` extending `body_a` gives.
  Policy Of(const std::string& body_a, const std::string& body_b) {
    File("a", body_a);
    File("b", "\"extends\": [\"a\"]" + (body_b.empty() ? "" : ", " + body_b));
    return Merged("b");
  }

  std::map<std::string, std::string> texts_;
  int lookups_ = 0;
};

TEST_F(Merge, ListsAreConcatenatedInOrder) {
  File("a", R"("paths": [{"allow": ["read"], "beneath": ["/a"]}])");
  File("b", R"("paths": [{"allow": ["read"], "beneath": ["/b"]}], "extends": ["a"])");
  File("c", R"("network": [{"deny": ["connect"], "to": ["*"]}])");
  File("d", R"("extends": ["b", "c"], "paths": [{"allow": ["read"], "beneath": ["/d"]}])");
  const Policy merged = Merged("d");
  std::vector<std::string> targets, files;
  for (const PathRule& rule : *merged.paths) {
    targets.push_back(rule.targets[0].path);
    files.push_back(rule.origin.file);
  }
  EXPECT_THAT(targets, ElementsAre("/a", "/b", "/d"));
  EXPECT_THAT(files, ElementsAre("a.json", "b.json", "d.json"));
  EXPECT_EQ(merged.network->size(), 1U);
  EXPECT_EQ(merged.name, "d");
  EXPECT_EQ(merged.file, "d.json");
  EXPECT_TRUE(merged.extends.empty());
}

TEST_F(Merge, AbsentSaysNothingAndEmptyAllowsNothing) {
  EXPECT_FALSE(Of("", "").paths);
  EXPECT_TRUE(Of(R"("paths": [])", "").paths);
  EXPECT_TRUE(Of("", R"("network": [])").network);
  EXPECT_FALSE(Of("", R"("network": [])").paths);
}

TEST_F(Merge, KeepIntersects) {
  EXPECT_FALSE(Of("", "").capabilities);
  EXPECT_FALSE(Of(R"("capabilities": {})", "").capabilities->keep);
  EXPECT_EQ(Of(R"("capabilities": {"keep": ["CAP_CHOWN", "CAP_KILL"]})",
               R"("capabilities": {"keep": ["CAP_KILL", "CAP_BPF"]})")
                .capabilities->keep,
            CapabilitySet{1} << 5);
  EXPECT_EQ(
      Of(R"("capabilities": {"keep": ["CAP_CHOWN"]})", R"("capabilities": {})").capabilities->keep,
      CapabilitySet{1});
  EXPECT_EQ(Of("", R"("capabilities": {"keep": []})").capabilities->keep, CapabilitySet{0});
}

TEST_F(Merge, TheStricterWinsFromEitherSide) {
  const struct {
    const char* lax;
    const char* strict;
    bool (*is_strict)(const Policy&);
  } cases[] = {
      {R"("compatibility": {"landlock": "off"})", R"("compatibility": {"landlock": "best-effort"})",
       [](const Policy& p) { return p.landlock == LandlockUse::kBestEffort; }},
      {R"("compatibility": {"landlock": "best-effort"})",
       R"("compatibility": {"landlock": "required"})",
       [](const Policy& p) { return p.landlock == LandlockUse::kRequired; }},
      {R"("compatibility": {"minAbi": 2})", R"("compatibility": {"minAbi": 5})",
       [](const Policy& p) { return p.min_abi == 5; }},
      {R"("execSessions": "unconfined")", R"("execSessions": "confined")",
       [](const Policy& p) { return p.exec_sessions == ExecSessions::kConfined; }},
      {R"("execSessions": "confined")", R"("execSessions": "refused")",
       [](const Policy& p) { return p.exec_sessions == ExecSessions::kRefused; }},
      {R"("onViolation": "errno")", R"("onViolation": "stop")",
       [](const Policy& p) { return p.on_violation == OnViolation::kStop; }},
      {R"("onViolation": "freeze")", R"("onViolation": "kill")",
       [](const Policy& p) { return p.on_violation == OnViolation::kKill; }},
      {R"("selfRestrict": "allow")", R"("selfRestrict": "refused")",
       [](const Policy& p) { return p.self_restrict_allowed == false; }},
      {R"("approval": {"timeout": "1m", "burst": 3})", R"("approval": {"timeout": "5s"})",
       [](const Policy& p) {
         return p.approval->timeout == std::chrono::seconds(5) && p.approval->burst == 3;
       }},
      {R"("scopes": [])", R"("scopes": ["signal"])",
       [](const Policy& p) { return p.scopes == abi::kScopeSignal; }},
      {R"("syscalls": {"deny": ["ptrace"]})", R"("syscalls": {"deny": ["bpf", "ptrace"]})",
       [](const Policy& p) {
         return p.denied_syscalls == std::vector<std::string>{"bpf", "ptrace"};
       }},
  };
  for (const auto& c : cases) {
    EXPECT_TRUE(c.is_strict(Of(c.lax, c.strict))) << c.lax << " then " << c.strict;
    EXPECT_TRUE(c.is_strict(Of(c.strict, c.lax))) << c.strict << " then " << c.lax;
    EXPECT_FALSE(c.is_strict(Of(c.lax, c.lax))) << c.lax;
  }
}

TEST_F(Merge, WhatNobodySaysKeepsItsDefault) {
  const Policy merged = Of("", "");
  EXPECT_EQ(merged.landlock, LandlockUse::kRequired);
  EXPECT_FALSE(merged.exec_sessions);
  // Said once, it stands, though the other document's default is stricter.
  EXPECT_EQ(Of(R"("compatibility": {"landlock": "best-effort"})", "").landlock,
            LandlockUse::kBestEffort);
}

TEST_F(Merge, OriginsNameTheDocumentWhoseValueStands) {
  EXPECT_EQ(
      Of(R"("onViolation": "kill")", R"("onViolation": "errno")").origins.at("onViolation").file,
      "a.json");
  EXPECT_EQ(
      Of(R"("onViolation": "errno")", R"("onViolation": "kill")").origins.at("onViolation").file,
      "b.json");
  EXPECT_EQ(Of(R"("approval": {})", "").origins.at("approval").file, "a.json");
}

TEST_F(Merge, FinalRulesOfABaseCantBeOverridden) {
  const Policy merged =
      Of(R"("paths": [{"deny": ["all"], "beneath": ["/secret"], "final": true},
                      {"deny": ["all"], "beneath": ["/other"]}])",
         R"("paths": [{"allow": ["read"], "beneath": ["/", "/secret/open", "/other/open"]}])");
  const PathRules rules(merged);
  EXPECT_EQ(rules.Decide("/secret/open/x", abi::kFsReadFile).verdict, Verdict::kDeny);
  EXPECT_EQ(rules.Decide("/other/open/x", abi::kFsReadFile).verdict, Verdict::kAllow);
}

TEST_F(Merge, ADiamondCountsOnce) {
  File("base", R"("paths": [{"allow": ["read"], "beneath": ["/"]}])");
  File("left", R"("extends": ["base"])");
  File("right", R"("extends": ["base"])");
  File("top", R"("extends": ["left", "right", "base"])");
  EXPECT_EQ(Merged("top").paths->size(), 1U);
  EXPECT_EQ(lookups_, 3);
}

TEST_F(Merge, ACircleIsAnErrorThatNamesIt) {
  File("a", R"("extends": ["b"])");
  File("b", R"("extends": ["c"])");
  File("c", R"("extends": ["a"])");
  File("self", R"("extends": ["self"])");
  EXPECT_EQ(RefusalOf("a"),
            "c.json: /extends/0: policies extend each other in a circle: a → b → c → a");
  EXPECT_THAT(RefusalOf("self"), HasSubstr("self → self"));
}

TEST_F(Merge, AMissingOneIsNamedWhereItIsExtended) {
  File("a", R"("extends": ["gone"])");
  EXPECT_EQ(RefusalOf("a"), "a.json: /extends/0: policy \"gone\": no such policy");
}

TEST_F(Merge, AtMost32Documents) {
  for (int i = 0; i < 40; ++i) {
    File("p" + std::to_string(i),
         i == 0 ? "" : "\"extends\": [\"p" + std::to_string(i - 1) + "\"]");
  }
  EXPECT_EQ(RefusalOf("p31"), "");
  EXPECT_THAT(RefusalOf("p32"), HasSubstr("more than 32 documents"));
  EXPECT_THAT(RefusalOf("p39"), HasSubstr("p39 → p38 → "));
}

}  // namespace
}  // namespace landgate::policy
