// fuzz: policy
//
// A pattern and a path in two lines. On short inputs the matcher must agree with the definition
// read aloud; on every input it must end, and CheckGlob and LiteralPrefix must be total.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/paths.h"
#include "policy/glob.h"

namespace {

using landgate::Components;

bool MatchesComponent(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    return MatchesComponent(pattern.substr(1), name) ||
           (!name.empty() && MatchesComponent(pattern, name.substr(1)));
  }
  if (name.empty()) return false;
  if (pattern[0] == '?') return MatchesComponent(pattern.substr(1), name.substr(1));
  if (pattern[0] == '\\') pattern.remove_prefix(1);
  return pattern[0] == name[0] && MatchesComponent(pattern.substr(1), name.substr(1));
}

bool Matches(const std::vector<std::string_view>& pattern, size_t p,
             const std::vector<std::string_view>& path, size_t n) {
  if (p == pattern.size()) return n == path.size();
  if (pattern[p] == "**") {
    return Matches(pattern, p + 1, path, n) ||
           (n < path.size() && Matches(pattern, p, path, n + 1));
  }
  return n < path.size() && MatchesComponent(pattern[p], path[n]) &&
         Matches(pattern, p + 1, path, n + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t newline = std::min(input.find('\n'), input.size());
  const std::string_view pattern = input.substr(0, newline);
  const std::string_view path = newline == input.size() ? "/a/b" : input.substr(newline + 1);
  const bool matches = landgate::policy::GlobMatches(pattern, path);
  const bool checked = landgate::policy::CheckGlob(pattern).has_value();
  const std::string prefix = landgate::policy::LiteralPrefix(pattern);
  if (!checked) return 0;
  if (prefix != "/" && !pattern.starts_with(prefix)) abort();
  if (!landgate::IsCleanAbsolute(path)) return 0;
  if (matches && !landgate::IsAtOrBeneath(path, prefix)) abort();
  if (pattern.size() <= 24 && path.size() <= 24 && pattern.find('[') == std::string_view::npos) {
    if (matches != Matches(Components(pattern), 0, Components(path), 0)) abort();
  }
  return 0;
}
