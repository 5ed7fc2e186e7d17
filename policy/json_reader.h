// Strict JSON for documents that decide: comments allowed where asked for, duplicate keys, bad
// UTF-8, nesting deeper than 64 and trailing text are errors with line and column. The only door
// through which nlohmann_json meets bytes from outside. Pure; thread-safe.
#ifndef LANDGATE_POLICY_JSON_READER_H_
#define LANDGATE_POLICY_JSON_READER_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace landgate::policy {

using Json = nlohmann::ordered_json;

enum class Comments { kAllowed, kRefused };

// `file` names the source in messages: "FILE:LINE:COLUMN: …".
Result<Json> ParseJson(std::string_view text, std::string_view file, Comments comments);

// A value with the place it stands at. Every accessor's error reads "FILE: /json/pointer: …".
// A cursor looks at the document; the document outlives it.
class JsonCursor {
 public:
  JsonCursor(const Json& value, std::string file, std::string pointer = "")
      : value_(&value), file_(std::move(file)), pointer_(std::move(pointer)) {}

  const Json& value() const { return *value_; }
  const std::string& file() const { return file_; }
  const std::string& pointer() const { return pointer_; }

  // Object access. `Only` refuses every key that is not in the list, suggesting the nearest one.
  Status Only(std::initializer_list<std::string_view> keys) const;
  Status OnlyOf(std::span<const std::string_view> keys) const;
  bool Has(std::string_view key) const;
  JsonCursor At(std::string_view key) const;  // must exist
  std::vector<std::string> Keys() const;      // objects only, document order

  Result<std::vector<JsonCursor>> Items(size_t at_most = 100000) const;  // arrays
  Status IsObject() const;
  Result<std::string> String(size_t at_most = 65536) const;  // no NUL
  Result<bool> Bool() const;
  Result<int64_t> Integer(int64_t low, int64_t high) const;
  Result<uint64_t> Unsigned() const;
  Result<double> Number(double low, double high) const;

  // "FILE: /pointer: message".
  Failure Fail(std::string_view message) const;

 private:
  const Json* value_;
  std::string file_;
  std::string pointer_;
};

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_JSON_READER_H_
