#include "policy/supported.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "policy/document_json.h"

namespace landgate::policy {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Policy Decoded(const std::string& body) {
  Result<Policy> policy = DecodePolicy("{\"landgate\": 1, " + body + "}", "p", "p.json");
  EXPECT_TRUE(policy) << policy.error().message << "\n" << body;
  return policy ? *policy : Policy{};
}

// "POINTER: message" of each finding of that severity.
std::vector<std::string> Findings(const std::string& body, Severity severity) {
  std::vector<std::string> found;
  for (const Finding& finding : Examine(Decoded(body))) {
    EXPECT_EQ(finding.origin.file, "p.json");
    if (finding.severity == severity) {
      found.push_back(finding.origin.pointer + ": " + finding.message);
    }
  }
  return found;
}
std::vector<std::string> Refusals(const std::string& body) {
  return Findings(body, Severity::kRefusal);
}
std::vector<std::string> Warnings(const std::string& body) {
  return Findings(body, Severity::kWarning);
}

// An ordinary tree, so that a policy of it and one more rule has that rule's findings alone.
std::string Paths(const std::string& rule) {
  return R"("paths": [{"allow": ["read", "modify", "execute"], "beneath": ["/"]})" +
         (rule.empty() ? "" : ", " + rule) + "]";
}
std::string Net(const std::string& rule) { return "\"network\": [" + rule + "]"; }

TEST(Examine, AnOrdinaryStaticPolicyHasNoFindings) {
  EXPECT_THAT(Examine(Decoded(Paths("") + R"(, "capabilities": {"keep": []},
      "syscalls": {"deny": ["ptrace"]}, "onViolation": "errno", "execSessions": "refused",
      "scopes": [], "compatibility": {"landlock": "best-effort", "minAbi": 3})")),
              IsEmpty());
  EXPECT_TRUE(CheckSupported(Decoded(Paths(""))));
}

TEST(Examine, EveryKeyThatNeedsAnAgentIsRefusedWhereItStands) {
  const struct {
    std::string body;
    const char* pointer;
  } cases[] = {
      {R"("paths": [{"allow": ["read", "execute"], "beneath": ["/usr"]},
                     {"ask": ["read"], "beneath": ["/home"]}])",
       "/paths/1/ask"},
      {Paths(R"({"deny": ["all"], "glob": ["/**/.env"], "runtime": true})"), "/paths/1/runtime"},
      {Paths(R"({"deny": ["read"], "beneath": ["/a"], "runtime": true})"), "/paths/1/runtime"},
      {Paths(R"({"allow": ["read"], "file": ["/a"], "verify": {"sha256": [")" +
             std::string(64, '0') + "\"]}}"),
       "/paths/1/verify"},
      {Net(R"({"ask": ["connect"], "to": ["*:443"]})"), "/network/0/ask"},
      {Net(R"({"allow": ["connect"], "to": ["*:80", "10.0.0.0/8:443"]})"), "/network/0/to/1"},
      {Net(R"({"allow": ["connect"], "to": ["db.internal:5432"]})"), "/network/0/to/0"},
      {Net(R"({"allow": ["connect"], "to": ["udp://*:53"]})"), "/network/0/to/0"},
      {Net(R"({"allow": ["connect"], "to": ["unix:/run/x.sock"]})"), "/network/0/to/0"},
      {Net(R"({"allow": ["bind"], "to": ["*:80"]})"), "/network/0/to/0"},
      {R"("capabilities": {"ask": ["CAP_BPF"]})", "/capabilities/ask"},
      {R"("capabilities": {"emulate": {"sysinfo": {}}})", "/capabilities/emulate"},
      {R"("selfRestrict": "allow")", "/selfRestrict"},
      {R"("selfRestrict": "refused")", "/selfRestrict"},
      {R"("onViolation": "stop")", "/onViolation"},
      {R"("onViolation": "freeze")", "/onViolation"},
      {R"("onViolation": "kill")", "/onViolation"},
      {R"("approval": {"timeout": "5s"})", "/approval"},
  };
  for (const auto& c : cases) {
    const auto refusals = Refusals(c.body);
    ASSERT_EQ(refusals.size(), 1U) << c.body;
    EXPECT_THAT(refusals[0],
                StartsWith(std::string(c.pointer) + ": not supported in this build: "));
    const Status status = CheckSupported(Decoded(c.body));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "p.json: " + refusals[0]);
    EXPECT_EQ(status.error().status, ExitStatus::kRefused);
  }
}

// Whatever version 1 can say is either enforced or refused: none of it is taken and ignored.
TEST(Examine, TheDocumentOfEveryKeyIsRefusedForEachThatNeedsAnAgent) {
  std::ostringstream text;
  text << std::ifstream(LANDGATE_SOURCE_DIR "/tests/data/policies/good/everything.json").rdbuf();
  Result<Policy> policy = DecodePolicy(text.str(), "everything", "p.json");
  ASSERT_TRUE(policy) << policy.error().message;
  std::string all;
  for (const Finding& finding : Examine(*policy)) {
    if (finding.severity == Severity::kRefusal) all += finding.origin.pointer + "\n";
  }
  for (const char* pointer :
       {"/paths/7/runtime\n", "/paths/8/ask\n", "/paths/9/verify\n", "/network/0/to/0\n",
        "/network/0/to/1\n", "/network/0/to/2\n", "/network/2/ask\n", "/network/3/to/0\n",
        "/capabilities/ask\n", "/capabilities/emulate\n", "/selfRestrict\n", "/approval\n"}) {
    EXPECT_THAT(all, HasSubstr(pointer));
  }
}

TEST(Examine, AStaticDenyTakesAllModifyExecute) {
  for (const char* rights : {R"("all")", R"("modify")", R"("execute")", R"("modify", "execute")",
                             R"("read", "modify", "execute", "device", "ioctl")"}) {
    EXPECT_THAT(Refusals(Paths("{\"deny\": [" + std::string(rights) + R"(], "beneath": ["/a"]})")),
                IsEmpty())
        << rights;
  }
  for (const char* rights :
       {R"("read")", R"("write")", R"("create")", R"("remove")", R"("device")", R"("unix")",
        R"("read", "modify")", R"("modify", "device")", R"("read_dir")", "131072"}) {
    const auto refusals =
        Refusals(Paths("{\"deny\": [" + std::string(rights) + R"(], "beneath": ["/a"]})"));
    ASSERT_EQ(refusals.size(), 1U) << rights;
    EXPECT_THAT(refusals[0], StartsWith("/paths/1/deny: a deny takes all, or modify and execute"));
  }
}

TEST(Examine, ExecutionCantBeAskedFor) {
  EXPECT_THAT(Refusals(Paths(R"({"ask": ["execute"], "beneath": ["/opt"]})")),
              ::testing::Contains(HasSubstr("execution can't be asked for")));
  const auto tree = [](const char* rights) {
    return R"("paths": [{"ask": ["read"], "beneath": ["/opt"]},
               {"allow": [)" +
           std::string(rights) + R"(], "beneath": ["/opt/bin"]}])";
  };
  EXPECT_THAT(Refusals(tree(R"("execute")")),
              ::testing::Contains(HasSubstr("execution in /opt/bin can't work")));
  EXPECT_THAT(Refusals(tree(R"("read", "execute")")),
              ::testing::Not(::testing::Contains(HasSubstr("can't work"))));
  EXPECT_THAT(Refusals(Paths(R"({"ask": ["read"], "beneath": ["/opt"]})")),
              ::testing::Contains(HasSubstr("execution in /opt can't work")));
}

TEST(Examine, LandlockOffHoldsNothingOfWhatItWouldHold) {
  const std::string off = R"("compatibility": {"landlock": "off"}, )";
  EXPECT_THAT(Refusals(off + R"("paths": [])"),
              ElementsAre(StartsWith("/paths: is held by Landlock")));
  EXPECT_THAT(Refusals(off + R"("network": [])"), ElementsAre(StartsWith("/network: ")));
  EXPECT_THAT(Refusals(off + R"("scopes": ["signal"])"), ElementsAre(StartsWith("/scopes: ")));
  EXPECT_THAT(Refusals(off + R"("landlock": [{"ruleset": [{"scoped": ["signal"]}]}])"),
              ElementsAre(StartsWith("/landlock: ")));
  EXPECT_THAT(Refusals(off + R"("scopes": [], "syscalls": {"deny": ["ptrace"]})"), IsEmpty());
  EXPECT_THAT(Warnings(off + R"("syscalls": {"deny": ["ptrace"]})"),
              ElementsAre(HasSubstr("without Landlock")));
}

TEST(Examine, IndispensableSyscallsCantBeDenied) {
  EXPECT_THAT(Refusals(R"("syscalls": {"deny": ["execve", "ptrace"]})"),
              ElementsAre(StartsWith("/syscalls/deny: without execve")));
  EXPECT_THAT(Refusals(R"("syscalls": {"deny": ["ptrace", "bpf", "mount"]})"), IsEmpty());
}

TEST(Examine, WarnsWhereNothingCanStart) {
  EXPECT_THAT(Warnings(R"("paths": [])"), ElementsAre(HasSubstr("nothing can start")));
  EXPECT_THAT(Warnings(R"("paths": [{"allow": ["read"], "beneath": ["/"]}])"),
              ElementsAre(HasSubstr("nothing can start")));
  EXPECT_THAT(Warnings(R"("paths": [{"allow": ["execute"], "beneath": ["/usr"]}])"),
              ElementsAre(HasSubstr("execute without read")));
  EXPECT_THAT(Warnings(Paths("")), IsEmpty());
}

TEST(Examine, SaysWhatAMaskDoesNotHoldOncePerPolicy) {
  const auto warnings = Warnings(Paths(R"({"deny": ["all"], "beneath": ["/a"]},
                                          {"deny": ["all"], "beneath": ["/b"]},
                                          {"deny": ["modify"], "beneath": ["/c"]})"));
  EXPECT_THAT(warnings, ::testing::UnorderedElementsAre(
                            AllOf(StartsWith("/paths/1: "), HasSubstr("takes the mask off"),
                                  HasSubstr("(so do 2 more)")),
                            AllOf(StartsWith("/paths/1: "), HasSubstr("symlinks on the way")),
                            AllOf(StartsWith("/paths/1: "), HasSubstr("hard links"),
                                  HasSubstr("(so do 1 more)")),
                            AllOf(StartsWith("/paths/3: "), HasSubstr("FIFOs, sockets"))));
  EXPECT_THAT(Warnings(Paths(R"({"deny": ["all"], "glob": ["/a/*"]})")),
              ::testing::Contains(HasSubstr("expanded when the container starts")));
  EXPECT_THAT(Warnings(Paths(R"({"deny": ["all"], "file": ["/a"], "hardlinks": "accept"})")),
              ::testing::Contains(HasSubstr("by its other names")));
}

TEST(Examine, DeniesInProcAndSysAreTheRuntimesMasks) {
  EXPECT_THAT(Warnings(Paths(
                  R"({"deny": ["all"], "file": ["/proc/kcore"], "beneath": ["/sys/firmware"]})")),
              IsEmpty());
  EXPECT_THAT(Warnings(Paths(R"({"deny": ["all"], "file": ["/proc/kcore", "/etc/shadow"]})")),
              ::testing::Not(IsEmpty()));
}

TEST(Examine, SaysWhatANetworkSectionTakesAway) {
  EXPECT_THAT(Warnings(Net("")), ElementsAre(HasSubstr("listen(2) is denied")));
  EXPECT_THAT(Warnings(Net(R"({"allow": ["connect"], "to": ["*:443"]})")),
              ElementsAre(HasSubstr("listen(2) is denied"),
                          AllOf(HasSubstr("refuses UDP"), HasSubstr("UNIX sockets"))));
  EXPECT_THAT(Warnings(Net(R"({"allow": ["connect"], "to": ["*:443", "unix:*"]},
                             {"allow": ["bind"], "to": ["*:80", "*:0"]})")),
              ElementsAre(AllOf(HasSubstr("refuses UDP"), ::testing::Not(HasSubstr("UNIX")))));
}

TEST(Examine, SaysWhatExecSessionsAndScopesMean) {
  EXPECT_THAT(Warnings(R"("execSessions": "unconfined")"),
              ElementsAre(HasSubstr("outside every rule")));
  EXPECT_THAT(Warnings(R"("scopes": ["signal"])"), ElementsAre(HasSubstr("kill 1")));
  EXPECT_THAT(Warnings(R"("scopes": ["abstract-unix"])"), IsEmpty());
}

TEST(Examine, TheNodesProtectedPathsAreNoNews) {
  Policy policy = Decoded(Paths(R"({"deny": ["all"], "beneath": ["/protected"]})"));
  policy.paths->at(1).is_protected = true;
  EXPECT_THAT(Examine(policy), IsEmpty());
}

TEST(Examine, MessagesAreOneLine) {
  for (const char* body :
       {R"("paths": [], "network": [], "scopes": ["signal"], "execSessions": "unconfined")",
        R"("approval": {}, "onViolation": "kill", "capabilities": {"ask": ["CAP_BPF"]})"}) {
    for (const Finding& finding : Examine(Decoded(body))) {
      EXPECT_THAT(finding.message, ::testing::Not(HasSubstr("\n")));
      EXPECT_FALSE(finding.message.empty());
    }
  }
}

}  // namespace
}  // namespace landgate::policy
