#include "policy/json_reader.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_set>

#include "policy/nearest.h"

namespace landgate::policy {
namespace {

constexpr size_t kDeepest = 64;

// Walks the text and lets the handler know how far the parser has come. The parser's own callbacks
// carry no position.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

// Length of the well-formed UTF-8 sequence at the start of `text` (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF); 0 where there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto tail = [&byte](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const unsigned low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
    return byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const unsigned low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
    return byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// "FILE:LINE:COLUMN: message"; columns count bytes. `offset` is that of the offending byte.
Failure FailAt(std::string_view text, std::string_view file, size_t offset,
               std::string_view message) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const size_t newline = before.rfind('\n');
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
  return Refuse(std::string(file) + ":" + std::to_string(line) + ":" + std::to_string(column) +
                ": " + std::string(message));
}

// What the parser says, without its own place and exception number, in one line of bounded length.
std::string ParserMessage(std::string_view what) {
  const size_t column = what.find("column ");
  const size_t colon = column == std::string_view::npos ? column : what.find(": ", column);
  if (colon != std::string_view::npos) {
    what.remove_prefix(colon + 2);
  } else if (const size_t bracket = what.find("] "); bracket != std::string_view::npos) {
    what.remove_prefix(bracket + 2);
  }
  std::string message = Quoted(what);
  if (message.ends_with("…\"")) {  // keep "expected …", which stands last
    const size_t expected = what.rfind("; expected");
    if (expected != std::string_view::npos && what.size() - expected < 80) {
      message.pop_back();
      return message.substr(1) + std::string(what.substr(expected));
    }
  }
  return message.substr(1, message.size() - 2);
}

// Builds the document and refuses what a plain DOM parse would let pass: duplicate keys and depth.
class Builder {
 public:
  Builder(std::string_view text, std::string_view file, Comments comments)
      : text_(text), file_(file), comments_(comments), reached_(text.data()) {}

  const char** reached() { return &reached_; }
  Json TakeDocument() { return std::move(document_); }
  std::optional<Failure>& failure() { return failure_; }

  // --- the interface of nlohmann's SAX parser
  bool null() { return Add(Json(nullptr)); }
  bool boolean(bool value) { return Add(Json(value)); }
  bool number_integer(Json::number_integer_t value) { return Add(Json(value)); }
  bool number_unsigned(Json::number_unsigned_t value) { return Add(Json(value)); }
  bool number_float(Json::number_float_t value, const std::string&) { return Add(Json(value)); }
  bool string(std::string& value) { return Add(Json(std::move(value))); }
  bool binary(Json::binary_t&) { return false; }  // no such thing in JSON text
  bool start_object(size_t) { return Open(Json::object()); }
  bool start_array(size_t) { return Open(Json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(std::string& name) {
    Level& level = open_.back();
    if (IsDuplicate(level, name)) return Stop(Offset() - 1, "duplicate key " + Quoted(name));
    level.key = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    std::string message = ParserMessage(error.what());
    if (text_.find_first_not_of(" \t\r\n") == std::string_view::npos) {
      message = "the document is empty";
    }
    if (comments_ == Comments::kRefused && message.find("last read: '/'") != std::string::npos) {
      message += " (comments are not allowed here)";
    }
    return Stop(position == 0 ? 0 : position - 1, message);
  }

 private:
  struct Level {
    Json value;
    std::string key;                       // objects: of the value that comes next
    std::unordered_set<std::string> keys;  // objects of many keys: those seen
  };

  // Most objects have a few keys, which a look at each finds sooner than a hash; a set keeps large
  // ones from being quadratic.
  static bool IsDuplicate(Level& level, const std::string& name) {
    constexpr size_t kFew = 16;
    const auto& object = *level.value.get_ptr<Json::object_t*>();
    if (object.size() < kFew) {
      return std::any_of(object.begin(), object.end(),
                         [&name](const auto& entry) { return entry.first == name; });
    }
    if (level.keys.empty()) {
      for (const auto& [key, value] : object) level.keys.insert(key);
    }
    return !level.keys.insert(name).second;
  }

  size_t Offset() const { return static_cast<size_t>(reached_ - text_.data()); }

  bool Stop(size_t offset, std::string_view message) {
    if (!failure_) failure_ = FailAt(text_, file_, offset, message);
    return false;
  }

  bool Open(Json empty) {
    if (open_.size() == kDeepest) {
      return Stop(Offset() - 1, "nested deeper than " + std::to_string(kDeepest) + " levels");
    }
    open_.push_back({std::move(empty), {}, {}});
    return true;
  }

  bool Close() {
    Json value = std::move(open_.back().value);
    open_.pop_back();
    return Add(std::move(value));
  }

  bool Add(Json value) {
    if (open_.empty()) {
      document_ = std::move(value);
      return true;
    }
    Level& level = open_.back();
    if (auto* object = level.value.get_ptr<Json::object_t*>()) {
      // Straight into the vector beneath: the map's own emplace compares with every key, which
      // would make a large object quadratic. The key is known to be new.
      static_cast<Json::object_t::Container&>(*object).emplace_back(std::move(level.key),
                                                                    std::move(value));
    } else if (auto* array = level.value.get_ptr<Json::array_t*>()) {
      array->push_back(std::move(value));
    }
    return true;
  }

  std::string_view text_, file_;
  Comments comments_;
  const char* reached_;
  std::vector<Level> open_;
  Json document_;
  std::optional<Failure> failure_;
};

// Fit for a message: control characters, which a key may contain, would break the line.
std::string OneLine(std::string_view text) {
  std::string line;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      line += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      line += c;
    }
  }
  return line;
}

// RFC 6901.
std::string PointerTo(const std::string& parent, std::string_view token) {
  std::string pointer = parent + "/";
  for (char c : token) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  return pointer;
}

const Json& Missing() {
  static const Json null;
  return null;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, std::string_view file, Comments comments) {
  // The lexer takes NUL for the end of the input, and does not look at the bytes of comments.
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte != 0 && byte < 0x80) {  // ASCII, which nearly everything is
      ++at;
      continue;
    }
    if (byte == 0) return FailAt(text, file, at, "a NUL byte has no place in JSON");
    const size_t length = Utf8Length(text.substr(at));
    if (length == 0) return FailAt(text, file, at, "not UTF-8");
    at += length;
  }
  if (text.data() == nullptr) text = "";
  Builder builder(text, file, comments);
  const bool parsed =
      Json::sax_parse(CountingIterator(text.data(), builder.reached()),
                      CountingIterator(text.data() + text.size(), builder.reached()), &builder,
                      nlohmann::detail::input_format_t::json, /*strict=*/true,
                      /*ignore_comments=*/comments == Comments::kAllowed);
  if (builder.failure()) return *builder.failure();
  if (!parsed) return FailAt(text, file, text.size(), "not JSON");
  return builder.TakeDocument();
}

Failure JsonCursor::Fail(std::string_view message) const {
  std::string place = OneLine(file_) + ": ";
  if (!pointer_.empty()) place += OneLine(pointer_) + ": ";
  return Refuse(place + OneLine(message));
}

Status JsonCursor::IsObject() const {
  if (!value_->is_object()) {
    return Fail(std::string("expected an object, found ") + value_->type_name());
  }
  return {};
}

Status JsonCursor::Only(std::initializer_list<std::string_view> keys) const {
  return OnlyOf({keys.begin(), keys.size()});
}

Status JsonCursor::OnlyOf(std::span<const std::string_view> keys) const {
  if (Status status = IsObject(); !status) return status;
  for (const auto& [key, value] : *value_->get_ptr<const Json::object_t*>()) {
    bool known = false;
    for (std::string_view candidate : keys) known = known || candidate == key;
    if (known) continue;
    std::string message = "unknown key " + Quoted(key);
    if (const std::string_view nearest = Nearest(key, keys); !nearest.empty()) {
      message += DidYouMean(nearest);
    } else {
      message += "; known here:";
      for (std::string_view candidate : keys) message += " " + std::string(candidate);
    }
    return At(key).Fail(message);
  }
  return {};
}

bool JsonCursor::Has(std::string_view key) const {
  const auto* object = value_->get_ptr<const Json::object_t*>();
  return object != nullptr && object->find(std::string(key)) != object->end();
}

JsonCursor JsonCursor::At(std::string_view key) const {
  const Json* value = &Missing();
  if (const auto* object = value_->get_ptr<const Json::object_t*>()) {
    const auto found = object->find(std::string(key));
    if (found != object->end()) value = &found->second;
  }
  return JsonCursor(*value, file_, PointerTo(pointer_, key));
}

std::vector<std::string> JsonCursor::Keys() const {
  std::vector<std::string> keys;
  if (const auto* object = value_->get_ptr<const Json::object_t*>()) {
    keys.reserve(object->size());
    for (const auto& [key, value] : *object) keys.push_back(key);
  }
  return keys;
}

Result<std::vector<JsonCursor>> JsonCursor::Items(size_t at_most) const {
  const auto* array = value_->get_ptr<const Json::array_t*>();
  if (array == nullptr) {
    return Fail(std::string("expected an array, found ") + value_->type_name());
  }
  if (array->size() > at_most) {
    return Fail("more than " + std::to_string(at_most) + " entries");
  }
  std::vector<JsonCursor> items;
  items.reserve(array->size());
  for (size_t i = 0; i < array->size(); ++i) {
    items.emplace_back((*array)[i], file_, pointer_ + "/" + std::to_string(i));
  }
  return items;
}

Result<std::string> JsonCursor::String(size_t at_most) const {
  const auto* text = value_->get_ptr<const Json::string_t*>();
  if (text == nullptr) {
    return Fail(std::string("expected a string, found ") + value_->type_name());
  }
  if (text->size() > at_most) return Fail("longer than " + std::to_string(at_most) + " bytes");
  if (text->find('\0') != std::string::npos) return Fail("contains a NUL character");
  return *text;
}

Result<bool> JsonCursor::Bool() const {
  const auto* value = value_->get_ptr<const Json::boolean_t*>();
  if (value == nullptr) {
    return Fail(std::string("expected true or false, found ") + value_->type_name());
  }
  return *value;
}

Result<int64_t> JsonCursor::Integer(int64_t low, int64_t high) const {
  const std::string range = std::to_string(low) + " to " + std::to_string(high);
  if (!value_->is_number_integer()) return Fail("expected an integer from " + range);
  int64_t value = 0;
  if (const auto* positive = value_->get_ptr<const Json::number_unsigned_t*>()) {
    if (*positive > static_cast<uint64_t>(INT64_MAX)) {
      return Fail("out of range: expected an integer from " + range);
    }
    value = static_cast<int64_t>(*positive);
  } else if (const auto* any = value_->get_ptr<const Json::number_integer_t*>()) {
    value = *any;
  }
  if (value < low || value > high) {
    return Fail("out of range: expected an integer from " + range);
  }
  return value;
}

Result<uint64_t> JsonCursor::Unsigned() const {
  if (value_->is_number_integer()) {
    if (const auto* positive = value_->get_ptr<const Json::number_unsigned_t*>()) return *positive;
    const auto* any = value_->get_ptr<const Json::number_integer_t*>();
    if (any != nullptr && *any >= 0) return static_cast<uint64_t>(*any);
  }
  return Fail("expected an integer from 0 to 18446744073709551615");
}

Result<double> JsonCursor::Number(double low, double high) const {
  if (!value_->is_number()) {
    return Fail(std::string("expected a number, found ") + value_->type_name());
  }
  const double value = value_->get<double>();  // any number converts
  if (!std::isfinite(value) || value < low || value > high) return Fail("number out of range");
  return value;
}

}  // namespace landgate::policy
