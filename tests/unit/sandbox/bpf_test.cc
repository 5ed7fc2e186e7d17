#include "sandbox/bpf.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <rapidcheck.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace landgate::sandbox {
namespace {

// What the kernel's interpreter does with the instructions that we use. A program that runs out of
// bounds or uses another one ends the test.
uint32_t Judge(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& now = program[at];
    switch (now.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        EXPECT_LE(now.k + 4, sizeof data);
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + now.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= now.k;
        break;
      case BPF_JMP | BPF_JA:
        at += now.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == now.k ? now.jt : now.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= now.k ? now.jt : now.jf;
        break;
      case BPF_RET | BPF_K:
        return now.k;
      default:
        ADD_FAILURE() << "instruction " << at << " has code " << now.code;
        return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

uint32_t Denied(int error_number) {
  return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error_number);
}

seccomp_data Call(const char* name, std::array<uint64_t, 6> arguments,
                  uint32_t architecture = seccomp_arch_native()) {
  seccomp_data data{};
  data.nr = seccomp_syscall_resolve_name_arch(architecture, name);
  data.arch = architecture;
  std::copy(arguments.begin(), arguments.end(), std::begin(data.args));
  return data;
}

const std::array<const char*, 3> kNames = {"openat", "ioctl", "fcntl"};

rc::Gen<ErrnoRule> AnyRule(int error_number) {
  return rc::gen::exec([error_number] {
    ErrnoRule rule;
    rule.syscall = kNames[*rc::gen::inRange<size_t>(0, kNames.size())];
    rule.error_number = error_number;
    for (int tests = *rc::gen::inRange(0, 4); tests > 0; --tests) {
      ArgumentTest test;
      test.argument = *rc::gen::inRange(0U, 6U);
      // Few, because thirty rules with three tests each must fit into one filter.
      test.values =
          *rc::gen::resize(8, rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange(0U, 5U)));
      test.mask = *rc::gen::element(0xffffffffU, 3U, 4U);
      test.among = *rc::gen::arbitrary<bool>();
      rule.tests.push_back(test);
    }
    return rule;
  });
}

bool Holds(const ArgumentTest& test, const std::array<uint64_t, 6>& arguments) {
  const uint32_t value = static_cast<uint32_t>(arguments[test.argument]) & test.mask;
  const bool found = std::find(test.values.begin(), test.values.end(), value) != test.values.end();
  return found == test.among;
}

TEST(Assemble, TheFirstRuleThatHoldsDecides) {
  EXPECT_TRUE(rc::check([] {
    std::vector<ErrnoRule> rules;
    const int count = *rc::gen::inRange(0, 30);
    for (int i = 0; i < count; ++i) rules.push_back(*AnyRule(i + 1));
    const Result<std::vector<sock_filter>> program = Assemble(rules);
    RC_ASSERT(program.has_value());
    for (const char* name : kNames) {
      for (int attempt = 0; attempt < 20; ++attempt) {
        std::array<uint64_t, 6> arguments{};
        for (uint64_t& argument : arguments) {
          argument = *rc::gen::inRange<uint64_t>(0, 6) |
                     (*rc::gen::arbitrary<bool>() ? 0xabcdef0000000000ULL : 0);
        }
        uint32_t wanted = SECCOMP_RET_ALLOW;
        for (const ErrnoRule& rule : rules) {
          if (rule.syscall == name &&
              std::all_of(rule.tests.begin(), rule.tests.end(),
                          [&](const ArgumentTest& test) { return Holds(test, arguments); })) {
            wanted = Denied(rule.error_number);
            break;
          }
        }
        RC_ASSERT(Judge(*program, Call(name, arguments)) == wanted);
      }
    }
    RC_ASSERT(Judge(*program, Call("getpid", {})) == SECCOMP_RET_ALLOW);
  }));
}

TEST(Assemble, OtherArchitecturesAnswerEnosys) {
  const Result<std::vector<sock_filter>> program = Assemble({{"ptrace", {}, EPERM}});
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(Judge(*program, Call("ptrace", {})), Denied(EPERM));
  EXPECT_EQ(Judge(*program, Call("getpid", {})), SECCOMP_RET_ALLOW);
  seccomp_data foreign = Call("getpid", {});
  foreign.arch = AUDIT_ARCH_MIPS;
  EXPECT_EQ(Judge(*program, foreign), Denied(ENOSYS));
#if defined(__x86_64__)
  EXPECT_EQ(Judge(*program, Call("ptrace", {}, SCMP_ARCH_X86)), Denied(EPERM));
  EXPECT_EQ(Judge(*program, Call("getpid", {}, SCMP_ARCH_X86)), SECCOMP_RET_ALLOW);
  seccomp_data x32 = Call("getpid", {});
  x32.nr |= 0x40000000;
  EXPECT_EQ(Judge(*program, x32), Denied(ENOSYS));
  x32.nr = -1;  // cancelled by a tracer: its errno, not ours
  EXPECT_EQ(Judge(*program, x32), SECCOMP_RET_ALLOW);
#endif
}

TEST(Assemble, ATestOfManyValuesReachesItsEnd) {
  std::vector<uint32_t> values(250);
  for (uint32_t i = 0; i < values.size(); ++i) values[i] = 2 * i;
  for (const bool among : {true, false}) {
    ErrnoRule rule{"ioctl", {{1, values, 0xffffffffU, among}, {2, {7}, 0xffffffffU, true}}, EIO};
    // The second rule makes the call's code longer than a conditional jump reaches.
    const Result<std::vector<sock_filter>> program =
        Assemble({rule, {"ioctl", {{0, values, 0xffffffffU, true}}, EBADF}});
    ASSERT_TRUE(program) << program.error().message;
    for (const uint64_t value : {0, 1, 2, 498, 499, 500}) {
      const bool in = value % 2 == 0 && value < 500;
      EXPECT_EQ(Judge(*program, Call("ioctl", {1, value, 7})),
                in == among ? Denied(EIO) : SECCOMP_RET_ALLOW)
          << value;
      EXPECT_EQ(Judge(*program, Call("ioctl", {1, value, 8})), SECCOMP_RET_ALLOW) << value;
      EXPECT_EQ(Judge(*program, Call("ioctl", {498, value, 8})), Denied(EBADF)) << value;
    }
    EXPECT_EQ(Judge(*program, Call("getpid", {})), SECCOMP_RET_ALLOW);
  }
  values.push_back(1);
  EXPECT_FALSE(Assemble({{"ioctl", {{0, values, 0xffffffffU, true}}, EIO}}));
}

TEST(Assemble, RefusesWhatItCannotExpress) {
  const Result<std::vector<sock_filter>> unknown = Assemble({{"no_such_call", {}, EPERM}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("no_such_call"));
  std::vector<ErrnoRule> many;
  const std::vector<uint32_t> values(200, 1);
  for (int i = 0; i < 30; ++i) many.push_back({"ioctl", {{0, values, 0xffffffffU, true}}, EIO});
  EXPECT_FALSE(Assemble(many));
}

}  // namespace
}  // namespace landgate::sandbox
