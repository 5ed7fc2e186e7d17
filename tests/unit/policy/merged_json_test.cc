#include "policy/merged_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
// After gtest: rapidcheck's part for it needs its macros.
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "policy/document_encode.h"
#include "policy/document_json.h"
#include "policy/merge.h"

namespace landgate::policy {
namespace {

using ::testing::HasSubstr;

Result<Policy> Reread(const Json& merged) {
  Result<Json> json = ParseJson(merged.dump(), "merged", Comments::kRefused);
  if (!json) return Forward(json);
  return DecodeMerged(JsonCursor(*json, "merged"));
}

std::string RefusalOf(const Json& merged) {
  Result<Policy> policy = Reread(merged);
  return policy ? "" : policy.error().message;
}

Policy Decoded(std::string_view text, std::string_view name = "p") {
  Result<Policy> policy = DecodePolicy(text, name, std::string(name) + ".json");
  EXPECT_TRUE(policy) << policy.error().message;
  return policy ? *policy : Policy{};
}

// --- documents, at random

using Strings = std::vector<std::string>;

bool Coin() { return *rc::gen::arbitrary<bool>(); }

// At least one of them, in their order.
Strings SomeOf(const Strings& words) {
  Strings some;
  while (some.empty()) {
    for (const std::string& word : words) {
      if (Coin()) some.push_back(word);
    }
  }
  return some;
}

Json RandomRights() {
  Json rights = SomeOf({"all", "read", "execute", "modify", "write", "create", "device", "ioctl",
                        "unix", "resolve_unix", "read_file", "refer", "make_sym", "truncate"});
  if (Coin()) rights.push_back(uint64_t{1} << *rc::gen::inRange(0, 63));
  return rights;
}

Json RandomPathRule() {
  const std::string effect = *rc::gen::element<std::string>("allow", "deny", "ask");
  Json rule = Json::object();
  rule[effect] = RandomRights();
  const bool verified = effect == "allow" && *rc::gen::inRange(0, 5) == 0;
  const bool masked = effect == "deny" && *rc::gen::inRange(0, 5) == 0;
  if (verified) rule[effect] = {"read"};
  if (masked) rule[effect] = {"all"};
  if (effect != "allow" && Coin()) rule["glob"] = SomeOf({"/a/**/x", "/b/*.env", "/ä/?"});
  if (verified || masked || Coin()) {
    rule["file"] = SomeOf({"/f", "/etc/hosts", "/with space", "/\"quoted\"", "/$dollar"});
  }
  if (!verified && !masked && (Coin() || (!rule.contains("glob") && !rule.contains("file")))) {
    rule["beneath"] = SomeOf({"/", "/usr", "/a/b", "/~tilde"});
  }
  if (verified) rule["verify"]["sha256"] = Strings{std::string(64, 'a'), std::string(64, '0')};
  if (masked && Coin()) rule["mask"] = "empty";
  if (Coin()) rule["optional"] = true;
  if (effect == "allow" && Coin()) rule["required"] = true;
  if (effect != "allow" && !masked && Coin()) rule["runtime"] = true;
  if (Coin()) rule["final"] = true;
  if (effect == "deny" && Coin()) rule["hardlinks"] = "accept";
  return rule;
}

Json RandomNetworkRule() {
  Json rule = Json::object();
  const std::string effect = *rc::gen::element<std::string>("allow", "deny", "ask");
  const bool bind = Coin();
  rule[effect] = bind ? SomeOf({"bind"}) : Strings{"connect"};
  rule["to"] = bind ? SomeOf({"*:0", "127.0.0.1:8080", "*:9000-9005", "[::1]:80,443"})
                    : SomeOf({"*", "10.1.0.0/16:443", "db.internal:5432", "udp://10.0.0.2:53",
                              "unix:/run/app.sock", "unix:@name", "unix:*", "169.254.169.254",
                              "icmp://10.0.0.1", "[2001:db8::]/32:1-2,7"});
  if (Coin()) rule["optional"] = true;
  if (Coin()) rule["final"] = true;
  return rule;
}

Json RandomEmulation() {
  Json emulate = Json::object();
  if (Coin()) emulate["mount"]["types"] = SomeOf({"proc", "tmpfs"});
  if (Coin()) emulate["mknod"]["devices"] = SomeOf({"/dev/null", "/dev/zero"});
  if (Coin()) emulate["setxattr"]["names"] = SomeOf({"user.*", "trusted.overlay.*"});
  if (Coin()) {
    emulate["sched_setscheduler"]["policies"] = SomeOf({"SCHED_BATCH", "SCHED_IDLE"});
    emulate["sched_setscheduler"]["maxPriority"] = *rc::gen::inRange(0, 100);
  }
  if (emulate.contains("mount") && Coin()) emulate["mount"]["options"] = SomeOf({"ro", "nosuid"});
  if (emulate.empty() || Coin()) emulate["sysinfo"] = Json::object();
  return emulate;
}

Json RandomLandlockConfig() {
  Json config = Json::object();
  if (Coin()) config["abi"] = *rc::gen::inRange(1, 12);
  if (Coin()) {
    config["ruleset"] = Json::array(
        {Json{{"handledAccessFs", SomeOf({"execute", "read_file", "refer", "resolve_unix"})},
              {"scoped", SomeOf({"signal", "abstract_unix_socket"})}}});
  }
  if (Coin()) {
    config["pathBeneath"] =
        Json::array({Json{{"allowedAccess", SomeOf({"read_file", "write_file"})},
                          {"parent", SomeOf({"/z", "/a", "/$$x", "/$${y}", "/q$"})}}});
  }
  if (Coin()) {
    config["netPort"] = Json::array({Json{{"allowedAccess", SomeOf({"bind_tcp", "connect_tcp"})},
                                          {"port", Json::array({443, 0, 65535})}}});
  }
  if (config.empty() || (config.size() == 1 && config.contains("abi"))) {
    config["variable"] = Json::array({Json{{"name", "x"}}});
  }
  return config;
}

Json RandomDocument() {
  Json document = Json::object();
  document["landgate"] = 1;
  if (Coin()) document["description"] = "what \"it\" is\nfor";
  if (Coin()) {
    document["compatibility"] = Json::object();
    if (Coin()) {
      document["compatibility"]["landlock"] =
          *rc::gen::element<std::string>("required", "best-effort", "off");
    }
    if (Coin()) document["compatibility"]["minAbi"] = *rc::gen::inRange(1, 10);
  }
  const auto list = [&document](const char* key, Json (*make)()) {
    document[key] = Json::array();
    for (int count = *rc::gen::inRange(0, 4); count > 0; --count) document[key].push_back(make());
  };
  if (Coin()) list("paths", RandomPathRule);
  if (Coin()) list("network", RandomNetworkRule);
  if (Coin()) list("landlock", RandomLandlockConfig);
  if (Coin()) {
    document["capabilities"] = Json::object();
    if (Coin()) document["capabilities"]["keep"] = SomeOf({"CAP_CHOWN", "CAP_KILL"});
    if (Coin()) document["capabilities"]["ask"] = SomeOf({"CAP_SYS_ADMIN", "CAP_SYS_TIME"});
    if (Coin()) document["capabilities"]["emulate"] = RandomEmulation();
  }
  if (Coin()) document["syscalls"]["deny"] = SomeOf({"ptrace", "bpf", "add_key"});
  if (Coin()) document["scopes"] = Coin() ? SomeOf({"signal", "abstract-unix"}) : Strings{};
  if (Coin()) document["selfRestrict"] = *rc::gen::element<std::string>("refused", "allow");
  if (Coin()) {
    document["execSessions"] = *rc::gen::element<std::string>("confined", "refused", "unconfined");
  }
  if (Coin()) {
    document["onViolation"] = *rc::gen::element<std::string>("errno", "stop", "freeze", "kill");
  }
  if (Coin()) {
    document["approval"] = Json::object();
    if (Coin()) document["approval"]["timeout"] = *rc::gen::element<std::string>("1ms", "1440m");
    if (Coin()) document["approval"]["rate"] = *rc::gen::inRange(1, 1000) / 7.0;
    if (Coin()) document["approval"]["burst"] = *rc::gen::inRange(1, 1000);
  }
  return document;
}

RC_GTEST_PROP(MergedJson, WhatIsEncodedDecodesToTheSame, ()) {
  const std::string base = RandomDocument().dump();
  Json extending = RandomDocument();
  extending["extends"] = {"base"};
  Result<Policy> document = DecodePolicy(extending.dump(), "top", "/p/top.json");
  if (!document) RC_FAIL(document.error().message);
  Result<Policy> merged = ResolveExtends(*document, [&base](const std::string& name) {
    return DecodePolicy(base, name, "/p/" + name + ".json");
  });
  if (!merged) RC_FAIL(merged.error().message);
  if (merged->paths && Coin()) {  // as the node's configuration adds it
    PathRule rule;
    rule.rights = kAll;
    rule.targets = {{PathKind::kBeneath, "/run/secrets"}};
    rule.optional = rule.final = rule.is_protected = true;
    rule.origin = {"/etc/landgate/config.json", "/protected/0"};
    merged->paths->push_back(rule);
  }
  Result<Policy> again = Reread(EncodeMerged(*merged));
  if (!again) RC_FAIL(again.error().message + " of " + EncodeMerged(*merged).dump());
  RC_ASSERT(*again == *merged);
}

RC_GTEST_PROP(EncodePolicy, IsADocumentThatDecodesToTheSameRules, ()) {
  const Json random = RandomDocument();
  Result<Policy> policy = DecodePolicy(random.dump(), "p", "p.json");
  if (!policy) RC_FAIL(policy.error().message);
  Result<Policy> again = DecodePolicy(EncodePolicy(*policy).dump(), "p", "p.json");
  if (!again) RC_FAIL(again.error().message);
  // A section that says nothing need not be written again.
  again->origins = policy->origins;
  RC_ASSERT(*again == *policy);
}

TEST(MergedJson, EveryGoodDocumentSurvives) {
  size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(LANDGATE_SOURCE_DIR "/tests/data/policies/good")) {
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const Policy policy = Decoded(text.str(), entry.path().stem().string());
    Result<Policy> again = Reread(EncodeMerged(policy));
    ASSERT_TRUE(again) << entry.path() << ": " << again.error().message;
    EXPECT_TRUE(*again == policy) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 10U);
}

TEST(MergedJson, TwoDocumentsThatEmulateTheSameCallStayTwo) {
  Policy policy = Decoded(R"({"landgate": 1, "capabilities": {"emulate": {
      "mount": {"types": ["proc"]}, "sysinfo": {}}}})");
  const Policy other = Decoded(R"({"landgate": 1, "capabilities": {"emulate": {
      "mount": {"types": ["tmpfs"], "options": ["ro"]}, "sethostname": {}}}})");
  for (const Emulation& emulation : other.capabilities->emulate) {
    policy.capabilities->emulate.push_back(emulation);
  }
  Result<Policy> again = Reread(EncodeMerged(policy));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->capabilities->emulate.size(), 4U);
  EXPECT_TRUE(*again == policy);
}

TEST(MergedJson, UnixByWayOfAllIsNotUnixWrittenOut) {
  for (const auto& [rights, written] : {std::pair{R"(["all"])", R"(["all"])"},
                                        {R"(["all", "unix"])", R"(["all","unix"])"},
                                        {R"(["resolve_unix"])", R"(["unix"])"},
                                        {R"(["all", 1048576])", R"(["all",1048576])"}}) {
    const Policy policy = Decoded(R"({"landgate": 1, "paths": [{"allow": )" + std::string(rights) +
                                  R"(, "beneath": ["/"]}]})");
    EXPECT_EQ(EncodePathRule(policy.paths->front())["allow"].dump(), written);
  }
}

TEST(MergedJson, EveryRefusalNamesItsPlace) {
  const Json good =
      EncodeMerged(Decoded(R"({"landgate": 1, "paths": [{"allow": ["read"], "beneath": ["/a"]}],
                  "capabilities": {"keep": []}})"));
  ASSERT_EQ(RefusalOf(good), "");
  struct Case {
    std::function<void(Json&)> spoil;
    const char* place;
  };
  const std::vector<Case> cases = {
      {[](Json& json) { json["names"] = "x"; }, "/names: unknown key"},
      {[](Json& json) { json.erase("origins"); }, "`origins` is missing"},
      {[](Json& json) { json["document"]["landgate"] = 2; }, "/document/landgate"},
      {[](Json& json) { json["document"]["pahts"] = 2; }, "/document/pahts"},
      {[](Json& json) { json["protected"] = {1}; }, "/protected/0: there is no such rule"},
      {[](Json& json) { json["origins"]["paths"] = Json::array(); }, "/origins/paths"},
      {[](Json& json) { json["origins"].erase("paths"); }, "/origins: `paths` is missing"},
      {[](Json& json) { json["origins"].erase("capabilities"); }, "/origins: `capabilities`"},
      {[](Json& json) {
         json["origins"]["network"] = Json::array({{0, ""}});
       },
       "/origins/network"},
      {[](Json& json) {
         json["origins"]["paths"][0] = {7, "/paths/0"};
       },
       "/origins/paths/0"},
      {[](Json& json) { json["origins"]["keys"]["paths"] = {0}; }, "/origins/keys/paths"},
      {[](Json& json) { json["origins"]["files"] = "p.json"; }, "/origins/files"},
      {[](Json& json) {
         json["emulate"] = Json::array({{{"mount", Json::object()}}});
       },
       "/emulate/0"},
  };
  for (const Case& entry : cases) {
    Json json = good;
    entry.spoil(json);
    EXPECT_THAT(RefusalOf(json), HasSubstr(entry.place)) << json.dump();
  }
}

}  // namespace
}  // namespace landgate::policy
