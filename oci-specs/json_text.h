// JSON that is edited and written back without loss: every value that an edit does not name leaves
// as the very bytes it came in, so numbers keep their text, strings their escapes, and keys their
// order, whatever the version of the specification that they belong to.
//
// A document is parsed into a tree of byte ranges of its source. Writing copies the range of every
// subtree without an edit; a container with an edit is written anew around its members' ranges, in
// the indentation that it had.
//
// Strict where two readers could disagree: duplicate keys, bad UTF-8, lone surrogates, control
// characters in strings, text behind the value and nesting deeper than 64 are errors with line and
// column. Not thread-safe; use one document in one thread.
//
//   Result<JsonText> config = JsonText::Parse(text, "config.json");
//   JsonNode* process = config->root().Find("process");
//   config->Set(*process, "cwd", config->String("/"));
//   std::string edited = config->Write();
#ifndef LANDGATE_OCI_SPECS_JSON_TEXT_H_
#define LANDGATE_OCI_SPECS_JSON_TEXT_H_

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace landgate::oci {

inline constexpr int kMaxJsonDepth = 64;

class JsonNode {
 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind() const { return kind_; }
  bool IsNull() const { return kind_ == Kind::kNull; }
  bool IsString() const { return kind_ == Kind::kString; }
  bool IsArray() const { return kind_ == Kind::kArray; }
  bool IsObject() const { return kind_ == Kind::kObject; }

  // The token of a scalar; for containers the bytes that were read, without later edits.
  std::string_view token() const { return raw_; }
  std::string Key() const;                   // decoded; "" for what is no member of an object
  std::string String() const;                // decoded; "" for what is no string
  bool Is(std::string_view string) const;    // a string with this content
  std::optional<uint64_t> Unsigned() const;  // numbers written as plain digits

  // Members in document order, or items.
  const std::vector<JsonNode>& children() const { return children_; }
  std::vector<JsonNode>& children() { return children_; }
  const JsonNode* Find(std::string_view key) const;
  JsonNode* Find(std::string_view key);

  // The same value: strings by content, numbers by text, objects whatever the order of their keys.
  bool SameAs(const JsonNode& other) const;

 private:
  friend class JsonText;
  friend class JsonParser;
  bool KeyIs(std::string_view key) const;
  bool Edited() const;
  void Write(std::string& out) const;

  std::string_view raw_;
  std::string_view key_;  // with its quotes
  std::vector<JsonNode> children_;
  Kind kind_ = Kind::kNull;
  bool edited_ = false;  // this container's own list of children differs from raw_
};

class JsonText {
 public:
  // `text` outlives the document.
  static Result<JsonText> Parse(std::string_view text, std::string_view file);

  JsonNode& root() { return *root_; }
  const JsonNode& root() const { return *root_; }
  const std::string& file() const { return file_; }

  // New values; they live as long as the document.
  JsonNode String(std::string_view content);
  JsonNode Strings(const std::vector<std::string>& contents);  // an array
  JsonNode Array();
  JsonNode Object();

  // Edits. Pointers to siblings of what is added or removed are invalid afterwards.
  void Set(JsonNode& object, std::string_view key, JsonNode value);  // replaces or appends
  void Remove(JsonNode& object, std::string_view key);
  void Append(JsonNode& array, JsonNode value);
  void Insert(JsonNode& array, size_t index, JsonNode value);
  void RemoveItem(JsonNode& array, size_t index);
  void Replace(JsonNode& array, size_t index, JsonNode value);

  bool edited() const { return root_->Edited(); }
  // The source's own bytes where nothing was edited.
  std::string Write() const;

  // "FILE: POINTER: message".
  Failure Fail(std::string_view pointer, std::string_view message) const;

 private:
  std::string_view Keep(std::string text);

  std::string_view source_;
  std::string file_;
  std::unique_ptr<JsonNode> root_;
  std::unique_ptr<std::deque<std::string>> kept_;
};

// Refuses members whose key is one of `keys` but for its case. Go's decoder, and so runc, takes
// "Process" for "process" (and U+017F, U+212A for s and k); crun does not: what one of them runs
// must be what was edited here.
Status RefuseLookalikes(const JsonText& document, const JsonNode& object, std::string_view pointer,
                        std::initializer_list<std::string_view> keys);

// The JSON string token of `content`.
std::string QuoteJson(std::string_view content);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_JSON_TEXT_H_
