#include "sandbox/filter.h"

#include <errno.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "base/linux_abi.h"
#include "policy/syscall_table.h"
#include "sandbox/bpf.h"

namespace landgate::sandbox {
namespace {

// A socket type's low bits; the rest is SOCK_CLOEXEC and SOCK_NONBLOCK.
constexpr uint32_t kTypeMask = 0xf;

#if defined(__s390__)
constexpr unsigned kCloneFlags = 1;  // CONFIG_CLONE_BACKWARDS2
#else
constexpr unsigned kCloneFlags = 0;
#endif

// Reached on x86 and s390 through socketcall(2) and ipc(2) too, whose arguments lie in memory or,
// in the number of ipc's call, share their word with a version.
constexpr auto kMultiplexedBySocketcall = std::to_array<std::string_view>(
    {"socket",     "bind",    "connect", "listen",  "accept",   "getsockname", "getpeername",
     "socketpair", "send",    "recv",    "sendto",  "recvfrom", "shutdown",    "setsockopt",
     "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg"});
constexpr auto kMultiplexedByIpc =
    std::to_array<std::string_view>({"semop", "semget", "semctl", "semtimedop", "msgsnd", "msgrcv",
                                     "msgget", "msgctl", "shmat", "shmdt", "shmget", "shmctl"});

ArgumentTest Is(unsigned argument, std::vector<uint32_t> values, uint32_t mask = 0xffffffffU) {
  return {argument, std::move(values), mask, true};
}
ArgumentTest IsNot(unsigned argument, std::vector<uint32_t> values, uint32_t mask = 0xffffffffU) {
  return {argument, std::move(values), mask, false};
}
ArgumentTest HasFlag(unsigned argument, uint32_t flag) { return Is(argument, {flag}, flag); }

// Rules and what people are told of them. The first rule that holds for a call decides, so an
// unconditional one makes later ones for the same call void; they are left out.
class Rules {
 public:
  void Deny(const std::string& name, int error_number, const std::string& because) {
    DenyIf(name, {}, "", error_number, because);
  }
  void DenyIf(const std::string& name, std::vector<ArgumentTest> tests, const std::string& in_words,
              int error_number, const std::string& because) {
    if (closed_.contains(name)) return;
    if (tests.empty()) closed_.insert(name);
    rules_.push_back({name, std::move(tests), error_number});
    told_.push_back({name, in_words, error_number, because});
  }
  template <size_t N>
  bool DeniesAnyOf(const std::array<std::string_view, N>& names) const {
    return std::any_of(rules_.begin(), rules_.end(), [&](const ErrnoRule& rule) {
      return std::find(names.begin(), names.end(), rule.syscall) != names.end();
    });
  }
  const std::vector<ErrnoRule>& rules() const { return rules_; }
  std::vector<FilterRule> TakeTold() { return std::move(told_); }

 private:
  std::set<std::string, std::less<>> closed_;
  std::vector<ErrnoRule> rules_;
  std::vector<FilterRule> told_;
};

void DenySockets(const policy::NetworkFloor& network, Rules& rules) {
  const std::string because = "network section";
  const ArgumentTest inet = Is(0, {AF_INET, AF_INET6});

  rules.DenyIf("socket", {IsNot(0, {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK})},
               "family other than UNIX, INET, INET6, NETLINK", EAFNOSUPPORT, because);
  if (!network.allow_unix) {
    rules.DenyIf("socket", {Is(0, {AF_UNIX})}, "family UNIX", EPERM, because);
  }
  rules.DenyIf("socket", {Is(0, {AF_NETLINK}), IsNot(2, {0})},
               "family NETLINK, protocol other than ROUTE", EAFNOSUPPORT, because);
  rules.DenyIf("socket", {inet, Is(1, {SOCK_DGRAM, SOCK_RAW}, kTypeMask)},
               "family INET or INET6, type DGRAM or RAW", EPERM, because);
  rules.DenyIf("socket", {inet, IsNot(1, {SOCK_STREAM}, kTypeMask)},
               "family INET or INET6, type other than STREAM, DGRAM, RAW", ESOCKTNOSUPPORT,
               because);
  std::vector<uint32_t> protocols = {0, IPPROTO_TCP};
  if (network.allow_mptcp) protocols.push_back(abi::kIpprotoMptcp);
  rules.DenyIf("socket", {inet, IsNot(2, protocols)},
               network.allow_mptcp
                   ? "family INET or INET6, type STREAM, protocol other than TCP, MPTCP"
                   : "family INET or INET6, type STREAM, protocol other than TCP",
               EPROTONOSUPPORT, because);
  rules.DenyIf("socketpair", {IsNot(0, {AF_UNIX})}, "family other than UNIX", EAFNOSUPPORT,
               because);
  // It makes sockets and connects them without a system call that a filter sees.
  rules.Deny("io_uring_setup", EPERM, because);
  if (network.handle_connect) {
    // It connects, and Landlock's connect hook is not asked. Programs fall back to connect(2).
    const std::string in_words = "flag MSG_FASTOPEN";
    rules.DenyIf("sendto", {HasFlag(3, abi::kMsgFastopen)}, in_words, EOPNOTSUPP, because);
    rules.DenyIf("sendmsg", {HasFlag(2, abi::kMsgFastopen)}, in_words, EOPNOTSUPP, because);
    rules.DenyIf("sendmmsg", {HasFlag(3, abi::kMsgFastopen)}, in_words, EOPNOTSUPP, because);
  }
  if (!network.allow_listen) {
    rules.Deny("listen", EACCES, "network section: listen(2) binds an unbound socket to any port");
  }
}

void DenyMountApi(Rules& rules) {
  const std::string because = "launcher, plan and masks stay mounted";
  for (const std::string_view name : policy::MountApiSyscalls()) {
    rules.Deny(std::string(name), EPERM, because);
  }
  rules.DenyIf("setns", {Is(1, {0})}, "namespace of any type", EPERM, because);
  rules.DenyIf("setns", {HasFlag(1, CLONE_NEWNS)}, "flag CLONE_NEWNS", EPERM, because);
}

void DenyUserNamespaces(Rules& rules) {
  const std::string because = "a user namespace hands capabilities out again";
  rules.DenyIf("clone", {HasFlag(kCloneFlags, CLONE_NEWUSER)}, "flag CLONE_NEWUSER", EPERM,
               because);
  rules.DenyIf("unshare", {HasFlag(0, CLONE_NEWUSER)}, "flag CLONE_NEWUSER", EPERM, because);
  // Its flags are in memory, out of a filter's sight; every libc falls back to clone.
  rules.Deny("clone3", ENOSYS, because);
}

Result<std::vector<uint8_t>> Program(const std::vector<ErrnoRule>& rules) {
  const Result<std::vector<sock_filter>> program = Assemble(rules);
  if (!program) return Failure(program.error());
  const auto* bytes = reinterpret_cast<const uint8_t*>(program->data());
  return std::vector<uint8_t>(bytes, bytes + program->size() * sizeof(sock_filter));
}

}  // namespace

Result<Filter> BuildFilter(const FilterRequest& request) {
  Rules rules;
  for (const std::string& name : request.denied_syscalls) rules.Deny(name, EPERM, "syscalls.deny");
  if (request.deny_mount_api) DenyMountApi(rules);
  if (request.deny_user_namespaces) DenyUserNamespaces(rules);
  if (request.network.restricts) DenySockets(request.network, rules);
  for (const std::string& name : request.closed_again) {
    rules.Deny(name, request.closed_errno, "opened in the engine's profile for the launcher alone");
  }
  const std::string because = "it hides which call is made";
  if (rules.DeniesAnyOf(kMultiplexedBySocketcall)) rules.Deny("socketcall", ENOSYS, because);
  if (rules.DeniesAnyOf(kMultiplexedByIpc)) rules.Deny("ipc", ENOSYS, because);

  Result<std::vector<uint8_t>> program = Program(rules.rules());
  if (!program) return Forward(program);
  return Filter{rules.TakeTold(), std::move(*program)};
}

Result<std::vector<uint8_t>> BuildNotifyFilter(const std::vector<std::string>& syscalls) {
  std::vector<ErrnoRule> rules;
  for (const std::string& name : syscalls) rules.push_back({name, {}, kNotify});
  return Program(rules);
}

}  // namespace landgate::sandbox
