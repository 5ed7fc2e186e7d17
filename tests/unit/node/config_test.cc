#include "node/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

namespace landgate::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Config Decode(std::string_view text) {
  Result<Config> config = DecodeConfig(text, "c.json", Config());
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : Config();
}
std::string Refusal(std::string_view text) {
  const Result<Config> config = DecodeConfig(text, "c.json", Config());
  return config ? "" : config.error().message;
}

TEST(Config, ReadsEveryKeyOfThisBuild) {
  const Config config = Decode(R"({
    // comments are allowed
    "policyDirs": ["/a", "/b"], "defaultPolicy": "base",
    "rules": [{"match": {"annotations": {"k": "v*"}, "labels": {"l": "w"}}, "policy": "p",
               "replaceDefault": true}],
    "inlinePolicies": "deny", "protected": ["/etc/shadow"], "requireAgent": false,
    "initPath": "/opt/lg/landgate-init", "runDir": "/run/lg", "runtime": "crun"})");
  EXPECT_THAT(config.policy_dirs, ElementsAre("/a", "/b"));
  EXPECT_EQ(config.default_policy, "base");
  ASSERT_EQ(config.rules.size(), 1U);
  EXPECT_EQ(config.rules[0].annotations.at("k"), "v*");
  EXPECT_EQ(config.rules[0].labels.at("l"), "w");
  EXPECT_TRUE(config.rules[0].replace_default);
  EXPECT_EQ(config.inline_policies, InlinePolicies::kDeny);
  EXPECT_THAT(config.protected_paths, ElementsAre("/etc/shadow"));
  EXPECT_EQ(config.init_path, "/opt/lg/landgate-init");
  EXPECT_EQ(config.plan_source, "/opt/lg/landgate-plan");
  EXPECT_EQ(config.run_dir, "/run/lg");
  EXPECT_EQ(config.runtime, "crun");
}

TEST(Config, AbsentKeysKeepTheDefaults) {
  Config defaults;
  defaults.run_dir = "/run/landgate";
  defaults.policy_dirs = {"/etc/landgate/policies"};
  const Result<Config> config = DecodeConfig("{}", "c.json", defaults);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->run_dir, "/run/landgate");
  EXPECT_THAT(config->policy_dirs, ElementsAre("/etc/landgate/policies"));
  EXPECT_EQ(config->file, "c.json");
}

TEST(Config, EveryRefusalNamesFileAndPointer) {
  const std::vector<std::pair<std::string, std::string_view>> cases = {
      {R"({"polcyDirs": []})", "policyDirs"},
      {R"({"policyDirs": ["relative"]})", "/policyDirs/0"},
      {R"({"policyDirs": []})", "/policyDirs"},
      {R"({"policyDirs": "x"})", "/policyDirs"},
      {R"({"defaultPolicy": "../x"})", "/defaultPolicy"},
      {R"({"rules": [{"match": {}}]})", "/rules/0"},
      {R"({"rules": [{"policy": "p", "mach": {}}]})", "/rules/0"},
      {R"({"rules": [{"policy": "p", "match": {"annotations": {"k": 1}}}]})",
       "/rules/0/match/annotations/k"},
      {R"({"inlinePolicies": "allow"})", "/inlinePolicies"},
      {R"({"protected": ["/"]})", "/protected"},
      {R"({"protected": ["/a/../b"]})", "/protected/0"},
      {R"({"initPath": "landgate-init"})", "/initPath"},
      {R"({"runDir": "/a/./b"})", "/runDir"},
      {R"({"runtime": "bin/runc"})", "/runtime"},
      {R"({"runtime": ""})", "/runtime"},
      {R"({"agentSocket": "agent.sock"})", "/agentSocket"},
      {"{\"agentSocket\": \"/run/" + std::string(103, 'a') + "\"}", "/agentSocket"},
      {R"({"agentSocket": "/run/x", "controlSocket": "/run/x"})", "/controlSocket"},
      {R"({"requireAgent": "yes"})", "/requireAgent"},
      {R"({"metrics": {}})", "/metrics"},
      {R"({"metrics": {"listn": "127.0.0.1:1"}})", "/metrics"},
      {R"({"audit": {"file": "audit.jsonl"}})", "/audit/file"},
      {R"({"audit": {"maxBytes": 10}})", "/audit/maxBytes"},
      {R"({"audit": {"keep": -1}})", "/audit/keep"},
      {R"({"audit": {"kep": 1}})", "/audit"},
      {R"([])", "c.json"},
      {R"({"runtime": "a", "runtime": "b"})", "c.json"},
  };
  for (const auto& [text, place] : cases) {
    EXPECT_THAT(Refusal(text), HasSubstr("c.json")) << text;
    EXPECT_THAT(Refusal(text), HasSubstr(std::string(place))) << text;
  }
}

TEST(Config, ReadsTheKeysOfTheAgent) {
  const Config config = Decode(R"({
    "agentSocket": "/run/x/a.sock", "controlSocket": "/run/x/c.sock", "requireAgent": true,
    "metrics": {"listen": "127.0.0.1:9464"}, "runDir": "/run/lg",
    "audit": {"file": "/var/log/a.jsonl", "maxBytes": 1000000, "keep": 0}})");
  EXPECT_EQ(config.agent_socket, "/run/x/a.sock");
  EXPECT_EQ(config.control_socket, "/run/x/c.sock");
  EXPECT_EQ(config.holder_socket, "/run/lg/holder.sock");
  EXPECT_TRUE(config.require_agent);
  EXPECT_EQ(config.metrics_listen, "127.0.0.1:9464");
  EXPECT_EQ(config.audit.file, "/var/log/a.jsonl");
  EXPECT_EQ(config.audit.max_bytes, 1000000U);
  EXPECT_EQ(config.audit.keep, 0);
}

TEST(Config, SocketsLieInTheRunDirectoryOfTheFile) {
  const Config config = Decode(R"({"runDir": "/run/elsewhere"})");
  EXPECT_EQ(config.agent_socket, "/run/elsewhere/agent.sock");
  EXPECT_EQ(config.control_socket, "/run/elsewhere/control.sock");
  EXPECT_EQ(config.holder_socket, "/run/elsewhere/holder.sock");
  EXPECT_FALSE(config.require_agent);
  EXPECT_FALSE(config.metrics_listen);
}

TEST(Config, MetricsListenOnOneAddressAndPort) {
  for (const char* good : {"127.0.0.1:9464", "[::1]:9464", "0.0.0.0:1"}) {
    EXPECT_EQ(Refusal("{\"metrics\": {\"listen\": \"" + std::string(good) + "\"}}"), "") << good;
  }
  for (const char* bad : {"9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "*:9464",
                          "udp://127.0.0.1:9464", "unix:/run/m.sock", "127.0.0.0/8:9464"}) {
    EXPECT_THAT(Refusal("{\"metrics\": {\"listen\": \"" + std::string(bad) + "\"}}"),
                HasSubstr("/metrics/listen: must be an IP address and a port"))
        << bad;
  }
}

TEST(Config, QuestionsToAPersonAreRefusedAndNotIgnored) {
  EXPECT_THAT(Refusal(R"({"approval": {}})"), HasSubstr("/approval: not supported in this build"));
}

TEST(Config, PolicyNames) {
  for (const char* good : {"a", "baseline", "web-service", "A.b_c-9", "0"}) {
    EXPECT_TRUE(IsPolicyName(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("-a"), std::string("a/b"),
        std::string("a b"), std::string("a\0b", 3), std::string(129, 'a'),
        std::string("\xc3\xa4")}) {
    EXPECT_FALSE(IsPolicyName(bad)) << bad;
  }
}

class LoadConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/landgate-config-XXXXXX";
    ASSERT_TRUE(mkdtemp(pattern));
    dir_ = pattern;
    unsetenv("LANDGATE_CONFIG");
    setenv("XDG_RUNTIME_DIR", dir_.c_str(), 1);
  }
  void TearDown() override { ASSERT_EQ(system(("rm -rf " + dir_).c_str()), 0); }
  std::string Write(const std::string& name, std::string_view text, mode_t mode = 0644) {
    const std::string path = dir_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, text, mode));
    return path;
  }
  std::string dir_;
};

TEST_F(LoadConfigTest, TheCommandLineBeatsTheEnvironment) {
  const std::string first = Write("a.json", R"({"runDir": "/run/a"})");
  const std::string second = Write("b.json", R"({"runDir": "/run/b"})");
  setenv("LANDGATE_CONFIG", second.c_str(), 1);
  Result<Config> config = LoadConfig(first);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->run_dir, "/run/a");
  EXPECT_TRUE(config->named);
  config = LoadConfig(std::nullopt);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->run_dir, "/run/b");
  EXPECT_EQ(config->file, second);
  EXPECT_TRUE(config->named);
}

TEST_F(LoadConfigTest, ANamedFileMustBeThereAndTrusted) {
  EXPECT_FALSE(LoadConfig(dir_ + "/absent.json"));
  const std::string open = Write("open.json", "{}", 0666);
  const Result<Config> config = LoadConfig(open);
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("chmod go-w"));
}

TEST_F(LoadConfigTest, RelativeNamesBecomeAbsoluteBecauseHooksRunElsewhere) {
  Write("here.json", "{}");
  ASSERT_EQ(chdir(dir_.c_str()), 0);
  const Result<Config> config = LoadConfig("./here.json");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->file, dir_ + "/here.json");
}

}  // namespace
}  // namespace landgate::node
