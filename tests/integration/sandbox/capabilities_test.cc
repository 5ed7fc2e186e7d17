#include "sandbox/capabilities.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/integration/sandbox/in_child.h"

namespace landgate::sandbox {
namespace {

using testing::HasSubstr;

constexpr CapabilitySet Bit(int number) { return CapabilitySet{1} << number; }

// "CapBnd" … as the kernel tells it.
CapabilitySet Set(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":", 0) == 0)
      return std::stoull(line.substr(name.size() + 1), nullptr, 16);
  }
  return ~CapabilitySet{0};
}

std::string AllSets() {
  std::string text;
  for (const char* name : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    text += std::string(name) + "=" + std::to_string(Set(name)) + " ";
  }
  return text;
}

std::string Same(CapabilitySet set) {
  const std::string text = std::to_string(set);
  return "CapInh=" + text + " CapPrm=" + text + " CapEff=" + text + " CapBnd=" + text +
         " CapAmb=" + text + " ";
}

// Every set holds `set`, so that none is empty by luck.
bool FillAllSets(CapabilitySet set) {
  const cap_t caps = cap_get_proc();
  bool good = true;
  for (cap_value_t number = 0; number < kCapabilityCount; ++number) {
    if (set & Bit(number)) {
      good = good && cap_set_flag(caps, CAP_INHERITABLE, 1, &number, CAP_SET) == 0;
    }
  }
  good = good && cap_set_proc(caps) == 0;
  cap_free(caps);
  for (cap_value_t number = 0; number < kCapabilityCount; ++number) {
    if (set & Bit(number)) good = good && cap_set_ambient(number, CAP_SET) == 0;
  }
  return good;
}

class Capabilities : public testing::Test {
 protected:
  void SetUp() override {
    const CapabilitySet needed = Bit(CAP_SETPCAP) | Bit(CAP_SETUID) | Bit(CAP_SETGID) |
                                 Bit(CAP_CHOWN) | Bit(CAP_KILL) | Bit(CAP_NET_BIND_SERVICE);
    if ((Set("CapEff") & needed) != needed) GTEST_SKIP() << "needs root's capabilities";
  }
};

TEST_F(Capabilities, AllFiveSetsShrinkToWhatIsKept) {
  EXPECT_EQ(InChild([]() -> std::string {
              const CapabilitySet had = Bit(CAP_CHOWN) | Bit(CAP_KILL) | Bit(CAP_NET_BIND_SERVICE);
              if (!FillAllSets(had)) return "setup";
              if ((Set("CapAmb") & had) != had) return "setup: ambient";
              const Status done = ReduceCapabilities(Bit(CAP_KILL) | Bit(CAP_CHOWN));
              return done ? AllSets() : done.error().message;
            }),
            Same(Bit(CAP_KILL) | Bit(CAP_CHOWN)));
}

TEST_F(Capabilities, NothingIsEverGained) {
  EXPECT_EQ(InChild([]() -> std::string {
              if (const Status done = ReduceCapabilities(Bit(CAP_KILL)); !done) {
                return done.error().message;
              }
              const std::string before = AllSets();
              // Also bits that no kernel knows.
              if (const Status done = ReduceCapabilities(~CapabilitySet{0}); !done) {
                return done.error().message;
              }
              return before == AllSets() ? "" : AllSets();
            }),
            "");
}

TEST_F(Capabilities, KeepingNothingLeavesNothing) {
  EXPECT_EQ(InChild([]() -> std::string {
              const Status done = ReduceCapabilities(0);
              return done ? AllSets() : done.error().message;
            }),
            Same(0));
}

TEST_F(Capabilities, SetpcapThatIsPermittedButNotEffectiveIsEnough) {
  EXPECT_EQ(InChild([]() -> std::string {
              const cap_t caps = cap_get_proc();
              cap_clear_flag(caps, CAP_EFFECTIVE);
              if (cap_set_proc(caps) < 0) return "setup";
              cap_free(caps);
              const Status done = ReduceCapabilities(Bit(CAP_KILL));
              if (!done) return done.error().message;
              // What was not in effect is not in effect afterwards either.
              return Set("CapBnd") == Bit(CAP_KILL) && Set("CapEff") == 0 ? "" : AllSets();
            }),
            "");
}

TEST_F(Capabilities, AUserWithoutSetpcapKeepsTheBoundingSetOnlyUnderNoNewPrivs) {
  const auto as_user = [](bool no_new_privs) {
    return InChild([no_new_privs]() -> std::string {
      if (setgroups(0, nullptr) < 0 || setgid(65534) < 0 || setuid(65534) < 0) return "setup";
      if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return "setup";
      const Status done = ReduceCapabilities(Bit(CAP_KILL));
      return done ? "done" : done.error().message;
    });
  };
  EXPECT_THAT(as_user(false), HasSubstr("bounding set: CAP_CHOWN: Operation not permitted"));
  EXPECT_EQ(as_user(true), "done");
}

}  // namespace
}  // namespace landgate::sandbox
