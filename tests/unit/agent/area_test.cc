#include "agent/notify/area.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace landgate::agent {
namespace {

UniqueFd Duplicate(BorrowedFd fd) { return UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

blkcnt_t Blocks(const Area& area) {
  struct stat status {};
  EXPECT_EQ(fstat(area.memfd().get(), &status), 0);
  return status.st_blocks;
}

bool AllZero(const void* memory, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(memory);
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

TEST(Area, WhatIsWrittenIsThereForTheNext) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area) << area.error().message;
  const std::optional<uint32_t> index = area->Allocate(77);
  ASSERT_TRUE(index);
  area->At(*index).slots[3].notification[5] = 42;
  area->At(*index).phase = static_cast<uint32_t>(Phase::kWorkload);
  const uint64_t key = area->NextKey();

  Result<Area> next = Area::Open(Duplicate(area->memfd()));
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_TRUE(next->InUse(*index));
  EXPECT_FALSE(next->InUse(*index + 1));
  EXPECT_FALSE(next->InUse(kMaxListeners));
  EXPECT_EQ(next->At(*index).listener, 77U);
  EXPECT_EQ(next->At(*index).slots[3].notification[5], 42);
  EXPECT_EQ(next->At(*index).phase, static_cast<uint32_t>(Phase::kWorkload));
  EXPECT_GT(next->NextKey(), key) << "keys are never used twice";
}

TEST(Area, ARegionIsZeroWhenItIsAllocatedAgain) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  const std::optional<uint32_t> index = area->Allocate(1);
  ASSERT_TRUE(index);
  Region& region = area->At(*index);
  memset(region.slots, 0xff, sizeof region.slots);
  memset(static_cast<void*>(region.once), 0xff, sizeof region.once);
  region.denied = 9;
  area->Free(*index);
  EXPECT_FALSE(area->InUse(*index));
  EXPECT_EQ(area->Allocate(2), index) << "the lowest free one";
  EXPECT_TRUE(AllZero(region.slots, sizeof region.slots));
  EXPECT_TRUE(AllZero(region.once, sizeof region.once));
  EXPECT_EQ(region.denied, 0U);
  EXPECT_EQ(region.listener, 2U);
}

TEST(Area, APredecessorThatDiedWhileItAllocatedLeavesNothingBehind) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  area->At(0).slots[0].notification[0] = 1;  // written, but never marked as used
  const std::optional<uint32_t> index = area->Allocate(5);
  ASSERT_EQ(index, 0U);
  EXPECT_EQ(area->At(0).slots[0].notification[0], 0);
}

TEST(Area, FreeingGivesThePagesBack) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  const std::optional<uint32_t> first = area->Allocate(1);
  ASSERT_TRUE(first);
  const blkcnt_t before = Blocks(*area);
  const std::optional<uint32_t> index = area->Allocate(2);
  ASSERT_TRUE(index);
  memset(area->At(*index).slots, 1, sizeof(Region::slots));
  EXPECT_GT(Blocks(*area), before);
  area->Free(*index);
  area->Free(*index);         // twice does no harm
  area->Free(kMaxListeners);  // nor does what is no region
  EXPECT_FALSE(area->InUse(*index));
  // Looking at `used` takes a page, as a region in use does; its slots have gone.
  EXPECT_LE(Blocks(*area), before + 8);
}

TEST(Area, ManyListenersAndNoneTooMany) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  std::set<uint32_t> taken;
  for (uint32_t i = 0; i < kMaxListeners; ++i) {
    const std::optional<uint32_t> index = area->Allocate(i);
    ASSERT_TRUE(index);
    ASSERT_LT(*index, kMaxListeners);
    ASSERT_TRUE(taken.insert(*index).second);
  }
  EXPECT_FALSE(area->Allocate(1));
  area->Free(4711);
  EXPECT_EQ(area->Allocate(1), 4711U);
}

TEST(Area, RegionsDontOverlapAndSlotsLieOnTheirOwnLines) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  const auto at = [&](uint32_t i) { return reinterpret_cast<uintptr_t>(&area->At(i)); };
  EXPECT_EQ(at(0) % kRegionAlignment, 0U);
  EXPECT_EQ(at(1) - at(0), sizeof(Region));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(&area->At(0).slots[1]) % 64, 0U);
  EXPECT_LT(reinterpret_cast<uintptr_t>(&area->At(0).slots[0]) - at(0), kRegionAlignment)
      << "the first slot shares its page with what is always touched";
}

// --- a predecessor's area that is not one

Result<Area> OpenCopyOf(const Area& area, off_t size, bool seal, uint32_t version) {
  UniqueFd copy(memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  struct stat status {};
  EXPECT_EQ(fstat(area.memfd().get(), &status), 0);
  EXPECT_EQ(ftruncate(copy.get(), size < 0 ? status.st_size : size), 0);
  char header[4096];
  EXPECT_EQ(pread(area.memfd().get(), header, sizeof header, 0), ssize_t{sizeof header});
  memcpy(header + sizeof kAreaMagic, &version, sizeof version);
  EXPECT_EQ(pwrite(copy.get(), header, sizeof header, 0), ssize_t{sizeof header});
  if (seal) {
    EXPECT_EQ(fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  }
  return Area::Open(std::move(copy));
}

TEST(Area, OnlyAnAreaOfThisLayoutIsOpened) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  EXPECT_TRUE(OpenCopyOf(*area, -1, true, kAreaVersion)) << "the copy as such is good";
  EXPECT_FALSE(OpenCopyOf(*area, -1, true, kAreaVersion + 1));
  EXPECT_FALSE(OpenCopyOf(*area, 8192, true, kAreaVersion)) << "shorter: it would be SIGBUS";
  EXPECT_FALSE(OpenCopyOf(*area, -1, false, kAreaVersion)) << "somebody could shorten it";
  EXPECT_FALSE(Area::Open(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))));
  EXPECT_FALSE(Area::Open(UniqueFd()));

  const Result<Area> newer = OpenCopyOf(*area, -1, true, kAreaVersion + 1);
  EXPECT_NE(newer.error().message.find("version 2"), std::string::npos) << newer.error().message;
}

TEST(Area, NobodyCanShortenIt) {
  Result<Area> area = Area::Create();
  ASSERT_TRUE(area);
  EXPECT_LT(ftruncate(area->memfd().get(), 0), 0);
  EXPECT_EQ(errno, EPERM);
}

}  // namespace
}  // namespace landgate::agent
