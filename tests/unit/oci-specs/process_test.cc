#include "oci-specs/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace landgate::oci {
namespace {

using ::testing::HasSubstr;

std::string Patch(std::string_view process, std::optional<CapabilitySet> keep = std::nullopt) {
  Result<std::string> patched = PatchProcess(process, "process.json", keep);
  return patched ? *patched : "error: " + patched.error().message;
}

TEST(ProcessTest, PutsTheLauncherInFrontAndNothingElse) {
  const std::string process =
      R"({"terminal":false,"args":["sh","-c","x"],"weight":1.10,"new":{"k":-0}})";
  const std::string patched =
      R"({"terminal":false,"args":["/dev/lg","exec","sh","-c","x"],"weight":1.10,"new":{"k":-0}})";
  EXPECT_EQ(Patch(process), patched);
  EXPECT_EQ(Patch(patched), patched);
}

TEST(ProcessTest, AnotherVerbOfTheLauncherIsAProgramLikeAnyOther) {
  EXPECT_EQ(Patch(R"({"args":["/dev/lg","start","sh"]})"),
            R"({"args":["/dev/lg","exec","/dev/lg","start","sh"]})");
  EXPECT_EQ(Patch(R"({"args":["/dev/lg","exec"]})"),
            R"({"args":["/dev/lg","exec","/dev/lg","exec"]})");
}

TEST(ProcessTest, CapabilitiesIntersect) {
  const CapabilitySet keep = CapabilitySet{1} << *CapabilityNumber("CAP_CHOWN") |
                             CapabilitySet{1} << *CapabilityNumber("CAP_KILL");
  const std::string process =
      R"({"args":["a"],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"],)"
      R"("effective":["CAP_SYS_ADMIN"],"ambient":["cap_chown","CAP_KILL","CAP_FUTURE"],"permitted":null}})";
  const std::string patched =
      R"({"args":["/dev/lg","exec","a"],"capabilities":{"bounding":["CAP_CHOWN"],)"
      R"("effective":[],"ambient":["CAP_KILL"],"permitted":null}})";
  EXPECT_EQ(Patch(process, keep), patched);
  EXPECT_EQ(Patch(patched, keep), patched);
  EXPECT_EQ(
      Patch(patched, CapabilitySet{0}),
      R"({"args":["/dev/lg","exec","a"],"capabilities":{"bounding":[],"effective":[],"ambient":[],"permitted":null}})");
}

TEST(ProcessTest, RefusesWhatHasNoProgram) {
  EXPECT_THAT(Patch("{}"), HasSubstr("process.json: /args: must name a program"));
  EXPECT_THAT(Patch(R"({"args":[]})"), HasSubstr("/args"));
  EXPECT_THAT(Patch(R"({"args":"sh"})"), HasSubstr("/args"));
  EXPECT_THAT(Patch(R"({"args":["sh",1]})"), HasSubstr("strings alone"));
  EXPECT_THAT(Patch(R"({"args":["sh","\u0000"]})"), HasSubstr("NUL"));
  EXPECT_THAT(Patch(R"({"args":["sh"],"Args":["other"]})"), HasSubstr("runc takes this key"));
  EXPECT_THAT(Patch("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(Patch(R"({"args":["a"],"capabilities":["CAP_KILL"]})", CapabilitySet{0}),
              HasSubstr("/capabilities"));
}

}  // namespace
}  // namespace landgate::oci
