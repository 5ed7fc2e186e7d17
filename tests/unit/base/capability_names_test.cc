#include "base/capability_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>

namespace landgate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CapabilityNamesTest, NamesAndNumbersAgree) {
  for (int number = 0; number < kCapabilityCount; ++number) {
    const std::string_view name = CapabilityName(number);
    EXPECT_TRUE(name.starts_with("CAP_")) << number;
    EXPECT_EQ(CapabilityNumber(name), number);
  }
  EXPECT_EQ(CapabilityName(-1), "");
  EXPECT_EQ(CapabilityName(kCapabilityCount), "");
  for (const char* bad : {"", "cap_chown", "CHOWN", "CAP_", "CAP_CHOWN ", "CAP_ALL"}) {
    EXPECT_FALSE(CapabilityNumber(bad)) << bad;
  }
}

TEST(CapabilityNamesTest, NumbersAreTheKernels) {
  EXPECT_EQ(CapabilityNumber("CAP_CHOWN"), CAP_CHOWN);
  EXPECT_EQ(CapabilityNumber("CAP_SETPCAP"), CAP_SETPCAP);
  EXPECT_EQ(CapabilityNumber("CAP_NET_BIND_SERVICE"), CAP_NET_BIND_SERVICE);
  EXPECT_EQ(CapabilityNumber("CAP_SYS_ADMIN"), CAP_SYS_ADMIN);
  EXPECT_EQ(CapabilityNumber("CAP_SYS_PTRACE"), CAP_SYS_PTRACE);
  EXPECT_EQ(CapabilityNumber("CAP_MKNOD"), CAP_MKNOD);
  EXPECT_EQ(CapabilityNumber("CAP_SETFCAP"), CAP_SETFCAP);
  EXPECT_EQ(CapabilityNumber("CAP_AUDIT_READ"), CAP_AUDIT_READ);
  EXPECT_EQ(CapabilityNumber("CAP_BPF"), CAP_BPF);
  EXPECT_EQ(CapabilityNumber("CAP_CHECKPOINT_RESTORE"), CAP_LAST_CAP);
  EXPECT_EQ(kCapabilityCount, CAP_LAST_CAP + 1);
}

TEST(CapabilityNamesTest, SetsAreListedInOrder) {
  EXPECT_THAT(CapabilityNames(CapabilitySet{1} << CAP_SYS_ADMIN | 1),
              ElementsAre("CAP_CHOWN", "CAP_SYS_ADMIN"));
  EXPECT_THAT(CapabilityNames(0), IsEmpty());
  EXPECT_EQ(CapabilityNames(kAllCapabilities).size(), static_cast<size_t>(kCapabilityCount));
}

}  // namespace
}  // namespace landgate
