#include "sandbox/mount_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace landgate::sandbox {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kTable[] =
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "30 21 0:40 / /c/rootfs rw - overlay overlay rw,lowerdir=/a\n"
    "31 30 8:1 /data/vol /c/rootfs/w rw - ext4 /dev/sda1 rw\n"
    "32 30 8:1 /data/vol/sub /c/rootfs/second ro,nodev master:4 - ext4 /dev/sda1 rw\n"
    "33 30 8:1 /data/vol/file /c/rootfs/etc/file rw shared:7 master:4 - ext4 /dev/sda1 rw\n"
    "34 30 0:50 / /c/rootfs/with\\040blank\\134 rw propagate_from:3 - tmpfs tmpfs rw\n";

std::vector<std::string> Paths(const std::vector<OtherName>& names) {
  std::vector<std::string> paths;
  for (const OtherName& name : names) paths.push_back(name.path + "|" + name.beneath);
  return paths;
}

TEST(MountTable, ReadsEveryField) {
  const Result<MountTable> table = ParseMountInfo(kTable);
  ASSERT_TRUE(table);
  ASSERT_EQ(table->mounts().size(), 6U);
  const Mount* const vol = table->Find(32);
  ASSERT_NE(vol, nullptr);
  EXPECT_EQ(vol->parent, 30U);
  EXPECT_EQ(vol->major, 8U);
  EXPECT_EQ(vol->minor, 1U);
  EXPECT_EQ(vol->root, "/data/vol/sub");
  EXPECT_EQ(vol->point, "/c/rootfs/second");
  EXPECT_EQ(vol->type, "ext4");
  EXPECT_FALSE(vol->shared);
  EXPECT_EQ(table->Find(99), nullptr);
}

TEST(MountTable, TellsSharedFromSlave) {
  const Result<MountTable> table = ParseMountInfo(kTable);
  ASSERT_TRUE(table);
  EXPECT_TRUE(table->Find(21)->shared);
  EXPECT_FALSE(table->Find(32)->shared);
  EXPECT_TRUE(table->Find(33)->shared);
  EXPECT_FALSE(table->Find(34)->shared);
}

TEST(MountTable, UnescapesNames) {
  const Result<MountTable> table = ParseMountInfo(kTable);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->Find(34)->point, "/c/rootfs/with blank\\");
}

TEST(MountTable, RefusesWhatItDoesNotUnderstand) {
  for (const char* line :
       {"x 1 8:1 / / rw - ext4 a rw", "1 1 81 / / rw - ext4 a rw", "1 1 8:1 / / rw shared:1",
        "1 1 8:1", "-1 1 8:1 / / rw - ext4 a rw", "1 1 8:1 / / rw - "}) {
    EXPECT_FALSE(ParseMountInfo(line)) << line;
  }
  EXPECT_TRUE(ParseMountInfo(""));
}

TEST(OtherNames, TheSameObjectThroughAnotherMount) {
  const Result<MountTable> table = ParseMountInfo(kTable);
  ASSERT_TRUE(table);
  EXPECT_THAT(Paths(OtherNames(*table, "/c/rootfs/w/sub/secret", 31)),
              ElementsAre("/data/vol/sub/secret|", "/c/rootfs/second/secret|"));
  EXPECT_THAT(Paths(OtherNames(*table, "/c/rootfs/second/secret", 32)),
              ElementsAre("/data/vol/sub/secret|", "/c/rootfs/w/sub/secret|"));
  EXPECT_THAT(Paths(OtherNames(*table, "/c/rootfs/w/file", 31)),
              ElementsAre("/data/vol/file|", "/c/rootfs/etc/file|"));
}

TEST(OtherNames, AMountOfWhatLiesBeneath) {
  const Result<MountTable> table = ParseMountInfo(kTable);
  ASSERT_TRUE(table);
  EXPECT_THAT(Paths(OtherNames(*table, "/c/rootfs/w", 31)),
              ElementsAre("/data/vol|", "/c/rootfs/second|/sub", "/c/rootfs/etc/file|/file"));
}

TEST(OtherNames, NoNameIsMadeUp) {
  const Result<MountTable> table = ParseMountInfo(kTable);
  ASSERT_TRUE(table);
  EXPECT_THAT(OtherNames(*table, "/c/rootfs/etc/passwd", 30), IsEmpty());
  // Shares a prefix of bytes and not of components.
  EXPECT_THAT(Paths(OtherNames(*table, "/c/rootfs/w/subway", 31)),
              ElementsAre("/data/vol/subway|"));
  EXPECT_THAT(OtherNames(*table, "/c/rootfs/w", 99), IsEmpty());
}

}  // namespace
}  // namespace landgate::sandbox
