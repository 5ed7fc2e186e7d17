#include "oci-specs/annotations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

namespace landgate::oci {
namespace {

using ::testing::HasSubstr;
using Map = std::map<std::string, std::string>;

Annotations MustRead(const Map& map) {
  Result<Annotations> read = ReadAnnotations(map);
  EXPECT_TRUE(read) << (read ? "" : read.error().message);
  return read ? *read : Annotations{};
}

std::string ErrorOf(const Map& map) {
  Result<Annotations> read = ReadAnnotations(map);
  return read ? "accepted" : read.error().message;
}

TEST(AnnotationsTest, NothingOfOurs) {
  const Annotations read =
      MustRead({{"a", "b"}, {"io.landgater.policy", "x"}, {"io.landgat", "y"}});
  EXPECT_FALSE(read.any);
  EXPECT_EQ(read.policy, std::nullopt);
  EXPECT_EQ(read.mode, std::nullopt);
}

TEST(AnnotationsTest, ANameOrAnObject) {
  Annotations read = MustRead({{"io.landgate.policy", "web-service"}});
  EXPECT_TRUE(read.any);
  EXPECT_EQ(read.policy, "web-service");
  EXPECT_EQ(read.policy_key, "io.landgate.policy");
  read = MustRead({{"io.landgate.policy", "{\"landgate\":1}"}});
  EXPECT_EQ(read.policy, "{\"landgate\":1}");
}

TEST(AnnotationsTest, Modes) {
  EXPECT_EQ(MustRead({{"io.landgate.mode", "enforce"}}).mode, Mode::kEnforce);
  EXPECT_EQ(MustRead({{"io.landgate.mode", "audit"}}).mode, Mode::kAudit);
  EXPECT_EQ(MustRead({{"io.landgate.mode", "learn"}}).mode, Mode::kLearn);
  for (const char* mode : {"", "Enforce", "off", "enforce "}) {
    EXPECT_THAT(ErrorOf({{"io.landgate.mode", mode}}), HasSubstr("annotation io.landgate.mode"));
  }
}

TEST(AnnotationsTest, ContainersOwnPolicyBeatsThePods) {
  for (const char* key : {"io.kubernetes.cri.container-name", "io.kubernetes.cri-o.ContainerName",
                          "io.kubernetes.container.name"}) {
    Map map = {{key, "web"},
               {"io.landgate.policy", "pod"},
               {"io.landgate.policy.web", "mine"},
               {"io.landgate.policy.zzz", "others"}};
    EXPECT_EQ(MustRead(map).policy, "mine") << key;
    EXPECT_EQ(MustRead(map).policy_key, "io.landgate.policy.web");
    map[key] = "sidecar";
    EXPECT_EQ(MustRead(map).policy, "pod") << key;
    map.erase("io.landgate.policy");
    EXPECT_EQ(MustRead(map).policy, std::nullopt) << key;
    EXPECT_TRUE(MustRead(map).any);
  }
}

TEST(AnnotationsTest, SandboxesTakeNoPolicyFromThePod) {
  const Map marks = {{"io.kubernetes.cri.container-type", "sandbox"},
                     {"io.kubernetes.cri-o.ContainerType", "sandbox"},
                     {"io.kubernetes.docker.type", "podsandbox"},
                     {"io.kubernetes.container.name", "POD"}};
  for (const auto& [key, value] : marks) {
    const Map pod = {{key, value}, {"io.landgate.policy", "web"}, {"io.landgate.mode", "audit"}};
    EXPECT_EQ(MustRead(pod).policy, std::nullopt) << key;
    EXPECT_EQ(MustRead(pod).mode, std::nullopt) << key;
    // A key that nobody knows is wrong wherever it stands.
    EXPECT_THAT(ErrorOf({{key, value}, {"io.landgate.polcy", "web"}}), HasSubstr("unknown key"));
  }
  EXPECT_EQ(
      MustRead({{"io.kubernetes.cri.container-type", "container"}, {"io.landgate.policy", "web"}})
          .policy,
      "web");
}

TEST(AnnotationsTest, AContainersPolicyNeedsAnEngineThatNamesContainers) {
  EXPECT_THAT(ErrorOf({{"io.landgate.policy.web", "mine"}}),
              HasSubstr("annotation io.landgate.policy.web: this engine gives"));
  EXPECT_THAT(ErrorOf({{"io.landgate.policy", "pod"}, {"io.landgate.policy.web", "mine"}}),
              HasSubstr("annotation io.landgate.policy.web: this engine gives"));
  // The pause container has no name, and the pod's annotations.
  EXPECT_EQ(MustRead({{"io.kubernetes.cri.container-type", "sandbox"},
                      {"io.landgate.policy.web", "mine"}})
                .policy,
            std::nullopt);
}

TEST(AnnotationsTest, UnknownKeysAreRefusedByName) {
  for (const char* key :
       {"io.landgate.", "io.landgate.polciy", "io.landgate.Policy", "io.landgate.policyx",
        "io.landgate.policy.", "io.landgate.policy.a/b", "io.landgate.mode.web"}) {
    EXPECT_THAT(ErrorOf({{key, "web"}}), HasSubstr(std::string("annotation ") + key + ": unknown"));
  }
}

TEST(AnnotationsTest, MalformedValuesAreRefused) {
  for (const std::string& value : {std::string(), std::string("../etc"), std::string("a b"),
                                   std::string(".hidden"), std::string(" {}"), std::string("[]"),
                                   std::string(129, 'a'), "{" + std::string(1 << 18, ' ')}) {
    EXPECT_THAT(ErrorOf({{"io.landgate.policy", value}}),
                HasSubstr("annotation io.landgate.policy:"));
    // Also where it is for another container: the pod's author made a mistake.
    EXPECT_THAT(ErrorOf({{"io.landgate.policy.other", value}}), HasSubstr("policy.other:"));
  }
}

TEST(EngineNames, OfEveryEngineThatSaysThem) {
  for (const auto& [pod, space, container] :
       {std::tuple{"io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace",
                   "io.kubernetes.cri.container-name"},
        {"io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.container.name"},
        {"io.kubernetes.cri-o.KubeName", "io.kubernetes.cri-o.Namespace",
         "io.kubernetes.cri-o.ContainerName"}}) {
    const EngineNames names =
        ReadEngineNames({{pod, "web-0"}, {space, "shop"}, {container, "app"}});
    EXPECT_EQ(names.pod, "web-0") << pod;
    EXPECT_EQ(names.pod_namespace, "shop") << space;
    EXPECT_EQ(names.container, "app") << container;
  }
  EXPECT_EQ(ReadEngineNames({{"other", "x"}}).pod, "");
}

}  // namespace
}  // namespace landgate::oci
