#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/paths.h"
#include "policy/document_decoder.h"
#include "policy/nearest.h"

namespace landgate::policy {
namespace {

constexpr size_t kLongestName = 1024;
constexpr std::chrono::milliseconds kLongestDuration = std::chrono::hours(24);

// NET_BIND is CAP_NET_BIND_SERVICE, however many letters are missing.
std::string_view OnlyOneThatBeginsWith(std::string_view start,
                                       std::span<const std::string_view> names) {
  std::string_view found;
  for (std::string_view name : names) {
    if (!name.starts_with(start)) continue;
    if (!found.empty()) return "";
    found = name;
  }
  return found;
}

}  // namespace

std::string OneOf(std::string_view word, keys::Words words) {
  std::string text = Quoted(word) + " is none of:";
  for (std::string_view known : words) text += " " + std::string(known);
  return text + DidYouMean(Nearest(word, words));
}

std::string PathProblem(const std::string& path) {
  if (path.empty()) return "an empty path";
  if (path.front() != '/') {
    return Quoted(path) + " is relative; paths are those of the container and begin with /";
  }
  if (IsCleanAbsolute(path)) return "";
  for (std::string_view part : Components(path)) {
    if (part == "..") {
      return Quoted(path) + " contains \"..\"; write the path that is meant";
    }
  }
  return Quoted(path) + " is not in its shortest form; write " + Quoted(Clean(path));
}

std::vector<std::string> Decoder::Names(const JsonCursor& list, std::string_view what) {
  std::vector<std::string> names;
  const auto items = Take(list.Items());
  if (items.empty()) Reject(list, "an empty list; name at least one " + std::string(what));
  for (const JsonCursor& item : items) {
    names.push_back(Take(item.String(kLongestName)));
    if (names.back().empty()) Reject(item, "an empty string; expected a " + std::string(what));
  }
  return names;
}

// "250ms", "30s", "5m".
std::chrono::milliseconds Decoder::Duration(const JsonCursor& cursor) {
  constexpr std::string_view kExpected = "expected a duration such as \"250ms\", \"30s\" or \"5m\"";
  const std::string text = Take(cursor.String(32));
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view unit = std::string_view(text).substr(digits);
  const int64_t factor = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : 0;
  if (digits == 0 || digits > 9 || factor == 0) {
    Reject(cursor, kExpected);
    return {};
  }
  int64_t number = 0;
  for (char c : text.substr(0, digits)) number = number * 10 + (c - '0');
  const std::chrono::milliseconds duration(number * factor);
  if (duration <= std::chrono::milliseconds(0) || duration > kLongestDuration) {
    Reject(cursor, "out of range: a duration is more than 0 and at most 1440m");
  }
  return duration;
}

Rights Decoder::RightsOf(const JsonCursor& list, bool* names_unix) {
  Rights rights = 0;
  const auto items = Take(list.Items());
  if (items.empty()) Reject(list, "an empty list; name at least one right");
  for (const JsonCursor& item : items) {
    if (item.value().is_number()) {
      const Rights mask = Take(item.Unsigned());
      if (mask == 0) Reject(item, "a bit mask of rights is a positive integer");
      *names_unix = *names_unix || (mask & kUnix) != 0;
      rights |= mask;
      continue;
    }
    const std::string name = Take(item.String());
    const std::optional<Rights> named = RightsByName(name);
    if (!named) {
      const std::string_view nearest = Nearest(name, RightSpellings());
      Reject(item, "unknown right " + Quoted(name) +
                       (nearest.empty() ? "; expected a group (read, execute, write, create, "
                                          "remove, modify, device, ioctl, unix, all), a Landlock "
                                          "name such as read_file, or the bit mask as a number"
                                        : DidYouMean(nearest)));
      continue;
    }
    *names_unix = *names_unix || *named == kUnix;
    rights |= *named;
  }
  return rights;
}

CapabilitySet Decoder::CapabilitiesOf(const JsonCursor& list) {
  static const std::vector<std::string> all = CapabilityNames(kAllCapabilities);
  static const std::vector<std::string_view> known(all.begin(), all.end());
  CapabilitySet set = 0;
  for (const JsonCursor& item : Take(list.Items())) {
    const std::string name = Take(item.String());
    if (const std::optional<int> number = CapabilityNumber(name)) {
      set |= CapabilitySet{1} << *number;
      continue;
    }
    std::string_view nearest = OnlyOneThatBeginsWith("CAP_" + name, known);
    if (nearest.empty()) nearest = Nearest("CAP_" + name, known);
    if (nearest.empty()) nearest = Nearest(name, known);
    Reject(item, "unknown capability " + Quoted(name) + DidYouMean(nearest));
  }
  return set;
}

bool Decoder::EffectOf(const JsonCursor& rule, Effect* effect, std::string_view* key) {
  int given = 0;
  for (const keys::Choice<Effect>& choice : keys::kEffects) {
    if (!rule.Has(choice.word)) continue;
    ++given;
    *effect = choice.value;
    *key = choice.word;
  }
  if (given != 1) {
    Reject(rule, given == 0
                     ? "a rule needs one of allow, deny, ask"
                     : "a rule takes exactly one of allow, deny, ask; make it several rules");
  }
  return given == 1;
}

}  // namespace landgate::policy
