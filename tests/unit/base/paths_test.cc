#include "base/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <rapidcheck.h>

#include <string>

namespace landgate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PathsTest, CleanAbsolute) {
  for (const char* good : {"/", "/a", "/a/b", "/...", "/a/..b", "/\xff"}) {
    EXPECT_TRUE(IsCleanAbsolute(good)) << good;
  }
  for (const char* bad : {"", "a", "a/b", "//", "/a/", "/a//b", "/.", "/a/./b", "/..", "/a/../b"}) {
    EXPECT_FALSE(IsCleanAbsolute(bad)) << bad;
  }
  EXPECT_FALSE(IsCleanAbsolute(std::string_view("/a\0b", 4)));
  EXPECT_TRUE(IsCleanAbsolute("/" + std::string(PATH_MAX - 2, 'a')));
  EXPECT_FALSE(IsCleanAbsolute("/" + std::string(PATH_MAX - 1, 'a')));
}

TEST(PathsTest, Clean) {
  EXPECT_EQ(Clean("//a/.//b/"), "/a/b");
  EXPECT_EQ(Clean("/"), "/");
  EXPECT_EQ(Clean("/./"), "/");
  EXPECT_EQ(Clean("/a/../b"), "/a/../b");  // only a file system knows what .. means
  EXPECT_EQ(Clean("a"), "");
  EXPECT_EQ(Clean(""), "");
}

TEST(PathsTest, Parts) {
  EXPECT_THAT(Components("/a/bc"), ElementsAre("a", "bc"));
  EXPECT_THAT(Components("/"), IsEmpty());
  EXPECT_EQ(Depth("/"), 0U);
  EXPECT_EQ(Depth("/a/b"), 2U);
  EXPECT_EQ(Parent("/a/b"), "/a");
  EXPECT_EQ(Parent("/a"), "/");
  EXPECT_EQ(Parent("/"), "/");
  EXPECT_EQ(Basename("/a/b"), "b");
  EXPECT_EQ(Basename("/"), "");
  EXPECT_EQ(Join("/", "a"), "/a");
  EXPECT_EQ(Join("/a", "b"), "/a/b");
}

TEST(PathsTest, BeneathGoesByWholeComponents) {
  EXPECT_TRUE(IsBeneath("/a/b", "/a"));
  EXPECT_FALSE(IsBeneath("/ab", "/a"));
  EXPECT_FALSE(IsBeneath("/a", "/a"));
  EXPECT_FALSE(IsBeneath("/a", "/a/b"));
  EXPECT_TRUE(IsBeneath("/a", "/"));
  EXPECT_FALSE(IsBeneath("/", "/"));
  EXPECT_TRUE(IsAtOrBeneath("/", "/"));
  EXPECT_TRUE(IsAtOrBeneath("/a", "/a"));
  EXPECT_FALSE(IsAtOrBeneath("/a.git", "/a"));
}

TEST(PathsProperty, CleanIsIdempotentAndJoinInvertsParent) {
  EXPECT_TRUE(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::element('/', '/', '.', 'a', 'b'));
    const std::string clean = Clean("/" + text);
    RC_ASSERT(Clean(clean) == clean);
    RC_ASSERT(Components(clean).size() == Depth(clean));
    if (clean != "/") {
      RC_ASSERT(Join(Parent(clean), Basename(clean)) == clean);
      RC_ASSERT(IsBeneath(clean, Parent(clean)));
      RC_ASSERT(Depth(Parent(clean)) + 1 == Depth(clean));
    }
  }));
}

}  // namespace
}  // namespace landgate
