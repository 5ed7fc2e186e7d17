#include "oci-specs/json_text.h"

#include <algorithm>
#include <charconv>

namespace landgate::oci {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Four hexadecimal digits, or -1.
int HexQuad(std::string_view text) {
  if (text.size() < 4) return -1;
  int value = 0;
  for (size_t i = 0; i < 4; ++i) {
    const int digit = HexValue(text[i]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

bool IsHighSurrogate(int unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool IsLowSurrogate(int unit) { return unit >= 0xdc00 && unit < 0xe000; }

void AppendUtf8(std::string& out, unsigned code) {
  const auto byte = [&out](unsigned value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | code >> 6);
    byte(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  } else {
    byte(0xf0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3f));
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  }
}

// Length of the UTF-8 sequence at the front of `text`, 0 where there is none: no overlong forms, no
// surrogates, nothing beyond U+10FFFF (RFC 3629).
size_t Utf8Length(std::string_view text) {
  const auto at = [&text](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&at](size_t i) { return (at(i) & 0xc0U) == 0x80U; };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!continues(1) || !continues(2)) return 0;
    if (lead == 0xe0 && at(1) < 0xa0) return 0;
    if (lead == 0xed && at(1) > 0x9f) return 0;
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (lead == 0xf0 && at(1) < 0x90) return 0;
    if (lead == 0xf4 && at(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

// The content of a string token that the parser accepted.
std::string Unquote(std::string_view token) {
  const std::string_view body = token.substr(1, token.size() - 2);
  std::string content;
  content.reserve(body.size());
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '\\') {
      content += body[i];
      continue;
    }
    ++i;
    switch (body[i]) {
      case 'b':
        content += '\b';
        break;
      case 'f':
        content += '\f';
        break;
      case 'n':
        content += '\n';
        break;
      case 'r':
        content += '\r';
        break;
      case 't':
        content += '\t';
        break;
      case 'u': {
        const int unit = HexQuad(body.substr(i + 1));
        i += 4;
        auto code = static_cast<unsigned>(unit);
        if (IsHighSurrogate(unit)) {
          const int low = HexQuad(body.substr(i + 3));
          i += 6;
          code = 0x10000U + ((code - 0xd800U) << 10) + (static_cast<unsigned>(low) - 0xdc00U);
        }
        AppendUtf8(content, code);
        break;
      }
      default:
        content += body[i];  // " \ /
    }
  }
  return content;
}

bool TokenIs(std::string_view token, std::string_view content) {
  if (token.size() < 2) return false;
  const std::string_view body = token.substr(1, token.size() - 2);
  return body.find('\\') == std::string_view::npos ? body == content : Unquote(token) == content;
}

std::string FoldLikeGo(std::string_view key) {
  std::string folded;
  for (size_t i = 0; i < key.size(); ++i) {
    const char c = key[i];
    if (key.substr(i).starts_with("\xc5\xbf")) {  // U+017F LATIN SMALL LETTER LONG S
      folded += 's';
      i += 1;
    } else if (key.substr(i).starts_with("\xe2\x84\xaa")) {  // U+212A KELVIN SIGN
      folded += 'k';
      i += 2;
    } else {
      folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return folded;
}

}  // namespace

// RFC 8259, recursive descent over the bytes.
class JsonParser {
 public:
  JsonParser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<JsonNode> Document() {
    JsonNode root;
    SkipSpace();
    if (Status ok = Value(root, 0); !ok) return Forward(ok);
    SkipSpace();
    if (at_ != text_.size()) return Wrong("text behind the value");
    return root;
  }

 private:
  Failure Wrong(std::string_view what) const {
    const std::string_view before = text_.substr(0, std::min(at_, text_.size()));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const size_t newline = before.rfind('\n');
    const size_t column =
        newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
    return Refuse(std::string(file_) + ":" + std::to_string(line) + ":" + std::to_string(column) +
                  ": not valid JSON: " + std::string(what));
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void SkipSpace() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }

  bool Take(char c) {
    if (Peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }

  Status Value(JsonNode& node, int depth) {
    if (depth > kMaxJsonDepth) return Wrong("nested deeper than 64");
    const size_t begin = at_;
    Status ok;
    switch (Peek()) {
      case '{':
        node.kind_ = JsonNode::Kind::kObject;
        ok = Object(node, depth);
        break;
      case '[':
        node.kind_ = JsonNode::Kind::kArray;
        ok = Array(node, depth);
        break;
      case '"':
        node.kind_ = JsonNode::Kind::kString;
        ok = StringToken();
        break;
      case 't':
        node.kind_ = JsonNode::Kind::kBool;
        ok = Word("true");
        break;
      case 'f':
        node.kind_ = JsonNode::Kind::kBool;
        ok = Word("false");
        break;
      case 'n':
        ok = Word("null");
        break;
      default:
        node.kind_ = JsonNode::Kind::kNumber;
        ok = Number();
    }
    node.raw_ = text_.substr(begin, at_ - begin);
    return ok;
  }

  Status Word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return Wrong("unknown word");
    at_ += word.size();
    return {};
  }

  bool Digits() {
    const size_t begin = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    return at_ > begin;
  }

  Status Number() {
    (void)Take('-');  // optional
    if (!Take('0') && !Digits()) return Wrong("a value is missing");
    if (Take('.') && !Digits()) return Wrong("a digit must follow the point");
    if (Peek() == 'e' || Peek() == 'E') {
      ++at_;
      if (!Take('+')) (void)Take('-');  // optional
      if (!Digits()) return Wrong("a digit must follow the exponent");
    }
    return {};
  }

  Status StringToken() {
    if (!Take('"')) return Wrong("a string is missing");
    while (true) {
      if (at_ >= text_.size()) return Wrong("the string does not end");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') break;
      if (c == '\\') {
        if (Status ok = Escape(); !ok) return ok;
      } else if (c < 0x20) {
        return Wrong("control character in a string");
      } else if (c < 0x80) {
        ++at_;
      } else {
        const size_t length = Utf8Length(text_.substr(at_));
        if (length == 0) return Wrong("bad UTF-8");
        at_ += length;
      }
    }
    ++at_;
    return {};
  }

  Status Escape() {
    const std::string_view rest = text_.substr(at_ + 1);
    if (rest.empty()) return Wrong("the string does not end");
    if (rest[0] != 'u') {
      if (std::string_view("\"\\/bfnrt").find(rest[0]) == std::string_view::npos) {
        return Wrong("unknown escape");
      }
      at_ += 2;
      return {};
    }
    const int unit = HexQuad(rest.substr(1));
    if (unit < 0) return Wrong("four hexadecimal digits must follow \\u");
    if (IsLowSurrogate(unit)) return Wrong("lone surrogate");
    at_ += 6;
    if (!IsHighSurrogate(unit)) return {};
    const std::string_view next = text_.substr(at_);
    if (!next.starts_with("\\u") || !IsLowSurrogate(HexQuad(next.substr(2)))) {
      return Wrong("lone surrogate");
    }
    at_ += 6;
    return {};
  }

  Status Array(JsonNode& node, int depth) {
    ++at_;
    SkipSpace();
    if (Take(']')) return {};
    while (true) {
      if (Status ok = Value(node.children_.emplace_back(), depth + 1); !ok) return ok;
      SkipSpace();
      if (Take(']')) return {};
      if (!Take(',')) return Wrong("',' or ']' is missing");
      SkipSpace();
    }
  }

  Status Object(JsonNode& node, int depth) {
    ++at_;
    SkipSpace();
    if (Take('}')) return {};
    while (true) {
      const size_t begin = at_;
      if (Status ok = StringToken(); !ok) return ok;
      JsonNode& child = node.children_.emplace_back();
      child.key_ = text_.substr(begin, at_ - begin);
      SkipSpace();
      if (!Take(':')) return Wrong("':' is missing");
      SkipSpace();
      if (Status ok = Value(child, depth + 1); !ok) return ok;
      SkipSpace();
      if (Take('}')) return CheckUnique(node);
      if (!Take(',')) return Wrong("',' or '}' is missing");
      SkipSpace();
    }
  }

  // Of two members with one key runtimes take the first, the last, or a mixture of both.
  Status CheckUnique(const JsonNode& node) const {
    std::vector<std::string> keys;
    keys.reserve(node.children_.size());
    for (const JsonNode& child : node.children_) keys.push_back(Unquote(child.key_));
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return {};
    return Wrong("the object that ends here has the key " + QuoteJson(*twice) + " twice");
  }

  std::string_view text_;
  std::string_view file_;
  size_t at_ = 0;
};

std::string JsonNode::Key() const { return key_.empty() ? "" : Unquote(key_); }
std::string JsonNode::String() const { return IsString() ? Unquote(raw_) : ""; }
bool JsonNode::Is(std::string_view string) const { return IsString() && TokenIs(raw_, string); }
bool JsonNode::KeyIs(std::string_view key) const { return TokenIs(key_, key); }

std::optional<uint64_t> JsonNode::Unsigned() const {
  uint64_t value = 0;
  if (kind_ != Kind::kNumber) return std::nullopt;
  const auto [end, error] = std::from_chars(raw_.data(), raw_.data() + raw_.size(), value);
  if (error != std::errc() || end != raw_.data() + raw_.size()) return std::nullopt;
  return value;
}

const JsonNode* JsonNode::Find(std::string_view key) const {
  if (!IsObject()) return nullptr;
  for (const JsonNode& child : children_) {
    if (child.KeyIs(key)) return &child;
  }
  return nullptr;
}

JsonNode* JsonNode::Find(std::string_view key) {
  return const_cast<JsonNode*>(std::as_const(*this).Find(key));
}

bool JsonNode::SameAs(const JsonNode& other) const {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::kNull:
      return true;
    case Kind::kBool:
    case Kind::kNumber:
      return raw_ == other.raw_;
    case Kind::kString:
      return raw_ == other.raw_ || String() == other.String();
    case Kind::kArray:
      return std::equal(children_.begin(), children_.end(), other.children_.begin(),
                        other.children_.end(),
                        [](const JsonNode& a, const JsonNode& b) { return a.SameAs(b); });
    case Kind::kObject:
      return children_.size() == other.children_.size() &&
             std::all_of(children_.begin(), children_.end(), [&other](const JsonNode& child) {
               const JsonNode* match = other.Find(child.Key());
               return match != nullptr && child.SameAs(*match);
             });
  }
  return false;
}

bool JsonNode::Edited() const {
  return edited_ || std::any_of(children_.begin(), children_.end(),
                                [](const JsonNode& child) { return child.Edited(); });
}

// Where the container was spread over lines its members, new ones too, stand on lines of their own.
void JsonNode::Write(std::string& out) const {
  if (!Edited()) {
    out += raw_;
    return;
  }
  const bool object = IsObject();
  const std::string_view inside = raw_.substr(1, raw_.size() - 2);
  const size_t first = std::min(inside.find_first_not_of(kSpace), inside.size());
  const size_t last = inside.find_last_not_of(kSpace) + 1;  // 0 where there is only space
  const bool has_lines = last > 0 && inside.substr(0, first).find('\n') != std::string_view::npos;
  const std::string_view before_child = has_lines ? inside.substr(0, first) : "";
  const std::string_view before_end = has_lines && !children_.empty() ? inside.substr(last) : "";
  out += object ? '{' : '[';
  for (size_t i = 0; i < children_.size(); ++i) {
    if (i > 0) out += ',';
    out += before_child;
    if (object) {
      out += children_[i].key_;
      out += has_lines ? ": " : ":";
    }
    children_[i].Write(out);
  }
  out += before_end;
  out += object ? '}' : ']';
}

Result<JsonText> JsonText::Parse(std::string_view text, std::string_view file) {
  Result<JsonNode> root = JsonParser(text, file).Document();
  if (!root) return Forward(root);
  JsonText document;
  document.source_ = text;
  document.file_ = file;
  document.root_ = std::make_unique<JsonNode>(std::move(*root));
  document.kept_ = std::make_unique<std::deque<std::string>>();
  return document;
}

std::string_view JsonText::Keep(std::string text) { return kept_->emplace_back(std::move(text)); }

JsonNode JsonText::String(std::string_view content) {
  JsonNode node;
  node.kind_ = JsonNode::Kind::kString;
  node.raw_ = Keep(QuoteJson(content));
  return node;
}

JsonNode JsonText::Array() {
  JsonNode node;
  node.kind_ = JsonNode::Kind::kArray;
  node.raw_ = "[]";
  return node;
}

JsonNode JsonText::Object() {
  JsonNode node;
  node.kind_ = JsonNode::Kind::kObject;
  node.raw_ = "{}";
  return node;
}

JsonNode JsonText::Strings(const std::vector<std::string>& contents) {
  JsonNode node = Array();
  for (const std::string& content : contents) Append(node, String(content));
  return node;
}

void JsonText::Set(JsonNode& object, std::string_view key, JsonNode value) {
  object.edited_ = true;
  if (JsonNode* present = object.Find(key)) {
    value.key_ = present->key_;
    *present = std::move(value);
    return;
  }
  value.key_ = Keep(QuoteJson(key));
  object.children_.push_back(std::move(value));
}

void JsonText::Remove(JsonNode& object, std::string_view key) {
  if (std::erase_if(object.children_, [key](const JsonNode& node) { return node.KeyIs(key); })) {
    object.edited_ = true;
  }
}

void JsonText::Append(JsonNode& array, JsonNode value) {
  Insert(array, array.children_.size(), std::move(value));
}

void JsonText::Insert(JsonNode& array, size_t index, JsonNode value) {
  array.edited_ = true;
  array.children_.insert(array.children_.begin() + static_cast<ptrdiff_t>(index), std::move(value));
}

void JsonText::RemoveItem(JsonNode& array, size_t index) {
  array.edited_ = true;
  array.children_.erase(array.children_.begin() + static_cast<ptrdiff_t>(index));
}

void JsonText::Replace(JsonNode& array, size_t index, JsonNode value) {
  array.edited_ = true;
  array.children_[index] = std::move(value);
}

Failure JsonText::Fail(std::string_view pointer, std::string_view message) const {
  return Refuse(file_ + ": " + std::string(pointer) + ": " + std::string(message));
}

std::string JsonText::Write() const {
  if (!edited()) return std::string(source_);
  const std::string_view root = root_->token();
  const auto begin = static_cast<size_t>(root.data() - source_.data());
  std::string out(source_.substr(0, begin));
  out.reserve(source_.size() + 4096);
  root_->Write(out);
  out += source_.substr(begin + root.size());
  return out;
}

Status RefuseLookalikes(const JsonText& document, const JsonNode& object, std::string_view pointer,
                        std::initializer_list<std::string_view> keys) {
  for (const JsonNode& child : object.children()) {
    const std::string key = child.Key();
    const std::string folded = FoldLikeGo(key);
    for (const std::string_view known : keys) {
      if (key == known || folded != FoldLikeGo(known)) continue;
      return document.Fail(std::string(pointer) + "/" + key,
                           "runc takes this key for " + QuoteJson(known) +
                               " and crun does not; write it as the specification does");
    }
  }
  return {};
}

std::string QuoteJson(std::string_view content) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string token = "\"";
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      token += '\\';
      token += c;
    } else if (byte < 0x20) {
      token += "\\u00";
      token += kHex[byte >> 4];
      token += kHex[byte & 0xf];
    } else {
      token += c;
    }
  }
  token += '"';
  return token;
}

}  // namespace landgate::oci
