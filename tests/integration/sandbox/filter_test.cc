#include "sandbox/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/linux_abi.h"
#include "tests/integration/sandbox/in_child.h"

namespace landgate::sandbox {
namespace {

using testing::HasSubstr;

FilterRequest NetworkRequest() {
  FilterRequest request;
  request.deny_mount_api = false;
  request.network.restricts = true;
  request.network.handle_connect = true;
  request.network.handle_bind = true;
  return request;
}

std::string Load(const FilterRequest& request) {
  const Result<Filter> filter = BuildFilter(request);
  if (!filter) return filter.error().message;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return "no_new_privs";
  const Status loaded = LoadFilter(filter->program);
  return loaded ? "" : loaded.error().message;
}

// 0 or errno; a descriptor that is made is closed.
int TrySocket(uint64_t family, uint64_t type, uint64_t protocol) {
  const long fd = syscall(SYS_socket, family, type, protocol);
  if (fd < 0) return errno;
  close(static_cast<int>(fd));
  return 0;
}
int TrySocketpair(uint64_t family, uint64_t type, uint64_t protocol) {
  int fds[2];
  if (syscall(SYS_socketpair, family, type, protocol, fds) < 0) return errno;
  close(fds[0]);
  close(fds[1]);
  return 0;
}

// The table that users are promised, written a second time.
int WantedSocket(const policy::NetworkFloor& floor, uint32_t family, uint32_t type,
                 uint32_t protocol, int native) {
  switch (family) {
    case AF_UNIX:
      return floor.allow_unix ? native : EPERM;
    case AF_NETLINK:
      return protocol == 0 ? native : EAFNOSUPPORT;
    case AF_INET:
    case AF_INET6:
      switch (type & 0xf) {
        case SOCK_STREAM:
          if (protocol == 0 || protocol == IPPROTO_TCP) return native;
          if (protocol == static_cast<uint32_t>(abi::kIpprotoMptcp) && floor.allow_mptcp) {
            return native;
          }
          return EPROTONOSUPPORT;
        case SOCK_DGRAM:
        case SOCK_RAW:
          return EPERM;
        default:
          return ESOCKTNOSUPPORT;
      }
    default:
      return EAFNOSUPPORT;
  }
}

std::vector<uint64_t> Families() {
  std::vector<uint64_t> families;
  for (uint64_t family = 0; family < 64; ++family) families.push_back(family);
  for (int bit = 6; bit < 32; ++bit) {
    families.push_back(uint64_t{1} << bit);
    families.push_back((uint64_t{1} << bit) | AF_INET);
  }
  families.push_back(0xffffffffU);
  return families;
}

std::vector<uint64_t> Types() {
  std::vector<uint64_t> types;
  for (uint64_t type = 0; type < 16; ++type) {
    types.push_back(type);
    types.push_back(type | SOCK_CLOEXEC);
    types.push_back(type | SOCK_NONBLOCK | SOCK_CLOEXEC);
    types.push_back(type | 0x10);  // a flag that the kernel does not know
  }
  return types;
}

const std::vector<uint64_t> kProtocols = {
    0,   1,   2,   4,   5,   6,   7,   14,  15,  16,   17,    33,         41,        132,
    136, 255, 256, 257, 262, 263, 512, 518, 774, 1536, 65542, 0x80000006, 0xffffffff};
const std::vector<uint64_t> kJunk = {0, uint64_t{1} << 32, 0xffffffff00000000U};

std::string CompareSockets(const FilterRequest& request) {
  std::map<std::tuple<uint64_t, uint64_t, uint64_t>, int> native;
  for (const uint64_t family : Families()) {
    const bool known =
        family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
    for (const uint64_t type : known ? Types() : std::vector<uint64_t>{0, 1, 2, 3 | SOCK_CLOEXEC}) {
      for (const uint64_t protocol : known ? kProtocols : std::vector<uint64_t>{0, 3, 6}) {
        native[{family, type, protocol}] = TrySocket(family, type, protocol);
      }
    }
  }
  if (std::string failed = Load(request); !failed.empty()) return failed;
  size_t allowed = 0;
  for (const auto& [call, was] : native) {
    const auto [family, type, protocol] = call;
    for (const uint64_t junk : kJunk) {
      const int wanted =
          WantedSocket(request.network, static_cast<uint32_t>(family), static_cast<uint32_t>(type),
                       static_cast<uint32_t>(protocol), was);
      const int got = TrySocket(family | junk, type | junk, protocol | junk);
      if (got == 0) ++allowed;
      if (got != wanted) {
        return "socket(" + std::to_string(family) + ", " + std::to_string(type) + ", " +
               std::to_string(protocol) + ") with junk " + std::to_string(junk >> 32) + ": errno " +
               std::to_string(got) + ", wanted " + std::to_string(wanted);
      }
    }
  }
  return allowed > 0 ? "" : "nothing was allowed";
}

TEST(Filter, SocketGivesWhatTheTableSays) {
  EXPECT_EQ(InChild([] { return CompareSockets(NetworkRequest()); }), "");
}

TEST(Filter, SocketGivesWhatTheTableSaysWithUnixAndMptcp) {
  FilterRequest request = NetworkRequest();
  request.network.allow_unix = true;
  request.network.allow_mptcp = true;
  EXPECT_EQ(InChild([&] { return CompareSockets(request); }), "");
}

TEST(Filter, SocketpairIsForUnixOnly) {
  EXPECT_EQ(InChild([]() -> std::string {
              if (std::string failed = Load(NetworkRequest()); !failed.empty()) return failed;
              for (const uint64_t family : Families()) {
                for (const uint64_t junk : kJunk) {
                  const int got = TrySocketpair(family | junk, SOCK_STREAM | junk, junk);
                  if (got != (family == AF_UNIX ? 0 : EAFNOSUPPORT)) {
                    return "family " + std::to_string(family) + ": " + std::to_string(got);
                  }
                }
              }
              return "";
            }),
            "");
}

int Errno(long result) { return result < 0 ? errno : 0; }

TEST(Filter, FastOpenIsRefusedInEveryFlagRegister) {
  EXPECT_EQ(InChild([]() -> std::string {
              int fds[2];
              if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) < 0) return "socketpair";
              if (std::string failed = Load(NetworkRequest()); !failed.empty()) return failed;
              char byte = 'x';
              iovec piece{&byte, 1};
              mmsghdr message{};
              message.msg_hdr.msg_iov = &piece;
              message.msg_hdr.msg_iovlen = 1;
              for (const uint64_t junk : {uint64_t{0}, uint64_t{1} << 40, uint64_t{MSG_NOSIGNAL}}) {
                const uint64_t flags = abi::kMsgFastopen | junk;
                if (Errno(syscall(SYS_sendto, fds[0], &byte, 1, flags, nullptr, 0)) != EOPNOTSUPP ||
                    Errno(syscall(SYS_sendmsg, fds[0], &message.msg_hdr, flags)) != EOPNOTSUPP ||
                    Errno(syscall(SYS_sendmmsg, fds[0], &message, 1, flags)) != EOPNOTSUPP) {
                  return "MSG_FASTOPEN passed";
                }
                if (Errno(syscall(SYS_sendto, fds[0], &byte, 1, junk, nullptr, 0)) != 0 ||
                    Errno(syscall(SYS_sendmsg, fds[0], &message.msg_hdr, junk)) != 0 ||
                    Errno(syscall(SYS_sendmmsg, fds[0], &message, 1, junk)) != 0) {
                  return "an ordinary send failed";
                }
              }
              if (Errno(syscall(SYS_io_uring_setup, 1, nullptr)) != EPERM) return "io_uring_setup";
              return "";
            }),
            "");
}

TEST(Filter, ListenIsRefusedUnlessAnyPortMayBeBound) {
  const auto listening = [](bool allowed) {
    return InChild([allowed]() -> std::string {
      FilterRequest request = NetworkRequest();
      request.network.allow_listen = allowed;
      if (std::string failed = Load(request); !failed.empty()) return failed;
      const int fd = socket(AF_INET, SOCK_STREAM, 0);
      return std::to_string(Errno(listen(fd, 1)));
    });
  };
  EXPECT_EQ(listening(false), std::to_string(EACCES));
  EXPECT_EQ(listening(true), "0");
}

TEST(Filter, FastOpenStaysWhereEveryDestinationIsAllowed) {
  FilterRequest request = NetworkRequest();
  request.network.handle_connect = false;
  const Result<Filter> filter = BuildFilter(request);
  ASSERT_TRUE(filter) << filter.error().message;
  for (const FilterRule& rule : filter->rules) EXPECT_NE(rule.syscall, "sendto");
}

TEST(Filter, TheMountApiIsRefused) {
  const auto errors = [](bool denied) {
    return InChild([denied]() -> std::string {
      if (unshare(CLONE_NEWNS) < 0) return "unshare";
      FilterRequest request;
      request.deny_mount_api = denied;
      request.closed_again = {"acct"};  // so that there is a filter either way
      if (std::string failed = Load(request); !failed.empty()) return failed;
      const int here = open("/proc/self/ns/mnt", O_RDONLY);
      const int net = open("/proc/self/ns/net", O_RDONLY);
      std::string eperm;
      const auto note = [&](const char* name, long result) {
        if (result < 0 && errno == EPERM) eperm += std::string(" ") + name;
      };
      // The arguments are bad or harmless: what passes the filter gives another errno.
      note("open_tree", syscall(SYS_open_tree, -1, "", 0));
      note("open_tree_attr", syscall(abi::kNrOpenTreeAttr, -1, "", 0, nullptr, 0));
      note("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, nullptr, 0));
      note("fsopen", syscall(SYS_fsopen, nullptr, 0));
      note("fspick", syscall(SYS_fspick, -1, "", 0));
      note("fsconfig", syscall(SYS_fsconfig, -1, 0, nullptr, nullptr, 0));
      note("fsmount", syscall(SYS_fsmount, -1, 0, 0));
      note("move_mount", syscall(SYS_move_mount, -1, "", -1, "", 0));
      note("mount_setattr", syscall(SYS_mount_setattr, -1, "", 0, nullptr, 0));
      note("mount", syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr));
      note("umount2", syscall(SYS_umount2, nullptr, 0));
      note("pivot_root", syscall(SYS_pivot_root, nullptr, nullptr));
      note("setns-any", syscall(SYS_setns, here, 0UL));
      note("setns-any-junk", syscall(SYS_setns, here, uint64_t{1} << 32));
      note("setns-mnt", syscall(SYS_setns, here, uint64_t{CLONE_NEWNS}));
      note("setns-mnt-junk", syscall(SYS_setns, here, uint64_t{CLONE_NEWNS} | uint64_t{1} << 63));
      note("setns-net", syscall(SYS_setns, net, uint64_t{CLONE_NEWNET}));
      return eperm;
    });
  };
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a mount namespace";
  EXPECT_EQ(errors(true),
            " open_tree open_tree_attr open_by_handle_at fsopen fspick fsconfig fsmount move_mount"
            " mount_setattr mount umount2 pivot_root setns-any setns-any-junk setns-mnt"
            " setns-mnt-junk");
  EXPECT_EQ(errors(false), "");
}

TEST(Filter, UserNamespacesAreRefused) {
  const auto attempts = [](bool denied) {
    return InChild([denied]() -> std::string {
      FilterRequest request;
      request.deny_mount_api = false;
      request.deny_user_namespaces = denied;
      request.closed_again = {"acct"};
      if (std::string failed = Load(request); !failed.empty()) return failed;
      std::string result;
      const auto child = [&](const char* name, long pid) {
        const int error = errno;
        if (pid == 0) _exit(0);
        if (pid > 0) waitpid(static_cast<pid_t>(pid), nullptr, 0);
        result += std::string(name) + "=" + std::to_string(pid < 0 ? error : 0) + " ";
      };
      for (const uint64_t junk : {uint64_t{0}, uint64_t{1} << 32}) {
        child("clone-user", syscall(SYS_clone, (CLONE_NEWUSER | SIGCHLD) | junk, 0, 0, 0, 0));
      }
      child("clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
      clone_args args{};
      args.exit_signal = SIGCHLD;
      child("clone3", syscall(SYS_clone3, &args, sizeof args));
      child("fork", fork());
      const long unshared = syscall(SYS_unshare, uint64_t{CLONE_NEWUSER});
      result += "unshare-user=" + std::to_string(Errno(unshared)) + " ";
      result += "unshare=" + std::to_string(Errno(unshare(CLONE_FS)));
      return result;
    });
  };
  EXPECT_EQ(attempts(true),
            "clone-user=1 clone-user=1 clone=0 clone3=38 fork=0 unshare-user=1 unshare=0");
  const std::string free = attempts(false);
  if (free.find("clone-user=0") == std::string::npos) {
    GTEST_SKIP() << "this kernel gives no user namespaces here: " << free;
  }
  EXPECT_EQ(free, "clone-user=0 clone-user=0 clone=0 clone3=0 fork=0 unshare-user=0 unshare=0");
}

TEST(Filter, NamedCallsAreDeniedAndClosedAgain) {
  EXPECT_EQ(InChild([]() -> std::string {
              FilterRequest request;
              request.denied_syscalls = {"sethostname", "mseal", "socketcall", "prctl"};
              request.closed_again = {"prctl", "capset", "seccomp", "landlock_create_ruleset"};
              request.closed_errno = ENOSYS;
              if (std::string failed = Load(request); !failed.empty()) return failed;
              if (Errno(syscall(SYS_sethostname, nullptr, 0)) != EPERM) return "sethostname";
              if (Errno(syscall(462, nullptr, 0, 0)) != EPERM) return "mseal";
              // Named twice: what the policy says comes first.
              if (Errno(syscall(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) != EPERM)
                return "prctl";
              if (Errno(syscall(SYS_capset, nullptr, nullptr)) != ENOSYS) return "capset";
              if (Errno(syscall(SYS_seccomp, 1, 0, nullptr)) != ENOSYS) return "seccomp";
              if (Errno(syscall(SYS_landlock_create_ruleset, nullptr, 0, 1)) != ENOSYS) {
                return "landlock_create_ruleset";
              }
              if (getppid() <= 0) return "getppid";
              execl("/bin/true", "true", nullptr);  // what the launcher does next
              return "execve";
            }),
            "");
}

TEST(Filter, NotifiedCallsWaitForTheListenerAndOthersDoNot) {
  EXPECT_EQ(InChild([]() -> std::string {
              const Result<std::vector<uint8_t>> program = BuildNotifyFilter({"getppid", "openat"});
              if (!program) return program.error().message;
              Result<UniqueFd> listener = LoadNotifyFilter(*program);
              if (!listener) return listener.error().message;
              const bool privileged = geteuid() == 0;
              if (privileged && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) {
                return "no_new_privs was set without need";
              }
              const pid_t child = fork();
              if (child == 0) _exit(syscall(SYS_getppid) == 4711 && getpid() > 0 ? 0 : 1);
              struct seccomp_notif request {};
              struct seccomp_notif_resp answer {};
              if (ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) return "RECV";
              if (request.data.nr != SYS_getppid) return "another call was notified";
              answer.id = request.id;
              answer.val = 4711;
              if (ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0) return "SEND";
              int status = 0;
              waitpid(child, &status, 0);
              if (status != 0) return "the caller did not get the answer";
              // A second listener would take the first one's calls.
              const Result<UniqueFd> second = LoadNotifyFilter(*program);
              return !second && second.error().error_number == EBUSY ? "" : "a second listener";
            }),
            "");
}

TEST(Filter, ADeniedSocketCallStaysDeniedBesideTheNetworkSection) {
  FilterRequest request = NetworkRequest();
  request.denied_syscalls = {"socket"};
  EXPECT_EQ(InChild([&]() -> std::string {
              if (std::string failed = Load(request); !failed.empty()) return failed;
              return std::to_string(TrySocket(AF_INET, SOCK_STREAM, 0)) + " " +
                     std::to_string(TrySocket(AF_PACKET, SOCK_RAW, 0));
            }),
            "1 1");
}

TEST(Filter, AnUnknownNameIsRefused) {
  FilterRequest request;
  request.denied_syscalls = {"no_such_call"};
  const Result<Filter> filter = BuildFilter(request);
  ASSERT_FALSE(filter);
  EXPECT_THAT(filter.error().message, HasSubstr("no_such_call"));
}

TEST(Filter, TellsItsRules) {
  FilterRequest request = NetworkRequest();
  request.deny_mount_api = true;
  request.deny_user_namespaces = true;
  request.denied_syscalls = {"ptrace"};
  const Result<Filter> filter = BuildFilter(request);
  ASSERT_TRUE(filter) << filter.error().message;
  std::map<std::string, std::vector<int>> errors;
  for (const FilterRule& rule : filter->rules) {
    EXPECT_FALSE(rule.because.empty()) << rule.syscall;
    errors[rule.syscall].push_back(rule.error_number);
  }
  EXPECT_EQ(errors["ptrace"], std::vector<int>{EPERM});
  EXPECT_EQ(errors["clone3"], std::vector<int>{ENOSYS});
  EXPECT_EQ(errors["listen"], std::vector<int>{EACCES});
  EXPECT_EQ(errors["socketcall"], std::vector<int>{ENOSYS});
  EXPECT_THAT(errors["socket"],
              testing::UnorderedElementsAre(EAFNOSUPPORT, EPERM, EAFNOSUPPORT, EPERM,
                                            ESOCKTNOSUPPORT, EPROTONOSUPPORT));
}

TEST(Filter, ManyDeniedCallsStillMakeAFilter) {
  // More than the 255 instructions that a conditional jump reaches.
  FilterRequest request = NetworkRequest();
  request.deny_mount_api = true;
  for (const char* name : {"acct",
                           "add_key",
                           "bpf",
                           "clock_adjtime",
                           "clock_settime",
                           "delete_module",
                           "finit_module",
                           "init_module",
                           "ioperm",
                           "iopl",
                           "kcmp",
                           "kexec_file_load",
                           "kexec_load",
                           "keyctl",
                           "mbind",
                           "move_pages",
                           "name_to_handle_at",
                           "perf_event_open",
                           "personality",
                           "process_vm_readv",
                           "process_vm_writev",
                           "ptrace",
                           "quotactl",
                           "reboot",
                           "request_key",
                           "settimeofday",
                           "swapon",
                           "swapoff",
                           "sysfs",
                           "userfaultfd",
                           "ustat",
                           "vhangup"}) {
    request.denied_syscalls.push_back(name);
  }
  EXPECT_EQ(InChild([&]() -> std::string {
              if (std::string failed = Load(request); !failed.empty()) return failed;
              const bool all = Errno(syscall(SYS_acct, nullptr)) == EPERM &&
                               Errno(syscall(SYS_vhangup)) == EPERM &&
                               TrySocket(AF_PACKET, SOCK_RAW, 0) == EAFNOSUPPORT &&
                               TrySocket(AF_INET, SOCK_STREAM, 0) == 0 && getppid() > 0;
              return all ? "" : "a call was not judged as it should be";
            }),
            "");
}

TEST(Filter, IsBuiltInTheTimeThatAContainerStartHas) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers have their own time";
#endif
  FilterRequest request = NetworkRequest();
  request.deny_user_namespaces = true;
  auto best = std::chrono::nanoseconds::max();
  for (int attempt = 0; attempt < 20; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(BuildFilter(request));
    best = std::min<std::chrono::nanoseconds>(best, std::chrono::steady_clock::now() - start);
  }
  EXPECT_LT(best, std::chrono::microseconds(1000));
}

TEST(LoadFilter, RefusesWhatIsNoFilter) {
  EXPECT_EQ(InChild([]() -> std::string {
              if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return "no_new_privs";
              for (const size_t size : {size_t{0}, size_t{7}, size_t{4097} * 8}) {
                const Status loaded = LoadFilter(std::vector<uint8_t>(size));
                if (loaded || loaded.error().error_number != EINVAL) return std::to_string(size);
              }
              // A program without an end.
              const Status loaded = LoadFilter(std::vector<uint8_t>(8));
              return loaded || loaded.error().error_number != EINVAL ? "loaded" : "";
            }),
            "");
}

#if defined(__x86_64__)
// A system call of 32-bit x86 from a 64-bit program: the filter sees it as one of i386.
long Int80(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  long result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d)
               : "memory", "r8", "r9", "r10", "r11");
  return static_cast<int>(result);
}

TEST(Filter, HoldsForThe32BitCompanion) {
  constexpr long kGetpid = 20;
  constexpr long kSocketcall = 102;
  constexpr long kIpc = 117;
  constexpr long kShmctl = 24;
  constexpr long kUmount = 22;
  constexpr long kUnshare = 310;
  constexpr long kSocket = 359;
  const std::string probe = InChild([] { return Int80(kGetpid) == getpid() ? "" : "none"; });
  if (!probe.empty()) GTEST_SKIP() << "this kernel runs no 32-bit programs";
  const auto answers = [](const FilterRequest& request) {
    return InChild([&]() -> std::string {
      auto* words = static_cast<uint32_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
      if (words == MAP_FAILED) return "mmap";
      words[0] = AF_PACKET;
      words[1] = SOCK_DGRAM;
      if (std::string failed = Load(request); !failed.empty()) return failed;
      std::string text;
      const auto note = [&](const char* name, long result) {
        text += std::string(name) + "=" + std::to_string(result < 0 ? -result : 0) + " ";
      };
      note("inet", Int80(kSocket, AF_INET, SOCK_STREAM, 0));
      note("packet", Int80(kSocket, AF_PACKET, SOCK_DGRAM, 0));
      note("udp", Int80(kSocket, AF_INET, SOCK_DGRAM, 0));
      note("socketcall", Int80(kSocketcall, 1, reinterpret_cast<long>(words)));
      note("open_tree_attr", Int80(abi::kNrOpenTreeAttr, -1, 0, 0, 0));
      note("umount", Int80(kUmount, 0));
      note("unshare", Int80(kUnshare, CLONE_NEWUSER));
      note("ipc", Int80(kIpc, kShmctl, -1));
      note("getpid", Int80(kGetpid) == getpid() ? 0 : -1);
      return text;
    });
  };
  FilterRequest all = NetworkRequest();
  all.deny_mount_api = true;
  all.deny_user_namespaces = true;
  all.denied_syscalls = {"shmget"};
  EXPECT_EQ(answers(all),
            "inet=0 packet=97 udp=1 socketcall=38 open_tree_attr=1 umount=1 unshare=1 ipc=38 "
            "getpid=0 ");
  FilterRequest little;
  little.deny_mount_api = false;
  little.closed_again = {"acct"};
  const std::string free = answers(little);
  EXPECT_THAT(free, HasSubstr("inet=0 "));
  EXPECT_THAT(free, HasSubstr("udp=0 "));
  EXPECT_THAT(free, testing::Not(HasSubstr("socketcall=38")));
  EXPECT_THAT(free, testing::Not(HasSubstr("umount=1 ")));
  EXPECT_THAT(free, testing::Not(HasSubstr("ipc=38")));
}
#endif

}  // namespace
}  // namespace landgate::sandbox
