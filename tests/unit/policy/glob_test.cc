#include "policy/glob.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/paths.h"

namespace landgate::policy {
namespace {

using testing::HasSubstr;

// Up to `most` values. Not by gen::resize, which would shrink the range of every number within.
template <class T>
rc::Gen<std::vector<T>> UpTo(int most, rc::Gen<T> gen) {
  return rc::gen::resize(rc::kNominalSize, rc::gen::exec([most, gen] {
                           const auto count = *rc::gen::inRange<std::size_t>(
                               0, static_cast<std::size_t>(most) + 1);
                           return *rc::gen::container<std::vector<T>>(count, gen);
                         }));
}

// The definition, read aloud: recursive, slow, and short enough to be seen to be right. No
// brackets.
bool ReferenceComponent(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    return ReferenceComponent(pattern.substr(1), name) ||
           (!name.empty() && ReferenceComponent(pattern, name.substr(1)));
  }
  if (name.empty()) return false;
  if (pattern[0] == '?') return ReferenceComponent(pattern.substr(1), name.substr(1));
  if (pattern[0] == '\\' && pattern.size() > 1) pattern.remove_prefix(1);
  return pattern[0] == name[0] && ReferenceComponent(pattern.substr(1), name.substr(1));
}

bool ReferencePath(const std::vector<std::string_view>& pattern, size_t p,
                   const std::vector<std::string_view>& path, size_t n) {
  if (p == pattern.size()) return n == path.size();
  if (pattern[p] == "**") {
    return ReferencePath(pattern, p + 1, path, n) ||
           (n < path.size() && ReferencePath(pattern, p, path, n + 1));
  }
  return n < path.size() && ReferenceComponent(pattern[p], path[n]) &&
         ReferencePath(pattern, p + 1, path, n + 1);
}

TEST(GlobTest, StarsStayWithinAComponent) {
  EXPECT_TRUE(GlobMatches("/ws/*.key", "/ws/a.key"));
  EXPECT_TRUE(GlobMatches("/ws/*.key", "/ws/.key"));
  EXPECT_FALSE(GlobMatches("/ws/*.key", "/ws/sub/a.key"));
  EXPECT_FALSE(GlobMatches("/ws/*.key", "/ws/a.keys"));
  EXPECT_TRUE(GlobMatches("/ws/a*b*c", "/ws/axxbyybzzc"));
  EXPECT_FALSE(GlobMatches("/ws/a*b*c", "/ws/axxbyybzz"));
  EXPECT_FALSE(GlobMatches("/ws/*", "/ws"));
  EXPECT_FALSE(GlobMatches("/ws/*", "/ws/a/b"));
}

TEST(GlobTest, QuestionMarkIsOneByte) {
  EXPECT_TRUE(GlobMatches("/a/file?", "/a/file1"));
  EXPECT_FALSE(GlobMatches("/a/file?", "/a/file"));
  EXPECT_FALSE(GlobMatches("/a/file?", "/a/file12"));
  EXPECT_FALSE(GlobMatches("/a?b", "/a/b"));
}

TEST(GlobTest, DoubleStarIsAnyNumberOfComponents) {
  for (const char* path : {"/ws/.env", "/ws/a/.env", "/ws/a/b/c/.env"}) {
    EXPECT_TRUE(GlobMatches("/ws/**/.env", path)) << path;
  }
  EXPECT_FALSE(GlobMatches("/ws/**/.env", "/ws/.env/x"));
  EXPECT_FALSE(GlobMatches("/ws/**/.env", "/wsx/.env"));
  EXPECT_FALSE(GlobMatches("/ws/**/.env", "/ws/a.env"));
  EXPECT_TRUE(GlobMatches("/ws/**", "/ws"));
  EXPECT_TRUE(GlobMatches("/ws/**", "/ws/a/b"));
  EXPECT_TRUE(GlobMatches("/**", "/"));
  EXPECT_TRUE(GlobMatches("/**/node_modules/**/*.js", "/a/node_modules/x/y/z.js"));
  EXPECT_FALSE(GlobMatches("/**/node_modules/**/*.js", "/a/modules/x/y/z.js"));
  EXPECT_TRUE(GlobMatches("/**/a/**/a/b", "/a/x/a/a/b"));
}

TEST(GlobTest, Brackets) {
  EXPECT_TRUE(GlobMatches("/[abc]", "/b"));
  EXPECT_FALSE(GlobMatches("/[abc]", "/d"));
  EXPECT_TRUE(GlobMatches("/[a-cx-z]", "/y"));
  EXPECT_FALSE(GlobMatches("/[a-cx-z]", "/w"));
  EXPECT_TRUE(GlobMatches("/[!a]", "/b"));
  EXPECT_FALSE(GlobMatches("/[!a]", "/a"));
  EXPECT_FALSE(GlobMatches("/[^a]", "/a"));
  EXPECT_TRUE(GlobMatches("/[]]", "/]"));
  EXPECT_TRUE(GlobMatches("/[!]]", "/x"));
  EXPECT_TRUE(GlobMatches("/[a-]", "/-"));
  EXPECT_TRUE(GlobMatches("/[-a]", "/-"));
  EXPECT_TRUE(GlobMatches("/[\\]]", "/]"));
  EXPECT_TRUE(GlobMatches("/[*]", "/*"));
  EXPECT_FALSE(GlobMatches("/[*]", "/x"));
  EXPECT_TRUE(GlobMatches("/log[[:digit:]]", "/log7"));
  EXPECT_FALSE(GlobMatches("/log[[:digit:]]", "/logx"));
  EXPECT_TRUE(GlobMatches("/log[![:digit:]_]", "/logx"));
  EXPECT_TRUE(GlobMatches("/*[0-9].tmp", "/a1b2.tmp"));
}

TEST(GlobTest, ABackslashQuotes) {
  EXPECT_TRUE(GlobMatches("/a\\*", "/a*"));
  EXPECT_FALSE(GlobMatches("/a\\*", "/ab"));
  EXPECT_TRUE(GlobMatches("/\\[x\\]", "/[x]"));
}

TEST(GlobTest, BytesNeedNotBeUtf8) {
  EXPECT_TRUE(GlobMatches("/a?c",
                          "/a\xff"
                          "c"));
  EXPECT_TRUE(GlobMatches("/[\x80-\xff]", "/\xc3"));
}

TEST(GlobTest, CheckSaysWhatIsWrong) {
  for (const char* good : {"/", "/a", "/a/**/b", "/**", "/a/[!x-z]*", "/a\\*b", "/a[*][*]", "/[]]",
                           "/\\**", "/[[:alpha:]]"}) {
    EXPECT_TRUE(CheckGlob(good)) << good;
  }
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "absolute"},         {"a/b", "absolute"},         {"/a//b", "empty"},
      {"/a/../b", "\"..\""},    {"/a/", "slash at the end"}, {"/a**", "whole component"},
      {"/**a/b", "whole"},      {"/a/***", "whole"},         {"/a[b", "not closed"},
      {"/a[b/c]", "closed"},    {"/a\\", "backslash"},       {"/[z-a]", "backwards"},
      {"/[[:nope:]]", "class"}, {"/[[.x.]]", "class"},       {"/" + std::string(4096, 'a'), "4095"},
  };
  for (const auto& [pattern, why] : bad) {
    const Status checked = CheckGlob(pattern);
    ASSERT_FALSE(checked) << pattern;
    EXPECT_THAT(checked.error().message, HasSubstr(why)) << pattern;
  }
  EXPECT_FALSE(CheckGlob(std::string_view("/a\0b", 4)));
}

TEST(GlobTest, LiteralPrefixEndsBeforeTheFirstMetacharacter) {
  EXPECT_EQ(LiteralPrefix("/workspace/**/.env"), "/workspace");
  EXPECT_EQ(LiteralPrefix("/a/b/c*d/e"), "/a/b");
  EXPECT_EQ(LiteralPrefix("/*"), "/");
  EXPECT_EQ(LiteralPrefix("/a/b"), "/a/b");
  EXPECT_EQ(LiteralPrefix("/a/[b]/c"), "/a");
  EXPECT_EQ(LiteralPrefix("/a/\\*/c"), "/a");
}

TEST(GlobTest, NoPatternTakesLong) {
  std::string pattern = "/";
  for (int i = 0; i < 400; ++i) pattern += "*a";
  std::string components;
  for (int i = 0; i < 200; ++i) components += "/**/*";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(GlobMatches(pattern + "b", "/" + std::string(255, 'a')));
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "/a";
  EXPECT_FALSE(GlobMatches(components + "/b", deep));
  // An exponential matcher would need longer than the universe has.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(GlobTest, AgreesWithTheDefinition) {
  EXPECT_TRUE(rc::check("iterative == recursive", [] {
    const auto part = rc::gen::element<std::string>("a", "b", "ab", "*", "?", "**", "a*", "*b",
                                                    "a?b", "*a*b", ".a", "\\*");
    const auto name = rc::gen::element<std::string>("a", "b", "ab", "aab", "abb", ".a", "*", "ba");
    std::string pattern, path;
    for (const auto& p : *UpTo<std::string>(6, part)) {
      pattern += "/" + p;
    }
    for (const auto& n : *UpTo<std::string>(6, name)) {
      path += "/" + n;
    }
    if (pattern.empty()) pattern = "/";
    if (path.empty()) path = "/";
    const bool expected = ReferencePath(Components(pattern), 0, Components(path), 0);
    RC_CLASSIFY(expected, "matches");
    RC_ASSERT(GlobMatches(pattern, path) == expected);
  }));
}

}  // namespace
}  // namespace landgate::policy
