#include "node/registration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "policy/document_json.h"
#include "policy/json_reader.h"

namespace landgate::node {
namespace {

using policy::Json;
using ::testing::HasSubstr;

policy::Policy SomePolicy(const std::string& name) {
  Result<policy::Policy> policy = policy::DecodePolicy(
      R"({"landgate": 1, "paths": [{"allow": ["read"], "beneath": ["/usr"]},
                                   {"deny": ["all"], "glob": ["/usr/**/.env"]}]})",
      name, "/etc/landgate/policies/" + name + ".json");
  EXPECT_TRUE(policy) << policy.error().message;
  return policy ? *policy : policy::Policy{};
}

Registration Full() {
  Registration registration;
  registration.id = "4f2c.web-1";
  registration.pid = 4711;
  registration.start_time = uint64_t{1} << 40;
  registration.bundle = "/run/bundle";
  registration.root = "/run/bundle/rootfs";
  registration.mode = oci::Mode::kAudit;
  registration.front_end = "inject";
  registration.listener_expected = true;
  registration.policies = {SomePolicy("a"), SomePolicy("b")};
  registration.exec_sessions = policy::ExecSessions::kRefused;
  registration.pod = "web-0";
  registration.pod_namespace = "shop";
  registration.container_name = "nginx";
  registration.launcher = {8, 1, 42};
  registration.plan = {0, 35, ~uint64_t{0}};
  registration.floor_json = "{\n  \"layers\": []}\n";
  sandbox::MountStep mask;
  mask.kind = sandbox::MountStepKind::kMaskFile;
  mask.path = "/workspace/.env";
  mask.object = {8, 2, 7};
  mask.because = "/paths/3";
  sandbox::MountStep back;
  back.kind = sandbox::MountStepKind::kBindBack;
  back.path = "/workspace/\"x\"";
  back.directory = back.read_only = back.noexec = back.nodev = back.writable_again = true;
  registration.mounts = {mask, back};
  registration.over_mounts = {{"/bin/busybox", {8, 2, 9}, 77}, {"/usr/bin/sh", {8, 2, 10}, 78}};
  return registration;
}

TEST(Registration, EveryFieldArrives) {
  const Registration sent = Full();
  const Result<Registration> got = DecodeRegistration(EncodeRegistration(sent));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->id, sent.id);
  EXPECT_EQ(got->pid, sent.pid);
  EXPECT_EQ(got->start_time, sent.start_time);
  EXPECT_EQ(got->bundle, sent.bundle);
  EXPECT_EQ(got->root, sent.root);
  EXPECT_EQ(got->mode, sent.mode);
  EXPECT_EQ(got->front_end, sent.front_end);
  EXPECT_TRUE(got->listener_expected);
  EXPECT_TRUE(got->policies == sent.policies);
  EXPECT_EQ(got->exec_sessions, sent.exec_sessions);
  EXPECT_EQ(got->pod, sent.pod);
  EXPECT_EQ(got->pod_namespace, sent.pod_namespace);
  EXPECT_EQ(got->container_name, sent.container_name);
  EXPECT_EQ(got->launcher, sent.launcher);
  EXPECT_EQ(got->plan, sent.plan);
  EXPECT_EQ(got->floor_json, sent.floor_json);
  EXPECT_TRUE(got->over_mounts == sent.over_mounts);
  ASSERT_EQ(got->mounts.size(), 2U);
  EXPECT_EQ(got->mounts[0].kind, sandbox::MountStepKind::kMaskFile);
  EXPECT_EQ(got->mounts[0].path, "/workspace/.env");
  EXPECT_EQ(got->mounts[0].object, sent.mounts[0].object);
  EXPECT_EQ(got->mounts[0].because, "/paths/3");
  EXPECT_FALSE(got->mounts[0].read_only);
  const sandbox::MountStep& back = got->mounts[1];
  EXPECT_EQ(back.path, "/workspace/\"x\"");
  EXPECT_TRUE(back.directory && back.read_only && back.noexec && back.nodev && back.writable_again);
}

// The agent names the rule of a decision by it.
TEST(Registration, RulesKeepTheirPlace) {
  const Result<Registration> got = DecodeRegistration(EncodeRegistration(Full()));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ((*got->policies[1].paths)[1].origin.file, "/etc/landgate/policies/b.json");
  EXPECT_EQ((*got->policies[1].paths)[1].origin.pointer, "/paths/1");
}

TEST(Registration, BytesThatAreNoTextDoNotBreakIt) {
  Registration registration = Full();
  registration.bundle = "/run/\xff\xfe";
  const Result<Registration> got = DecodeRegistration(EncodeRegistration(registration));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->bundle, "/run/\xef\xbf\xbd\xef\xbf\xbd");
}

RC_GTEST_PROP(Registration, WhatIsDecodedEncodesToTheSame, ()) {
  Registration registration = Full();
  registration.pid = *rc::gen::inRange(1, 1 << 22);
  registration.start_time = *rc::gen::arbitrary<uint64_t>();
  registration.mode = *rc::gen::element(oci::Mode::kEnforce, oci::Mode::kAudit, oci::Mode::kLearn);
  registration.front_end = *rc::gen::element<std::string>("precreate", "runtime", "prestart");
  registration.listener_expected = *rc::gen::arbitrary<bool>();
  registration.exec_sessions =
      *rc::gen::element(policy::ExecSessions::kUnconfined, policy::ExecSessions::kConfined);
  registration.pod = *rc::gen::element<std::string>("", "p", "ä");
  registration.mounts.clear();
  for (int count = *rc::gen::inRange(0, 5); count > 0; --count) {
    sandbox::MountStep step;
    step.kind = static_cast<sandbox::MountStepKind>(*rc::gen::inRange(0, 6));
    step.path = "/" + std::to_string(count);
    step.object = {*rc::gen::arbitrary<uint32_t>(), *rc::gen::arbitrary<uint32_t>(),
                   *rc::gen::arbitrary<uint64_t>()};
    step.directory = *rc::gen::arbitrary<bool>();
    step.noexec = *rc::gen::arbitrary<bool>();
    registration.mounts.push_back(step);
  }
  const std::string json = EncodeRegistration(registration);
  const Result<Registration> got = DecodeRegistration(json);
  if (!got) RC_FAIL(got.error().message);
  RC_ASSERT(EncodeRegistration(*got) == json);
}

TEST(Registration, EveryRefusalNamesItsPlace) {
  const Json good = Json::parse(EncodeRegistration(Full()));
  struct Case {
    std::function<void(Json&)> spoil;
    const char* place;
  };
  const std::vector<Case> cases = {
      {[](Json& json) { json["extra"] = 1; }, "/extra: unknown key"},
      {[](Json& json) { json.erase("pid"); }, "`pid` is missing"},
      {[](Json& json) { json["id"] = "../x"; }, "/id"},
      {[](Json& json) { json["pid"] = 0; }, "/pid"},
      {[](Json& json) { json["startTime"] = "1"; }, "/startTime"},
      {[](Json& json) { json["mode"] = "watch"; }, "/mode"},
      {[](Json& json) { json["frontEnd"] = "other"; }, "/frontEnd"},
      {[](Json& json) { json["execSessions"] = ""; }, "/execSessions"},
      {[](Json& json) { json["listenerExpected"] = 1; }, "/listenerExpected"},
      {[](Json& json) { json["policies"] = Json::array(); }, "/policies"},
      {[](Json& json) { json["policies"][1].erase("origins"); }, "/policies/1"},
      {[](Json& json) { json["policies"][0]["document"]["paths"][0]["allow"] = {"raed"}; },
       "/policies/0/document/paths/0/allow/0"},
      {[](Json& json) { json["launcher"]["inode"] = -1; }, "/launcher/inode"},
      {[](Json& json) { json["plan"]["extra"] = 1; }, "/plan"},
      {[](Json& json) { json["mounts"][0]["kind"] = "mask"; }, "/mounts/0/kind"},
      {[](Json& json) { json["mounts"][1].erase("object"); }, "/mounts/1"},
      {[](Json& json) { json["overMounts"][0]["mountId"] = 1.5; }, "/overMounts/0/mountId"},
  };
  for (const Case& entry : cases) {
    Json json = good;
    entry.spoil(json);
    const Result<Registration> got = DecodeRegistration(json.dump());
    ASSERT_FALSE(got) << json.dump();
    EXPECT_THAT(got.error().message, HasSubstr("registration: "));
    EXPECT_THAT(got.error().message, HasSubstr(entry.place));
  }
  EXPECT_FALSE(DecodeRegistration(""));
  EXPECT_FALSE(DecodeRegistration("[]"));
}

}  // namespace
}  // namespace landgate::node
