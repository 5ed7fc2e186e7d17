#include "policy/landlock_config_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

namespace landgate::policy {
namespace {

using testing::HasSubstr;

Result<LandlockConfig> Decode(std::string_view text) {
  const Result<Json> json = ParseJson(text, "c.json", Comments::kRefused);
  if (!json) return Failure(json.error());
  return DecodeLandlockConfig(JsonCursor(*json, "c.json", "/landlock/0"));
}

std::string Show(const LandlockConfig& config) {
  std::string text;
  for (const auto& rule : config.paths) {
    text += rule.path + "=" + std::to_string(rule.rights) + " ";
  }
  for (const auto& rule : config.ports) {
    text += std::to_string(rule.port) + "=" + std::to_string(rule.rights) + " ";
  }
  return text;
}

TEST(LandlockConfigTest, RulesAndRulesets) {
  const Result<LandlockConfig> config = Decode(R"({
    "ruleset": [{"handledAccessFs": ["execute", "write_file"]},
                {"handledAccessNet": ["bind_tcp"], "scoped": ["signal", "abstract_unix_socket"]}],
    "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/usr", "/etc//ssl/./certs/"]},
                    {"allowedAccess": ["write_file"], "parent": ["/usr"]}],
    "netPort": [{"allowedAccess": ["connect_tcp"], "port": [443, 0, 65535, 443]}]})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->abi, 0);
  // Rights that only rules name are handled, too.
  EXPECT_EQ(config->handled_fs, abi::kFsExecute | abi::kFsWriteFile | abi::kFsReadFile);
  EXPECT_EQ(config->handled_net, abi::kNetBindTcp | abi::kNetConnectTcp);
  EXPECT_EQ(config->scoped, abi::kScopeSignal | abi::kScopeAbstractUnix);
  EXPECT_EQ(Show(*config), "/etc/ssl/certs=4 /usr=6 0=2 443=2 65535=2 ");
  EXPECT_EQ(config->origin.file, "c.json");
  EXPECT_EQ(config->origin.pointer, "/landlock/0");
}

TEST(LandlockConfigTest, GroupsFollowTheAbi) {
  const auto rights = [](int abi, const std::string& group) {
    return Decode(R"({"abi": )" + std::to_string(abi) +
                  R"(, "pathBeneath": [{"allowedAccess": [")" + group + R"("], "parent": ["/"]}]})")
        .value()
        .handled_fs;
  };
  EXPECT_EQ(rights(1, "abi.all"), FsRightsOfAbi(1));
  EXPECT_EQ(rights(5, "abi.all"), FsRightsOfAbi(5));
  EXPECT_EQ(rights(1, "abi.read_execute"), kRead | kExecute);
  EXPECT_EQ(rights(2, "abi.read_execute"), kRead | kExecute | abi::kFsRefer);
  EXPECT_EQ(rights(5, "abi.read_execute"), kRead | kExecute | abi::kFsRefer);
  EXPECT_EQ(rights(1, "abi.read_write"), FsRightsOfAbi(1) & ~kExecute);
  EXPECT_EQ(rights(5, "abi.read_write"), FsRightsOfAbi(5) & ~kExecute);
  EXPECT_EQ(rights(2147483647, "abi.all"), FsRightsOfAbi(11));
  const Result<LandlockConfig> all = Decode(
      R"({"abi": 6, "ruleset": [{"handledAccessNet": ["abi.all"], "scoped": ["abi.all"]}]})");
  ASSERT_TRUE(all);
  EXPECT_EQ(all->handled_net, abi::kNetBindTcp | abi::kNetConnectTcp);
  EXPECT_EQ(all->scoped, abi::kScopeSignal | abi::kScopeAbstractUnix);
  // Before ABI 4 there are no network rights: the rule grants nothing and is left out.
  const Result<LandlockConfig> old =
      Decode(R"({"abi": 1, "netPort": [{"allowedAccess": ["abi.all"], "port": [1]}]})");
  ASSERT_TRUE(old);
  EXPECT_TRUE(old->ports.empty());
  EXPECT_EQ(old->handled_net, 0U);
}

TEST(LandlockConfigTest, VariablesMultiply) {
  const Result<LandlockConfig> config = Decode(R"({
    "variable": [{"name": "root", "literal": ["/usr", "/opt"]}, {"name": "kind", "literal": ["lib"]},
                 {"name": "kind", "literal": ["bin"]}, {"name": "none"}],
    "pathBeneath": [{"allowedAccess": ["read_file"],
                     "parent": ["${root}/${kind}", "/cash$$/${kind}$$${kind}", "/a$b$", "$${root}"]}]
  })");
  ASSERT_FALSE(config);  // "$${root}" is the relative path "${root}"
  EXPECT_THAT(config.error().message, HasSubstr("/landlock/0/pathBeneath/0/parent/3: "));
  const Result<LandlockConfig> good = Decode(R"({
    "variable": [{"name": "root", "literal": ["/usr", "/opt"]}, {"name": "kind", "literal": ["lib"]},
                 {"name": "kind", "literal": ["bin"]}, {"name": "none"}],
    "pathBeneath": [{"allowedAccess": ["read_file"],
                     "parent": ["${root}/${kind}", "/$$${kind}", "/a$b$", "/$${root}"]},
                    {"allowedAccess": ["execute"], "parent": ["/x/${none}"]}]})");
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(Show(*good),
            "/$bin=4 /$lib=4 /${root}=4 /a$b$=4 /opt/bin=4 /opt/lib=4 /usr/bin=4 /usr/lib=4 ");
  // A variable without literals leaves no rule, but the right stays handled: denied, not free.
  EXPECT_EQ(good->handled_fs, abi::kFsReadFile | abi::kFsExecute);
}

TEST(LandlockConfigTest, ErrorsNameThePlace) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {R"([])", "c.json: /landlock/0: expected an object"},
      {R"({})", "c.json: /landlock/0: needs at least one of"},
      {R"({"abi": 1})", "needs at least one of"},
      {R"({"abi": 0, "ruleset": [{"scoped": ["signal"]}]})", "/landlock/0/abi: "},
      {R"({"abi": 2147483648, "ruleset": [{"scoped": ["signal"]}]})", "/landlock/0/abi: "},
      {R"({"abi": "1", "ruleset": [{"scoped": ["signal"]}]})", "/landlock/0/abi: "},
      {R"({"rulesets": []})", "/landlock/0/rulesets: unknown key"},
      {R"({"ruleset": []})", "/landlock/0/ruleset: the array is empty"},
      {R"({"ruleset": {}})", "/landlock/0/ruleset: expected an array"},
      {R"({"ruleset": [{}]})", "/landlock/0/ruleset/0: needs handledAccessFs"},
      {R"({"ruleset": [{"scoped": []}]})", "/landlock/0/ruleset/0/scoped: the array is empty"},
      {R"({"ruleset": [{"scope": ["signal"]}]})", "/landlock/0/ruleset/0/scope: unknown key"},
      {R"({"ruleset": [{"scoped": ["abstract-unix"]}]})", "/ruleset/0/scoped/0: unknown scope"},
      {R"({"ruleset": [{"handledAccessFs": ["read"]}]})", "/handledAccessFs/0: unknown"},
      {R"({"ruleset": [{"handledAccessFs": ["unix"]}]})", "/handledAccessFs/0: unknown"},
      {R"({"ruleset": [{"handledAccessFs": [1]}]})", "/handledAccessFs/0: expected a string"},
      {R"({"ruleset": [{"handledAccessFs": ["abi.all"]}]})", "needs the document's \"abi\""},
      {R"({"abi": 5, "ruleset": [{"handledAccessNet": ["abi.read_write"]}]})", "unknown network"},
      {R"({"pathBeneath": [{"parent": ["/"]}]})", "/pathBeneath/0: needs \"allowedAccess\""},
      {R"({"pathBeneath": [{"allowedAccess": ["execute"]}]})", "/0: needs \"parent\""},
      {R"({"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["usr"]}]})",
       "/pathBeneath/0/parent/0: \"usr\" must be an absolute path"},
      {R"({"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/a/../b"]}]})", "\\\"..\\\""},
      {R"({"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/${x}"]}]})", "not defined"},
      {R"({"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/${x"]}]})", "without its }"},
      {R"({"pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/${}"]}]})", "variable name"},
      {R"({"variable": [{"literal": ["x"]}]})", "/variable/0: a variable needs \"name\""},
      {R"({"variable": [{"name": "1x"}]})", "/variable/0/name: \"1x\" is no variable name"},
      {R"({"variable": [{"name": "x", "literal": []}]})",
       "/variable/0/literal: the array is empty"},
      {R"({"netPort": [{"allowedAccess": ["bind_tcp"], "port": [65536]}]})", "/netPort/0/port/0: "},
      {R"({"netPort": [{"allowedAccess": ["bind_tcp"], "port": [-1]}]})", "/netPort/0/port/0: "},
      {R"({"netPort": [{"allowedAccess": ["execute"], "port": [1]}]})", "unknown network access"},
  };
  for (const auto& [text, why] : table) {
    const Result<LandlockConfig> config = Decode(text);
    ASSERT_FALSE(config) << text;
    std::string wanted = why;
    if (wanted == "\\\"..\\\"") wanted = "\"..\"";
    EXPECT_THAT(config.error().message, HasSubstr(wanted)) << text;
  }
}

TEST(LandlockConfigTest, AShortDocumentCantNameBillions) {
  std::string literals, path;
  for (int i = 0; i < 100; ++i) literals += (i ? ",\"" : "\"") + std::to_string(i) + "\"";
  for (int i = 0; i < 10; ++i) path += "/${v}";
  const Result<LandlockConfig> config = Decode(
      R"({"variable": [{"name": "v", "literal": [)" + literals +
      R"(]}], "pathBeneath": [{"allowedAccess": ["execute"], "parent": [")" + path + R"("]}]})");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("10000"));
}

TEST(LandlockConfigTest, Composition) {
  const LandlockConfig a = Decode(R"({"abi": 5,
    "ruleset": [{"handledAccessFs": ["execute", "read_file"], "scoped": ["signal"]}],
    "pathBeneath": [{"allowedAccess": ["execute", "read_file"], "parent": ["/common"]},
                    {"allowedAccess": ["execute"], "parent": ["/a"]}],
    "netPort": [{"allowedAccess": ["bind_tcp"], "port": [1]}]})")
                               .value();
  const LandlockConfig b = Decode(R"({"abi": 2,
    "ruleset": [{"handledAccessFs": ["read_file", "write_file"]}],
    "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/b"]},
                    {"allowedAccess": ["write_file"], "parent": ["/common"]}],
    "netPort": [{"allowedAccess": ["connect_tcp"], "port": [1]}]})")
                               .value();
  const LandlockConfig both = ComposeLandlockConfigs(a, b);
  EXPECT_EQ(both.abi, 2);
  EXPECT_EQ(both.handled_fs, abi::kFsReadFile);
  EXPECT_EQ(both.handled_net, 0U);
  EXPECT_EQ(both.scoped, 0U);
  EXPECT_EQ(Show(both), "/b=4 /common=4 ");
  EXPECT_EQ(Show(ComposeLandlockConfigs(b, a)), Show(both));
  EXPECT_EQ(Show(ComposeLandlockConfigs(a, a)), Show(a));
  LandlockConfig unknown = b;
  unknown.abi = 0;
  EXPECT_EQ(ComposeLandlockConfigs(a, unknown).abi, 5);
}

}  // namespace
}  // namespace landgate::policy
