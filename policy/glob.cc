#include "policy/glob.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/paths.h"

namespace landgate::policy {
namespace {

constexpr size_t kMaxPattern = 4095;  // PATH_MAX without its NUL

constexpr bool InRange(char c, char low, char high) {
  return static_cast<unsigned char>(c) >= static_cast<unsigned char>(low) &&
         static_cast<unsigned char>(c) <= static_cast<unsigned char>(high);
}
constexpr bool IsLower(char c) { return InRange(c, 'a', 'z'); }
constexpr bool IsUpper(char c) { return InRange(c, 'A', 'Z'); }
constexpr bool IsDigit(char c) { return InRange(c, '0', '9'); }
constexpr bool IsAlnum(char c) { return IsLower(c) || IsUpper(c) || IsDigit(c); }
constexpr bool IsGraph(char c) { return InRange(c, '!', '~'); }

// The character classes of POSIX brackets as the C locale defines them.
struct CharacterClass {
  std::string_view name;
  bool (*contains)(char c);
};
constexpr std::array<CharacterClass, 12> kClasses = {{
    {"alnum", IsAlnum},
    {"alpha", [](char c) { return IsLower(c) || IsUpper(c); }},
    {"blank", [](char c) { return c == ' ' || c == '\t'; }},
    {"cntrl", [](char c) { return InRange(c, 0, 31) || c == 127; }},
    {"digit", IsDigit},
    {"graph", IsGraph},
    {"lower", IsLower},
    {"print", [](char c) { return IsGraph(c) || c == ' '; }},
    {"punct", [](char c) { return IsGraph(c) && !IsAlnum(c); }},
    {"space", [](char c) { return c == ' ' || InRange(c, '\t', '\r'); }},
    {"upper", IsUpper},
    {"xdigit", [](char c) { return IsDigit(c) || InRange(c, 'a', 'f') || InRange(c, 'A', 'F'); }},
}};

// What one bracket expression says of one byte.
enum class Bracket { kUnclosed, kBad, kMatches, kDiffers };

// Reads the bracket expression at `pattern[*at] == '['` and leaves `*at` behind it. The expression
// is always read to its end, so that the answer for one byte also checks the syntax.
Bracket ReadBracket(std::string_view pattern, size_t* at, char byte) {
  size_t i = *at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  bool bad = false;
  for (bool first = true; i < pattern.size(); first = false) {
    if (pattern[i] == ']' && !first) {
      *at = i + 1;
      if (bad) return Bracket::kBad;
      return found != negated ? Bracket::kMatches : Bracket::kDiffers;
    }
    if (pattern[i] == '[' && i + 1 < pattern.size() &&
        (pattern[i + 1] == ':' || pattern[i + 1] == '.' || pattern[i + 1] == '=')) {
      const char close[] = {pattern[i + 1], ']', 0};
      const size_t end = pattern.find(close, i + 2);
      if (end == std::string_view::npos) return Bracket::kUnclosed;
      const std::string_view name = pattern.substr(i + 2, end - i - 2);
      const auto* known = std::find_if(kClasses.begin(), kClasses.end(),
                                       [&](const CharacterClass& c) { return c.name == name; });
      if (pattern[i + 1] != ':' || known == kClasses.end()) {
        bad = true;  // collation belongs to a locale, and there is none
      } else {
        found = found || known->contains(byte);
      }
      i = end + 2;
      continue;
    }
    const auto character = [&](char* out) {
      if (pattern[i] == '\\') ++i;
      if (i >= pattern.size()) return false;
      *out = pattern[i++];
      return true;
    };
    char low = 0;
    if (!character(&low)) return Bracket::kUnclosed;
    char high = low;
    if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
      ++i;
      if (!character(&high)) return Bracket::kUnclosed;
      bad = bad || static_cast<unsigned char>(low) > static_cast<unsigned char>(high);
    }
    found = found || InRange(byte, low, high);
  }
  return Bracket::kUnclosed;
}

// True when the single-byte item at `*at` matches `byte`; leaves `*at` behind the item. Total: what
// CheckGlob refuses (an open bracket, a last backslash) stands for itself.
bool ItemMatches(std::string_view pattern, size_t* at, char byte) {
  const char c = pattern[*at];
  if (c == '?') {
    ++*at;
    return true;
  }
  if (c == '[') {
    const Bracket answer = ReadBracket(pattern, at, byte);
    if (answer != Bracket::kUnclosed) return answer == Bracket::kMatches;
  }
  if (c == '\\' && *at + 1 < pattern.size()) ++*at;
  return pattern[(*at)++] == byte;
}

// Walks the components of a clean path, or of a pattern, without taking memory.
class ComponentWalk {
 public:
  explicit ComponentWalk(std::string_view path) : rest_(path) { Next(); }
  bool done() const { return done_; }
  std::string_view current() const { return current_; }
  void Next() {
    while (!rest_.empty() && rest_.front() == '/') rest_.remove_prefix(1);
    done_ = rest_.empty();
    current_ = rest_.substr(0, rest_.find('/'));
    rest_.remove_prefix(current_.size());
  }

 private:
  std::string_view rest_;
  std::string_view current_;
  bool done_ = false;
};

Failure BadGlob(std::string_view pattern, std::string_view why) {
  return Refuse("glob \"" + std::string(pattern) + "\": " + std::string(why));
}

}  // namespace

Status CheckGlob(std::string_view pattern) {
  if (pattern.size() > kMaxPattern) {
    return Refuse("a glob is at most " + std::to_string(kMaxPattern) +
                  " bytes long, this one has " + std::to_string(pattern.size()));
  }
  if (pattern.empty() || pattern.front() != '/') {
    return BadGlob(pattern, "must be an absolute path, beginning with /");
  }
  if (!IsCleanAbsolute(pattern)) {
    return BadGlob(pattern,
                   "must have no empty, \".\" or \"..\" component, no slash at the end and no NUL");
  }
  for (ComponentWalk walk(pattern); !walk.done(); walk.Next()) {
    const std::string_view part = walk.current();
    if (part == "**") continue;
    for (size_t i = 0; i < part.size();) {
      if (part[i] == '\\' && i + 1 == part.size()) {
        return BadGlob(pattern, "a backslash must be followed by the character that it quotes");
      }
      if (part.substr(i).starts_with("**")) {
        return BadGlob(pattern, "\"**\" must be a whole component, as in /a/**/b");
      }
      if (part[i] == '*') {
        ++i;
      } else if (part[i] == '[') {
        const Bracket answer = ReadBracket(part, &i, 0);
        if (answer == Bracket::kUnclosed) {
          return BadGlob(pattern,
                         "a [ is not closed within its component; write \\[ for the character");
        }
        if (answer == Bracket::kBad) {
          return BadGlob(pattern, "a bracket holds a range backwards or an unknown class");
        }
      } else {
        i += part[i] == '\\' ? 2 : 1;
      }
    }
  }
  return {};
}

bool GlobComponentMatches(std::string_view pattern, std::string_view name) {
  // Only the last star needs to be remembered: whatever an earlier one could take, the later can.
  size_t p = 0;
  size_t n = 0;
  size_t after_star = std::string_view::npos;
  size_t star_takes_to = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      after_star = ++p;
      star_takes_to = n;
      continue;
    }
    if (p < pattern.size() && ItemMatches(pattern, &p, name[n])) {
      ++n;
      continue;
    }
    if (after_star == std::string_view::npos) return false;
    p = after_star;
    n = ++star_takes_to;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool GlobMatches(std::string_view pattern, std::string_view clean_path) {
  // The same walk as within a component, with "**" in the place of the star.
  ComponentWalk p(pattern);
  ComponentWalk n(clean_path);
  bool starred = false;
  ComponentWalk after_star = p;
  ComponentWalk star_takes_to = n;
  while (!n.done()) {
    if (!p.done() && p.current() == "**") {
      p.Next();
      starred = true;
      after_star = p;
      star_takes_to = n;
      continue;
    }
    if (!p.done() && GlobComponentMatches(p.current(), n.current())) {
      p.Next();
      n.Next();
      continue;
    }
    if (!starred) return false;
    p = after_star;
    star_takes_to.Next();
    n = star_takes_to;
  }
  while (!p.done() && p.current() == "**") p.Next();
  return p.done();
}

std::string LiteralPrefix(std::string_view pattern) {
  std::string prefix;
  for (ComponentWalk walk(pattern); !walk.done(); walk.Next()) {
    if (walk.current().find_first_of("*?[\\") != std::string_view::npos) break;
    prefix += '/';
    prefix += walk.current();
  }
  return prefix.empty() ? "/" : prefix;
}

}  // namespace landgate::policy
