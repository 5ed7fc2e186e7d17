// The decoder of policy documents, shared by the files that decode its parts: values
// (document_values_json.cc), rules on paths and destinations (document_rules_json.cc) and the
// document as a whole (document_json.cc). Internal to them.
#ifndef LANDGATE_POLICY_DOCUMENT_DECODER_H_
#define LANDGATE_POLICY_DOCUMENT_DECODER_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "policy/document.h"
#include "policy/document_keys.h"
#include "policy/json_reader.h"

namespace landgate::policy {

inline constexpr size_t kLongestPath = 4096;

// Decodes one document. Accessors remember the first failure and go on with an empty value, so that
// the body reads like the document; whatever was decoded after a failure is thrown away.
class Decoder {
 public:
  explicit Decoder(bool is_inline) : is_inline_(is_inline) {}

  Result<Policy> Decode(const JsonCursor& root, std::string_view name);

 private:
  // --- remembering the first failure
  void Note(Error error) {
    if (!failure_) failure_ = std::move(error);
  }
  void Reject(const JsonCursor& where, std::string_view message) {
    Note(where.Fail(message).value());
  }
  bool Check(Status status) {
    if (status) return true;
    Note(std::move(status).error());
    return false;
  }
  template <class T>
  T Take(Result<T> result) {
    if (result) return std::move(*result);
    Note(std::move(result).error());
    return T{};
  }

  // --- values
  bool Flag(const JsonCursor& object, std::string_view key) {
    return object.Has(key) && Take(object.At(key).Bool());
  }
  // A list that must not be empty, of strings.
  std::vector<std::string> Names(const JsonCursor& list, std::string_view what);
  template <class T, size_t N>
  T Choose(const JsonCursor& cursor, const keys::Choice<T> (&choices)[N]);
  std::chrono::milliseconds Duration(const JsonCursor& cursor);
  Rights RightsOf(const JsonCursor& list, bool* names_unix);
  CapabilitySet CapabilitiesOf(const JsonCursor& list);
  // The rule's effect, and where its list stands. False where none or several are given.
  bool EffectOf(const JsonCursor& rule, Effect* effect, std::string_view* key);

  // --- sections, one each
  void Version(const JsonCursor& root);
  void Extends(const JsonCursor& list);
  void Compatibility(const JsonCursor& section);
  void Path(const JsonCursor& rule);
  void Target(const JsonCursor& path, PathKind kind, PathRule& into);
  void Verify(const JsonCursor& section, PathRule& into);
  void CheckOptions(const JsonCursor& rule, const PathRule& decoded);
  void Network(const JsonCursor& rule);
  void CapabilitySection(const JsonCursor& section);
  void Emulate(const JsonCursor& section);
  void Syscalls(const JsonCursor& section);
  void Scopes(const JsonCursor& list);
  void LandlockLayers(const JsonCursor& list);
  void ApprovalSection(const JsonCursor& section);
  void CheckInline(const JsonCursor& root);

  const bool is_inline_;
  Policy policy_;
  std::optional<Error> failure_;
};

inline Origin OriginOf(const JsonCursor& cursor) { return {cursor.file(), cursor.pointer()}; }

// "WORD is none of: …", with the nearest.
std::string OneOf(std::string_view word, keys::Words words);
// Why a path can't stand in a policy; empty where it can.
std::string PathProblem(const std::string& path);

template <class T, size_t N>
std::vector<std::string_view> WordsOf(const keys::Choice<T> (&choices)[N]) {
  std::vector<std::string_view> words;
  for (const keys::Choice<T>& choice : choices) words.push_back(choice.word);
  return words;
}

template <class T, size_t N>
T Decoder::Choose(const JsonCursor& cursor, const keys::Choice<T> (&choices)[N]) {
  const Result<std::string> word = cursor.String();
  if (!word) {
    Note(word.error());
    return T{};
  }
  for (const keys::Choice<T>& choice : choices) {
    if (choice.word == *word) return choice.value;
  }
  Reject(cursor, OneOf(*word, WordsOf(choices)));
  return T{};
}

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DOCUMENT_DECODER_H_
