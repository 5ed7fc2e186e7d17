#include "sandbox/bpf.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "base/linux_abi.h"

namespace landgate::sandbox {
namespace {

using Code = std::vector<sock_filter>;

struct NumberedSyscall {
  std::string_view name;
  uint32_t number;
};

// What libseccomp 2.5.4 has no number for. Since Linux 5.1 a new call has one number on every
// architecture that we filter.
constexpr std::array kNewSyscalls = {
    NumberedSyscall{"cachestat", 451},
    NumberedSyscall{"fchmodat2", 452},
    NumberedSyscall{"map_shadow_stack", 453},
    NumberedSyscall{"futex_wake", 454},
    NumberedSyscall{"futex_wait", 455},
    NumberedSyscall{"futex_requeue", 456},
    NumberedSyscall{"statmount", 457},
    NumberedSyscall{"listmount", 458},
    NumberedSyscall{"lsm_get_self_attr", 459},
    NumberedSyscall{"lsm_set_self_attr", 460},
    NumberedSyscall{"lsm_list_modules", 461},
    NumberedSyscall{"mseal", 462},
    NumberedSyscall{"setxattrat", 463},
    NumberedSyscall{"getxattrat", 464},
    NumberedSyscall{"listxattrat", 465},
    NumberedSyscall{"removexattrat", 466},
    NumberedSyscall{"open_tree_attr", abi::kNrOpenTreeAttr},
    NumberedSyscall{"file_getattr", 468},
    NumberedSyscall{"file_setattr", 469},
};

// Direct numbers on x86 and s390 of calls that libseccomp treats as part of socketcall and ipc.
constexpr std::array kDirectCalls = {
    NumberedSyscall{"socket", 359},      NumberedSyscall{"socketpair", 360},
    NumberedSyscall{"bind", 361},        NumberedSyscall{"connect", 362},
    NumberedSyscall{"listen", 363},      NumberedSyscall{"accept4", 364},
    NumberedSyscall{"getsockopt", 365},  NumberedSyscall{"setsockopt", 366},
    NumberedSyscall{"getsockname", 367}, NumberedSyscall{"getpeername", 368},
    NumberedSyscall{"sendto", 369},      NumberedSyscall{"sendmsg", 370},
    NumberedSyscall{"recvfrom", 371},    NumberedSyscall{"recvmsg", 372},
    NumberedSyscall{"shutdown", 373},    NumberedSyscall{"semget", 393},
    NumberedSyscall{"semctl", 394},      NumberedSyscall{"shmget", 395},
    NumberedSyscall{"shmctl", 396},      NumberedSyscall{"shmat", 397},
    NumberedSyscall{"shmdt", 398},       NumberedSyscall{"msgget", 399},
    NumberedSyscall{"msgsnd", 400},      NumberedSyscall{"msgrcv", 401},
    NumberedSyscall{"msgctl", 402},
};

template <size_t N>
std::optional<uint32_t> Find(const std::array<NumberedSyscall, N>& table, std::string_view name) {
  for (const NumberedSyscall& call : table) {
    if (call.name == name) return call.number;
  }
  return std::nullopt;
}

// The 32-bit architecture whose programs the same kernel runs, if any.
std::optional<uint32_t> Companion(uint32_t native) {
  switch (native) {
    case SCMP_ARCH_X86_64:
      return SCMP_ARCH_X86;
    case SCMP_ARCH_AARCH64:
      return SCMP_ARCH_ARM;
    case SCMP_ARCH_S390X:
      return SCMP_ARCH_S390;
    default:
      return std::nullopt;
  }
}

std::optional<uint32_t> DirectNumber(uint32_t architecture, std::string_view name) {
  if (architecture == SCMP_ARCH_X86) {
    if (name == "recvmmsg") return 337;
    if (name == "sendmmsg") return 345;
    return Find(kDirectCalls, name);
  }
  if (architecture == SCMP_ARCH_S390 || architecture == SCMP_ARCH_S390X) {
    if (name == "recvmmsg") return 357;
    if (name == "sendmmsg") return 358;
    return Find(kDirectCalls, name);
  }
  return std::nullopt;
}

// Empty where the architecture has no such call.
Result<std::optional<uint32_t>> Number(uint32_t architecture, const std::string& name) {
  const int number = seccomp_syscall_resolve_name_arch(architecture, name.c_str());
  if (number >= 0) return std::optional(static_cast<uint32_t>(number));
  if (number != __NR_SCMP_ERROR) return DirectNumber(architecture, name);
  const std::optional<uint32_t> newer = Find(kNewSyscalls, name);
  if (!newer) return Refuse("filter: no number is known here for the system call " + name);
  return newer;
}

sock_filter Load(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}
sock_filter Jump(size_t distance) {
  return BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(distance));
}
sock_filter JumpIfEqual(uint32_t value, uint8_t equal, uint8_t different) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, equal, different);
}
sock_filter Allow() { return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW); }
sock_filter Deny(int error_number) {
  if (error_number == kNotify) return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  return BPF_STMT(BPF_RET | BPF_K,
                  SECCOMP_RET_ERRNO | (static_cast<uint32_t>(error_number) & SECCOMP_RET_DATA));
}

void Append(Code& code, const Code& more) { code.insert(code.end(), more.begin(), more.end()); }

constexpr size_t kLowWord = std::endian::native == std::endian::big ? sizeof(uint32_t) : 0;

// Goes on where the test holds; else leaves over `rest` instructions that follow the test.
Status AppendTest(const ArgumentTest& test, size_t rest, Code& code) {
  code.push_back(Load(offsetof(seccomp_data, args) + test.argument * sizeof(uint64_t) + kLowWord));
  if (test.mask != 0xffffffffU) {
    code.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, test.mask));
  }
  // After the comparisons: [leave] then what follows. A jump of a comparison reaches 255.
  const size_t count = test.values.size();
  if (count > 250) return Refuse("filter: a test of too many values");
  for (size_t i = 0; i < count; ++i) {
    const uint8_t to_leave = static_cast<uint8_t>(count - 1 - i);
    const uint8_t to_go_on = static_cast<uint8_t>(to_leave + 1);
    const bool last = i + 1 == count;
    const uint8_t otherwise = last ? (test.among ? to_leave : to_go_on) : uint8_t{0};
    code.push_back(JumpIfEqual(test.values[i], test.among ? to_go_on : to_leave, otherwise));
  }
  // Without any value the test holds for nothing (among) or everything.
  if (count == 0 && !test.among) return {};
  code.push_back(Jump(rest));
  return {};
}

// The tests one after another, then the errno; falls out at the end where one does not hold.
Result<Code> RuleCode(const ErrnoRule& rule) {
  Code code = {Deny(rule.error_number)};
  for (auto test = rule.tests.rbegin(); test != rule.tests.rend(); ++test) {
    Code head;
    if (Status done = AppendTest(*test, code.size(), head); !done) return Forward(done);
    Append(head, code);
    code = std::move(head);
  }
  return code;
}

Result<Code> SyscallCode(const std::vector<ErrnoRule>& rules, const std::string& name,
                         uint32_t number) {
  Code body;
  bool conditional = true;
  for (const ErrnoRule& rule : rules) {
    if (rule.syscall != name) continue;
    Result<Code> code = RuleCode(rule);
    if (!code) return code;
    Append(body, *code);
    conditional = !rule.tests.empty();
    if (!conditional) break;  // what follows is never reached
  }
  if (conditional) body.push_back(Allow());
  Code code;
  if (body.size() <= 255) {
    code.push_back(JumpIfEqual(number, 0, static_cast<uint8_t>(body.size())));
  } else {
    code.push_back(JumpIfEqual(number, 1, 0));
    code.push_back(Jump(body.size()));
  }
  Append(code, body);
  return code;
}

struct NumberedCode {
  uint32_t number;
  Code code;
};

// A search tree over the numbers. When a filter is loaded the kernel runs it for every system call
// of both architectures, to learn which are always allowed; with a chain that takes twice as long.
Code Dispatch(std::span<const NumberedCode> calls) {
  Code code;
  if (calls.size() <= 2) {
    for (const NumberedCode& call : calls) Append(code, call.code);
    code.push_back(Allow());
    return code;
  }
  const std::span<const NumberedCode> below = calls.first(calls.size() / 2);
  const std::span<const NumberedCode> rest = calls.subspan(below.size());
  const Code left = Dispatch(below);
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, rest.front().number, 0, 1));
  code.push_back(Jump(left.size()));
  Append(code, left);
  Append(code, Dispatch(rest));
  return code;
}

Result<Code> ArchitectureCode(const std::vector<ErrnoRule>& rules, uint32_t architecture) {
  Code code = {Load(offsetof(seccomp_data, nr))};
  if (architecture == SCMP_ARCH_X86_64) {
    // x32 calls name the same architecture. -1 is a call that a tracer has cancelled.
    constexpr uint32_t kX32 = 0x40000000;
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 2));
    code.push_back(JumpIfEqual(0xffffffffU, 1, 0));
    code.push_back(Deny(ENOSYS));
  }
  std::vector<std::string_view> done;
  std::vector<NumberedCode> calls;
  for (const ErrnoRule& rule : rules) {
    if (std::find(done.begin(), done.end(), rule.syscall) != done.end()) continue;
    done.push_back(rule.syscall);
    const Result<std::optional<uint32_t>> number = Number(architecture, rule.syscall);
    if (!number) return Failure(number.error());
    if (!*number) continue;
    Result<Code> call = SyscallCode(rules, rule.syscall, **number);
    if (!call) return call;
    calls.push_back({**number, std::move(*call)});
  }
  std::stable_sort(calls.begin(), calls.end(), [](const NumberedCode& a, const NumberedCode& b) {
    return a.number < b.number;
  });
  Append(code, Dispatch(calls));
  return code;
}

}  // namespace

Result<std::vector<sock_filter>> Assemble(const std::vector<ErrnoRule>& rules) {
  const uint32_t native = seccomp_arch_native();
  const Result<Code> own = ArchitectureCode(rules, native);
  if (!own) return own;
  Code program = {Load(offsetof(seccomp_data, arch)), JumpIfEqual(native, 0, 1)};
  const std::optional<uint32_t> companion = Companion(native);
  if (!companion) {
    // Native: over the refusal.
    program.push_back(Jump(1));
    program.push_back(Deny(ENOSYS));
    Append(program, *own);
  } else {
    const Result<Code> other = ArchitectureCode(rules, *companion);
    if (!other) return other;
    program.push_back(Jump(2 + other->size()));
    program.push_back(JumpIfEqual(*companion, 1, 0));
    program.push_back(Deny(ENOSYS));
    Append(program, *other);
    Append(program, *own);
  }
  if (program.size() > BPF_MAXINSNS) {
    return Refuse("filter: more instructions than a filter may have; deny fewer system calls");
  }
  return program;
}

}  // namespace landgate::sandbox
