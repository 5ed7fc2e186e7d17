// Path patterns as a shell user expects: `*` and `?` and `[…]` stay within a component, `**` as a
// whole component is any number of components (none included), a leading dot needs no special
// spelling (as in .gitignore), `\` quotes. Brackets know ranges, `!` and `^`, and the classes of
// the C locale ([[:digit:]]). Bytes, no locale. Pure; total; no recursion and no memory, and the
// time is at most the product of the two lengths, whatever the pattern.
#ifndef LANDGATE_POLICY_GLOB_H_
#define LANDGATE_POLICY_GLOB_H_

#include <string>
#include <string_view>

#include "base/result.h"

namespace landgate::policy {

// Absolute, clean, brackets closed, at most 4095 bytes, "**" only as a whole component.
Status CheckGlob(std::string_view pattern);
bool GlobMatches(std::string_view pattern, std::string_view clean_path);
// One component against one pattern component (no '/', no "**").
bool GlobComponentMatches(std::string_view pattern, std::string_view name);
// The leading components without a metacharacter (`*`, `?`, `[`, `\`): "/workspace/**/.env" →
// "/workspace". It is the same text at the pattern's start, but for "/".
std::string LiteralPrefix(std::string_view pattern);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_GLOB_H_
