#include "policy/decide_privilege.h"

#include <errno.h>
#include <gtest/gtest.h>

#include "base/capability_names.h"
#include "policy/syscall_table.h"

namespace landgate::policy {
namespace {

CapabilitySet Bit(const char* name) { return CapabilitySet{1} << CapabilityNumber(name).value(); }
int Number(const char* name) { return CapabilityNumber(name).value(); }

TEST(DecideCapabilityTest, WithoutASectionTheEngineDecides) {
  for (int capability = 0; capability < 64; ++capability) {
    EXPECT_EQ(DecideCapability(Policy{}, capability).verdict, Verdict::kAllow);
  }
}

TEST(DecideCapabilityTest, KeepIsAnAllowList) {
  Policy policy;
  policy.capabilities.emplace();
  policy.capabilities->origin.pointer = "/capabilities";
  EXPECT_EQ(DecideCapability(policy, Number("CAP_SYS_ADMIN")).verdict, Verdict::kAllow);
  policy.capabilities->keep = Bit("CAP_NET_BIND_SERVICE");
  const Decision kept = DecideCapability(policy, Number("CAP_NET_BIND_SERVICE"));
  EXPECT_EQ(kept.verdict, Verdict::kAllow);
  EXPECT_EQ(kept.error_number, 0);
  const Decision dropped = DecideCapability(policy, Number("CAP_SYS_ADMIN"));
  EXPECT_EQ(dropped.verdict, Verdict::kDeny);
  EXPECT_EQ(dropped.error_number, EPERM);
  EXPECT_EQ(dropped.rule, "/capabilities/keep");
  // Numbers without a name here, and nonsense, are not kept either.
  for (int capability : {-1, kCapabilityCount, 63, 64, 1000}) {
    EXPECT_EQ(DecideCapability(policy, capability).verdict, Verdict::kDeny) << capability;
  }
  policy.capabilities->keep = 0;
  for (int capability = 0; capability < kCapabilityCount; ++capability) {
    EXPECT_EQ(DecideCapability(policy, capability).verdict, Verdict::kDeny);
  }
}

TEST(DecideCapabilityTest, AskBeatsKeep) {
  Policy policy;
  policy.capabilities.emplace();
  policy.capabilities->keep = Bit("CAP_SYS_ADMIN") | Bit("CAP_CHOWN");
  policy.capabilities->ask = Bit("CAP_SYS_ADMIN");
  EXPECT_EQ(DecideCapability(policy, Number("CAP_SYS_ADMIN")).verdict, Verdict::kAsk);
  EXPECT_EQ(DecideCapability(policy, Number("CAP_SYS_ADMIN")).error_number, EPERM);
  EXPECT_EQ(DecideCapability(policy, Number("CAP_CHOWN")).verdict, Verdict::kAllow);
}

TEST(DecideSyscallTest, DeniedByNameOrByEveryPolicy) {
  Policy policy;
  policy.denied_syscalls = {"bpf", "ptrace"};
  const Decision denied = DecideSyscall(policy, "ptrace");
  EXPECT_EQ(denied.verdict, Verdict::kDeny);
  EXPECT_EQ(denied.error_number, EPERM);
  EXPECT_EQ(denied.reason, Reason::kRule);
  EXPECT_EQ(denied.rule, "/syscalls/deny");
  EXPECT_EQ(DecideSyscall(policy, "read").verdict, Verdict::kAllow);
  EXPECT_EQ(DecideSyscall(Policy{}, "ptrace").verdict, Verdict::kAllow);
  for (std::string_view name : MountApiSyscalls()) {
    EXPECT_EQ(DecideSyscall(Policy{}, name).verdict, Verdict::kDeny) << name;
    EXPECT_EQ(DecideSyscall(Policy{}, name).error_number, EPERM) << name;
  }
}

}  // namespace
}  // namespace landgate::policy
