// policy.schema.json against the decoder: their words are the same, and they judge the same
// documents alike, but for what a schema can't say ("….beyond-schema.json" in
// tests/data/policies/bad).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/capability_names.h"
#include "policy/document_keys.h"
#include "policy/json_reader.h"
#include "policy/rights.h"

namespace landgate::policy {
namespace {

using ::testing::UnorderedElementsAreArray;

constexpr const char* kSchema = LANDGATE_SOURCE_DIR "/policy/policy.schema.json";

class Schema : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ostringstream text;
    text << std::ifstream(kSchema).rdbuf();
    Result<Json> json = ParseJson(text.str(), kSchema, Comments::kRefused);
    ASSERT_TRUE(json) << json.error().message;
    schema_ = std::move(*json);
  }
  const Json& At(const std::string& pointer) {
    static const Json null;
    const Json::json_pointer where(pointer);
    EXPECT_TRUE(schema_.contains(where)) << pointer;
    return schema_.contains(where) ? schema_[where] : null;
  }
  std::vector<std::string> Keys(const std::string& pointer) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : At(pointer).items()) keys.push_back(key);
    return keys;
  }
  std::vector<std::string> Words(const std::string& pointer) {
    std::vector<std::string> words;
    for (const Json& word : At(pointer)) words.push_back(word.get<std::string>());
    return words;
  }
  Json schema_;
};

template <class T, size_t N>
std::vector<std::string> WordsOf(const keys::Choice<T> (&choices)[N]) {
  std::vector<std::string> words;
  for (const auto& choice : choices) words.emplace_back(choice.word);
  return words;
}

std::vector<std::string> Strings(std::span<const std::string_view> words) {
  return {words.begin(), words.end()};
}

TEST_F(Schema, ItsKeysAreTheDecoders) {
  const struct {
    const char* pointer;
    keys::Words keys;
  } objects[] = {
      {"/properties", keys::kPolicy},
      {"/properties/compatibility/properties", keys::kCompatibility},
      {"/properties/capabilities/properties", keys::kCapabilities},
      {"/properties/syscalls/properties", keys::kSyscalls},
      {"/properties/approval/properties", keys::kApproval},
      {"/definitions/pathRule/properties", keys::kPathRule},
      {"/definitions/pathRule/properties/verify/properties", keys::kVerify},
      {"/definitions/networkRule/properties", keys::kNetworkRule},
  };
  for (const auto& object : objects) {
    EXPECT_THAT(Keys(object.pointer), UnorderedElementsAreArray(Strings(object.keys)))
        << object.pointer;
  }
  std::vector<std::string> emulations;
  for (const keys::EmulationKeys& emulation : keys::kEmulations) {
    emulations.emplace_back(emulation.syscall);
    const std::string pointer = "/definitions/emulate/properties/" + std::string(emulation.syscall);
    EXPECT_THAT(Keys(pointer + "/properties"), UnorderedElementsAreArray(Strings(emulation.known)));
    if (!emulation.mandatory.empty()) {
      EXPECT_EQ(At(pointer + "/required/0").get<std::string>(), emulation.mandatory);
    }
  }
  EXPECT_THAT(Keys("/definitions/emulate/properties"), UnorderedElementsAreArray(emulations));
}

TEST_F(Schema, EveryObjectRefusesUnknownKeys) {
  std::vector<const Json*> open = {&schema_};
  size_t objects = 0;
  while (!open.empty()) {
    const Json& value = *open.back();
    open.pop_back();
    if (value.is_object() && value.contains("properties") && value.contains("type")) {
      ++objects;
      EXPECT_TRUE(value.contains("additionalProperties") &&
                  value["additionalProperties"] == Json(false))
          << value.dump().substr(0, 200);
    }
    for (const auto& [key, child] : value.items()) {
      if (child.is_structured()) open.push_back(&child);
    }
  }
  EXPECT_GT(objects, 15U);
}

TEST_F(Schema, ItsWordsAreTheDecoders) {
  EXPECT_THAT(Words("/definitions/right/oneOf/0/enum"),
              UnorderedElementsAreArray(Strings(RightSpellings())));
  EXPECT_THAT(Words("/definitions/capability/enum"),
              UnorderedElementsAreArray(CapabilityNames(kAllCapabilities)));
  EXPECT_THAT(Words("/definitions/operations/items/enum"),
              UnorderedElementsAreArray(Strings(keys::kOperations)));
  EXPECT_THAT(
      Words("/definitions/emulate/properties/sched_setscheduler/properties/policies/items/enum"),
      UnorderedElementsAreArray(Strings(keys::kSchedulers)));
  EXPECT_THAT(Words("/properties/compatibility/properties/landlock/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kLandlockUse)));
  EXPECT_THAT(Words("/properties/scopes/items/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kScopes)));
  EXPECT_THAT(Words("/properties/selfRestrict/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kSelfRestrict)));
  EXPECT_THAT(Words("/properties/execSessions/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kExecSessions)));
  EXPECT_THAT(Words("/properties/onViolation/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kOnViolation)));
  EXPECT_THAT(Words("/definitions/pathRule/properties/mask/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kMask)));
  EXPECT_THAT(Words("/definitions/pathRule/properties/hardlinks/enum"),
              UnorderedElementsAreArray(WordsOf(keys::kHardlinks)));
}

// By a validator that is not ours.
TEST_F(Schema, JudgesDocumentsAsTheDecoderDoes) {
  namespace fs = std::filesystem;
  std::string command = "python3 " LANDGATE_SOURCE_DIR
                        "/tests/unit/policy/validate_against_schema.py " +
                        std::string(kSchema);
  std::set<std::string> documents;
  for (const char* kind : {"good", "bad"}) {
    for (const auto& entry :
         fs::directory_iterator(std::string(LANDGATE_SOURCE_DIR "/tests/data/policies/") + kind)) {
      documents.insert(entry.path().string());
    }
  }
  for (const std::string& document : documents) command += " " + document;
  FILE* pipe = popen(command.c_str(), "re");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, got);
  const int status = pclose(pipe);
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)) {
    GTEST_SKIP() << "python3-jsonschema is not installed";
  }
  ASSERT_EQ(status, 0);

  std::istringstream lines(output);
  std::string verdict, document;
  size_t judged = 0;
  while (lines >> verdict >> document) {
    ++judged;
    const bool good = document.find("/good/") != std::string::npos;
    const bool beyond = document.find(".beyond-schema.json") != std::string::npos;
    EXPECT_EQ(verdict, good || beyond ? "accepted" : "refused") << document;
  }
  EXPECT_EQ(judged, documents.size());
}

}  // namespace
}  // namespace landgate::policy
