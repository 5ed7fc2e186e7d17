#include "policy/rights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "policy/decision.h"

namespace landgate::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Rights, GroupsAreWhatTheFormatSays) {
  EXPECT_EQ(RightsByName("read"), abi::kFsReadFile | abi::kFsReadDir);
  EXPECT_EQ(RightsByName("execute"), abi::kFsExecute);
  EXPECT_EQ(RightsByName("write"), abi::kFsWriteFile | abi::kFsTruncate);
  EXPECT_EQ(RightsByName("create"), abi::kFsMakeReg | abi::kFsMakeDir | abi::kFsMakeSym |
                                        abi::kFsMakeFifo | abi::kFsMakeSock);
  EXPECT_EQ(RightsByName("remove"), abi::kFsRemoveFile | abi::kFsRemoveDir);
  EXPECT_EQ(RightsByName("modify"), *RightsByName("write") | *RightsByName("create") |
                                        *RightsByName("remove") | abi::kFsRefer);
  EXPECT_EQ(RightsByName("device"), abi::kFsMakeChar | abi::kFsMakeBlock);
  EXPECT_EQ(RightsByName("ioctl"), abi::kFsIoctlDev);
  EXPECT_EQ(RightsByName("unix"), abi::kFsResolveUnix);
  EXPECT_EQ(RightsByName("all"), 0x1ffffU);
}

TEST(Rights, EveryLandlockNameIsItsBit) {
  constexpr std::string_view kNames[] = {
      "execute",   "write_file", "read_file", "read_dir",  "remove_dir",  "remove_file",
      "make_char", "make_dir",   "make_reg",  "make_sock", "make_fifo",   "make_block",
      "make_sym",  "refer",      "truncate",  "ioctl_dev", "resolve_unix"};
  for (size_t bit = 0; bit < std::size(kNames); ++bit) {
    EXPECT_EQ(RightsByName(kNames[bit]), Rights{1} << bit) << kNames[bit];
    EXPECT_THAT(RightNames(Rights{1} << bit), ElementsAre(kNames[bit]));
  }
  EXPECT_THAT(RightNames(Rights{1} << 17), ElementsAre("bit 17"));
  EXPECT_THAT(RightNames(Rights{1} << 63 | 1), ElementsAre("execute", "bit 63"));
}

TEST(Rights, NothingElseIsAName) {
  for (std::string_view name : {"", "READ", "Read", "read ", "fs.execute", "none", "exec", "rwx"}) {
    EXPECT_FALSE(RightsByName(name)) << name;
  }
}

TEST(Rights, AbisAreThoseOfTheKernel) {
  EXPECT_EQ(AbiOfRight(abi::kFsExecute), 1);
  EXPECT_EQ(AbiOfRight(abi::kFsMakeSym), 1);
  EXPECT_EQ(AbiOfRight(abi::kFsRefer), 2);
  EXPECT_EQ(AbiOfRight(abi::kFsTruncate), 3);
  EXPECT_EQ(AbiOfRight(abi::kFsIoctlDev), 5);
  EXPECT_EQ(AbiOfRight(abi::kFsResolveUnix), 9);
  EXPECT_EQ(AbiOfRight(Rights{1} << 17), 0);
  EXPECT_EQ(AbiOfRight(0), 0);

  EXPECT_EQ(FsRightsOfAbi(0), 0U);
  EXPECT_EQ(FsRightsOfAbi(1), 0x1fffU);
  EXPECT_EQ(FsRightsOfAbi(2), 0x3fffU);
  EXPECT_EQ(FsRightsOfAbi(3), 0x7fffU);
  EXPECT_EQ(FsRightsOfAbi(4), 0x7fffU);
  EXPECT_EQ(FsRightsOfAbi(8), 0xffffU);
  EXPECT_EQ(FsRightsOfAbi(9), 0x1ffffU);
  EXPECT_EQ(FsRightsOfAbi(1000), FsRightsOfAbi(11));
  EXPECT_EQ(NetRightsOfAbi(3), 0U);
  EXPECT_EQ(NetRightsOfAbi(4), 3U);
  EXPECT_EQ(NetRightsOfAbi(10), 15U);
  EXPECT_EQ(ScopesOfAbi(5), 0U);
  EXPECT_EQ(ScopesOfAbi(6), 3U);
  EXPECT_EQ(AbiOfNetRight(abi::kNetConnectTcp), 4);
  EXPECT_EQ(AbiOfNetRight(abi::kNetConnectSendUdp), 10);
  EXPECT_EQ(AbiOfScope(abi::kScopeSignal), 6);
}

TEST(Rights, NetworkAndScopeNames) {
  EXPECT_EQ(NetRightByName("connect_tcp"), abi::kNetConnectTcp);
  EXPECT_EQ(NetRightByName("bind_udp"), abi::kNetBindUdp);
  EXPECT_FALSE(NetRightByName("connect"));
  EXPECT_EQ(ScopeByName("signal"), abi::kScopeSignal);
  EXPECT_EQ(ScopeByName("abstract-unix"), abi::kScopeAbstractUnix);
  EXPECT_FALSE(ScopeByName("abstract_unix_socket"));
  EXPECT_THAT(ScopeNames(3), ElementsAre("abstract-unix", "signal"));
  EXPECT_THAT(NetRightNames(3), ElementsAre("bind_tcp", "connect_tcp"));
  EXPECT_THAT(ScopeNames(0), IsEmpty());
}

TEST(Rights, DescriptionsPreferGroups) {
  EXPECT_EQ(DescribeRights(0), "none");
  EXPECT_EQ(DescribeRights(kAll), "all");
  EXPECT_EQ(DescribeRights(kRead | kExecute), "read, execute");
  EXPECT_EQ(DescribeRights(kRead | abi::kFsWriteFile), "read, write_file");
  EXPECT_EQ(DescribeRights(kModify), "modify");
  EXPECT_EQ(DescribeRights(kModify & ~abi::kFsRefer), "write, create, remove");
  EXPECT_EQ(DescribeRights(kAll | Rights{1} << 20), "all, bit 20");
}

RC_GTEST_PROP(Rights, NamesSayExactlyTheRights, (Rights rights)) {
  Rights named = 0;
  for (const std::string& name : RightNames(rights)) {
    named |=
        name.starts_with("bit ") ? Rights{1} << std::stoi(name.substr(4)) : *RightsByName(name);
  }
  RC_ASSERT(named == rights);
}

RC_GTEST_PROP(Rights, DescriptionsSayExactlyTheRights, ()) {
  const Rights rights = *rc::gen::inRange<Rights>(1, 0x40000);
  Rights described = 0;
  std::string text = DescribeRights(rights);
  while (!text.empty()) {
    const size_t comma = std::min(text.find(", "), text.size());
    const std::string name = text.substr(0, comma);
    text.erase(0, std::min(comma + 2, text.size()));
    described |=
        name.starts_with("bit ") ? Rights{1} << std::stoi(name.substr(4)) : *RightsByName(name);
  }
  RC_ASSERT(described == rights);
}

TEST(Rights, EverySpellingIsAName) {
  for (std::string_view name : RightSpellings()) EXPECT_TRUE(RightsByName(name)) << name;
  EXPECT_EQ(RightSpellings().size(), 26U);
}

TEST(Decision, DeniesUnlessTold) {
  EXPECT_EQ(Decision{}.verdict, Verdict::kDeny);
  EXPECT_EQ(VerdictName(Verdict::kAsk), "ask");
  EXPECT_EQ(ReasonName(Reason::kInsufficientAccess), "insufficient_access");
  EXPECT_EQ(ReasonName(Decision{}.reason), "not_covered");
}

}  // namespace
}  // namespace landgate::policy
