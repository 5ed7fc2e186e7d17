// policy.schema.json and docs/policy.md against the decoder: their words are the same, and they
// judge the same documents alike, but for what a schema can't say ("….beyond-schema.json" in
// tests/data/policies/bad).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

#include "base/capability_names.h"
#include "policy/document_json.h"
#include "policy/document_keys.h"
#include "policy/json_reader.h"
#include "policy/rights.h"
#include "policy/supported.h"

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

// What a validator that is not ours says: {"accepted" or "refused", name} of each document. Nothing
// where there is no validator.
using Verdicts = std::vector<std::pair<std::string, std::string>>;
std::optional<Verdicts> Validate(const std::string& arguments) {
  const std::string command = "python3 " LANDGATE_SOURCE_DIR
                              "/tests/unit/policy/validate_against_schema.py " +
                              std::string(kSchema) + " " + arguments;
  FILE* pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) return std::nullopt;
  std::string output;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, got);
  const int status = pclose(pipe);
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)) {
    return std::nullopt;
  }
  EXPECT_EQ(status, 0) << command;
  Verdicts verdicts;
  std::istringstream lines(output);
  std::string verdict, name;
  while (lines >> verdict >> name) verdicts.emplace_back(verdict, name);
  return verdicts;
}
constexpr const char* kNoValidator = "python3-jsonschema is not installed";

TEST_F(Schema, JudgesDocumentsAsTheDecoderDoes) {
  namespace fs = std::filesystem;
  std::set<std::string> documents;
  for (const char* kind : {"good", "bad"}) {
    for (const auto& entry :
         fs::directory_iterator(std::string(LANDGATE_SOURCE_DIR "/tests/data/policies/") + kind)) {
      documents.insert(entry.path().string());
    }
  }
  std::string arguments;
  for (const std::string& document : documents) arguments += document + " ";
  const std::optional<Verdicts> verdicts = Validate(arguments);
  if (!verdicts) GTEST_SKIP() << kNoValidator;
  EXPECT_EQ(verdicts->size(), documents.size());
  for (const auto& [verdict, document] : *verdicts) {
    const bool good = document.find("/good/") != std::string::npos;
    const bool beyond = document.find(".beyond-schema.json") != std::string::npos;
    EXPECT_EQ(verdict, good || beyond ? "accepted" : "refused") << document;
  }
}

// Every value of a document that says everything, one after the other taken out and replaced by
// values of other kinds, and every object given one more key.
struct Mutant {
  std::string at;  // JSON pointer
  Json document;
};
std::vector<Mutant> Mutants(const Json& original) {
  std::vector<Mutant> mutants;
  const Json flat = original.flatten();
  std::set<std::string> places;
  for (const auto& [leaf, value] : flat.items()) {
    for (Json::json_pointer at(leaf); !at.empty(); at.pop_back()) places.insert(at.to_string());
  }
  const Json values[] = {nullptr, true, -1, 1.5, "x", "", Json::array(), Json::object()};
  for (const std::string& place : places) {
    const Json::json_pointer at(place);
    for (const Json& value : values) {
      mutants.push_back({place, original});
      mutants.back().document[at] = value;
    }
    mutants.push_back({place, original});
    Json& parent = mutants.back().document[at.parent_pointer()];
    if (parent.is_object()) {
      parent.erase(at.back());
    } else {
      parent.erase(static_cast<size_t>(std::stoul(at.back())));
    }
    if (original[at].is_object()) {
      mutants.push_back({place, original});
      mutants.back().document[at]["unheard-of"] = 1;
    }
  }
  return mutants;
}

// Where the decoder knows more than the schema can say.
bool IsBeyondSchema(const std::string& pointer) {
  static const std::regex beyond(
      "/network/[0-9]+/to/[0-9]+|/syscalls/deny/[0-9]+|/paths/[0-9]+/glob/[0-9]+|"
      "/paths/[0-9]+/(allow|deny)/[0-9]+|/landlock/[0-9]+/.*");
  return std::regex_match(pointer, beyond);
}

TEST_F(Schema, NeverRefusesWhatTheDecoderTakesNorTakesWhatItRefuses) {
  std::ostringstream text;
  text << std::ifstream(LANDGATE_SOURCE_DIR "/tests/data/policies/good/everything.json").rdbuf();
  Result<Json> original = ParseJson(text.str(), "everything.json", Comments::kAllowed);
  ASSERT_TRUE(original) << original.error().message;
  // Section by section, because a validator takes its time.
  std::vector<Mutant> mutants;
  for (const auto& [key, section] : original->items()) {
    Json alone = {{"landgate", 1}};
    alone[key] = section;
    for (Mutant& mutant : Mutants(alone)) mutants.push_back(std::move(mutant));
  }
  ASSERT_GT(mutants.size(), 500U);

  const std::string path = ::testing::TempDir() + "/mutants." + std::to_string(getpid());
  std::ofstream lines(path);
  for (const Mutant& mutant : mutants) lines << mutant.document.dump() << "\n";
  lines.close();
  const std::optional<Verdicts> verdicts = Validate("--lines " + path);
  (void)unlink(path.c_str());
  if (!verdicts) GTEST_SKIP() << kNoValidator;
  ASSERT_EQ(verdicts->size(), mutants.size());

  size_t taken = 0, refused = 0;
  for (size_t i = 0; i < mutants.size(); ++i) {
    const std::string document = mutants[i].document.dump();
    const Result<Policy> policy = DecodePolicy(document, "mutant", "mutant.json");
    const bool schema_takes = verdicts->at(i).first == "accepted";
    ++(policy ? taken : refused);
    if (policy && !schema_takes) {
      ADD_FAILURE() << "only the schema refuses a change of " << mutants[i].at << ": " << document;
    }
    if (!policy && schema_takes && !IsBeyondSchema(mutants[i].at)) {
      ADD_FAILURE() << "only the decoder refuses a change of " << mutants[i].at << ": "
                    << policy.error().message;
    }
  }
  EXPECT_GT(taken, 50U);
  EXPECT_GT(refused, 500U);
}

// --- docs/policy.md

std::string Reference() {
  std::ostringstream text;
  text << std::ifstream(LANDGATE_SOURCE_DIR "/docs/policy.md").rdbuf();
  return text.str();
}

TEST_F(Schema, TheReferenceNamesEveryKeyAndWord) {
  const std::string reference = Reference();
  ASSERT_FALSE(reference.empty());
  std::vector<std::string> words;
  for (keys::Words known :
       {keys::Words(keys::kPolicy), keys::Words(keys::kCompatibility), keys::Words(keys::kPathRule),
        keys::Words(keys::kVerify), keys::Words(keys::kNetworkRule),
        keys::Words(keys::kCapabilities), keys::Words(keys::kApproval),
        keys::Words(keys::kOperations), keys::Words(RightSpellings())}) {
    for (std::string_view word : known) words.emplace_back(word);
  }
  for (const auto& more :
       {WordsOf(keys::kLandlockUse), WordsOf(keys::kExecSessions), WordsOf(keys::kOnViolation),
        WordsOf(keys::kSelfRestrict), WordsOf(keys::kMask), WordsOf(keys::kScopes)}) {
    words.insert(words.end(), more.begin(), more.end());
  }
  for (const std::string& word : words) {
    const bool named = reference.find("`" + word + "`") != std::string::npos ||
                       reference.find("\"" + word + "\"") != std::string::npos;
    EXPECT_TRUE(named) << word;
  }
}

TEST_F(Schema, TheExampleOfTheReferenceIsEnforcedByThisBuild) {
  const std::string reference = Reference();
  constexpr std::string_view kFence = "```jsonc\n";
  const size_t begin = reference.find(kFence);
  ASSERT_NE(begin, std::string::npos);
  const size_t from = begin + kFence.size();
  const std::string example = reference.substr(from, reference.find("```", from) - from);
  const Result<Policy> policy = DecodePolicy(example, "example", "docs/policy.md");
  ASSERT_TRUE(policy) << policy.error().message;
  const Status supported = CheckSupported(*policy);
  EXPECT_TRUE(supported) << supported.error().message;
}

}  // namespace
}  // namespace landgate::policy
