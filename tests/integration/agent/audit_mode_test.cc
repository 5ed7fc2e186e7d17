// Audit mode on real processes with real listeners: everything goes on as if nobody looked, and
// what the policy would have denied is written down.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <vector>

#include "agent/handlers/calls.h"
#include "agent/handlers/handlers.h"
#include "agent/notify/area.h"
#include "agent/notify/listener.h"
#include "agent/notify/metrics.h"
#include "policy/document_json.h"
#include "tests/agent_support/filtered_process.h"

namespace landgate::agent {
namespace {

using test::FilteredProcess;
using testing::ElementsAre;
using testing::IsEmpty;

class Sink : public AuditSink {
 public:
  void Write(AuditRecord record) override {
    const std::lock_guard lock(mutex_);
    records_.push_back(std::move(record));
  }
  std::vector<AuditRecord> records() const {
    const std::lock_guard lock(mutex_);
    return records_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<AuditRecord> records_;
};

constexpr char kPolicy[] = R"({"landgate": 1,
  "paths": [
    {"allow": ["read", "execute"], "beneath": ["/bin"]},
    {"allow": ["read"], "beneath": ["/ro", "/dev"]},
    {"allow": ["read", "modify"], "beneath": ["/rw"]},
    {"deny": ["all"], "file": ["/rw/denied"]}],
  "network": [
    {"allow": ["connect"], "to": ["127.0.0.1:1", "unix:/rw/socket"]},
    {"deny": ["connect"], "to": ["127.0.0.1:2"]}]})";

std::vector<int> AuditSet() {
  std::vector<int> numbers;
  for (const CallInfo& call : Calls()) {
    if (call.category != Category::kMarker) numbers.push_back(call.number);
  }
  return numbers;
}

class AuditMode : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for chroot";
    char name[] = "/tmp/landgate-audit-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    top_ = name;
    for (const char* const directory : {"usr/bin", "ro", "rw", "out", "dev"})
      std::filesystem::create_directories(top_ + "/" + directory);
    for (const char* const file : {"ro/file", "rw/file", "rw/denied", "out/file", "out/other"})
      std::ofstream(top_ + "/" + file) << "content";
    std::filesystem::copy_file("/proc/self/exe", top_ + "/usr/bin/program");
    ASSERT_EQ(0, symlink("usr/bin", (top_ + "/bin").c_str()));
    ASSERT_EQ(0, symlink("/out/other", (top_ + "/rw/link").c_str()));
    auto area = Area::Create();
    ASSERT_TRUE(area);
    area_.emplace(std::move(*area));
  }
  void TearDown() override {
    Settle();
    if (!top_.empty()) std::filesystem::remove_all(top_);
  }

  void Serve(FilteredProcess& process, Phase phase = Phase::kWorkload,
             const char* policy = kPolicy) {
    auto decoded = policy::DecodePolicy(policy, "p", "/etc/landgate/policies/p.json");
    ASSERT_TRUE(decoded) << decoded.error().message;
    node::Registration registration;
    registration.id = "c1";
    registration.pod = "pod1";
    registration.mode = oci::Mode::kAudit;
    registration.pid = process.pid();
    registration.policies = {*decoded};
    auto container = std::make_shared<Container>(std::move(registration));
    const auto region = area_->Allocate(area_->NextKey());
    ASSERT_TRUE(region);
    area_->At(*region).phase.store(static_cast<uint32_t>(phase));
    Services services;
    services.area = &*area_;
    services.audit = &sink_;
    services.metrics = &metrics_;
    auto started = Listener::Start(services, process.TakeListener(), *region, container,
                                   MakeAuditHandler(services, container, {}), [](Listener&) {});
    ASSERT_TRUE(started) << started.error().message;
    listener_ = *started;
  }

  // Runs `body` in the root under the policy; its exit status.
  int Run(const std::function<int()>& body) {
    auto process = FilteredProcess::Start(AuditSet(), [&] {
      if (chroot(top_.c_str()) < 0 || chdir("/rw") < 0) return 100;
      return body();
    });
    Serve(process);
    const int status = process.Wait();
    Settle();
    return status;
  }
  // Until everything that was answered has been looked at, and nobody holds the handler any more.
  void Settle() {
    if (!listener_) return;
    EXPECT_TRUE(listener_->Stop(std::chrono::seconds(20)));
    const std::weak_ptr<Listener> gone = listener_;
    listener_.reset();
    for (int i = 0; i < 20000 && !gone.expired(); ++i) usleep(1000);
    EXPECT_TRUE(gone.expired());
  }

  // "SYSCALL RIGHTS PATH|DESTINATION REASON RULE"
  std::vector<std::string> Told() const {
    std::vector<std::string> lines;
    for (const AuditRecord& record : sink_.records()) {
      EXPECT_EQ(AuditVerdict::kAudit, record.verdict);
      EXPECT_EQ("c1", record.container);
      EXPECT_EQ("pod1", record.pod);
      lines.push_back(record.syscall + " " + record.rights + " " + record.path +
                      record.destination + " " + std::string(AuditReasonName(record.reason)) +
                      (record.rule.empty() ? "" : " " + record.rule));
    }
    return lines;
  }

  std::string top_;
  std::optional<Area> area_;
  Metrics metrics_;
  Sink sink_;
  std::shared_ptr<Listener> listener_;
};

int OpenErrno(const char* path, int flags) {
  const int fd = open(path, flags, 0600);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

#define WANT(expected, actual)                            \
  do {                                                    \
    if ((actual) != (expected)) return __LINE__ % 97 + 1; \
  } while (0)

TEST_F(AuditMode, WhatIsAllowedIsNotTold) {
  EXPECT_EQ(0, Run([] {
              WANT(0, OpenErrno("/ro/file", O_RDONLY));
              WANT(0, OpenErrno("/ro", O_RDONLY | O_DIRECTORY));
              WANT(0, OpenErrno("file", O_RDWR));
              WANT(0, OpenErrno("new", O_WRONLY | O_CREAT | O_EXCL));
              WANT(0, OpenErrno("/out/file", O_PATH));
              WANT(ENOENT, OpenErrno("/out/missing", O_RDONLY));
              WANT(ENOENT, OpenErrno("/nowhere/missing", O_RDWR | O_CREAT));
              WANT(EEXIST, OpenErrno("/out/file", O_RDWR | O_CREAT | O_EXCL));
              WANT(0, mkdir("dir", 0700));
              WANT(0, rename("new", "dir/new"));
              WANT(0, link("dir/new", "second"));
              WANT(0, symlink("x", "symlink"));
              WANT(0, unlink("second"));
              WANT(0, unlink("dir/new"));
              WANT(0, rmdir("dir"));
              WANT(0, truncate("/rw/file", 3));
              WANT(0, OpenErrno("/rw", O_TMPFILE | O_RDWR));
              return 0;
            }));
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(AuditMode, EverySiblingCallIsToldAndGoesOn) {
  EXPECT_EQ(0, Run([] {
              WANT(0, OpenErrno("/out/file", O_RDONLY));
              WANT(0, OpenErrno("/rw/link", O_RDONLY));
              WANT(0, OpenErrno("/rw/denied", O_RDWR));
              WANT(0, OpenErrno("denied", O_RDONLY | O_TRUNC));
              WANT(0, OpenErrno("/ro/file", O_WRONLY | O_APPEND));
              const int directory = open("/out", O_PATH | O_DIRECTORY);
              const int fd = openat(directory, "made", O_WRONLY | O_CREAT | O_TRUNC, 0600);
              WANT(true, fd >= 0);
              close(fd);
              struct open_how how {};
              how.flags = O_RDONLY;
              how.resolve = RESOLVE_BENEATH;
              const long second = syscall(SYS_openat2, directory, "file", &how, sizeof how);
              WANT(true, second >= 0);
              close(static_cast<int>(second));
              WANT(0, truncate("/out/file", 1));
              WANT(0, mkdirat(directory, "dir", 0700));
              WANT(0, rename("/out/made", "/rw/moved"));
              WANT(0, renameat2(AT_FDCWD, "/rw/moved", directory, "file", RENAME_EXCHANGE));
              WANT(0, linkat(directory, "file", AT_FDCWD, "/rw/linked", 0));
              WANT(0, symlinkat("text", directory, "symlink"));
              WANT(0, mknodat(directory, "fifo", S_IFIFO | 0600, 0));
              WANT(0, unlinkat(directory, "fifo", 0));
              WANT(0, unlinkat(directory, "dir", AT_REMOVEDIR));
              return 0;
            }));
  EXPECT_THAT(
      Told(),
      ElementsAre(
          "openat fs.read_file /out/file not_covered", "openat fs.read_file /out/other not_covered",
          "openat fs.write_file,fs.read_file /rw/denied rule p#/paths/3",
          "openat fs.read_file,fs.truncate /rw/denied rule p#/paths/3",
          "openat fs.write_file /ro/file insufficient_access",
          "openat fs.write_file,fs.make_reg /out/made not_covered",
          "openat2 fs.read_file /out/file not_covered",
          "truncate fs.truncate /out/file not_covered", "mkdirat fs.make_dir /out/dir not_covered",
          "rename fs.remove_file,fs.refer /out/made not_covered",
          "renameat2 fs.remove_file,fs.make_reg,fs.refer /out/file not_covered",
          "linkat fs.refer /out/file not_covered", "symlinkat fs.make_sym /out/symlink not_covered",
          "mknodat fs.make_fifo /out/fifo not_covered",
          "unlinkat fs.remove_file /out/fifo not_covered",
          "unlinkat fs.remove_dir /out/dir not_covered"));
  const AuditRecord through_link = sink_.records().at(1);
  EXPECT_EQ("/rw/link", through_link.requested_path);
  EXPECT_EQ(EACCES, through_link.error_number);
  EXPECT_TRUE(through_link.latency);
  EXPECT_EQ("", sink_.records().at(0).requested_path);
}

TEST_F(AuditMode, WhoAskedIsNamed) {
  EXPECT_EQ(0, Run([] {
              const pid_t asker = fork();
              if (asker == 0) {
                (void)prctl(PR_SET_NAME, "the-asker");
                _exit(OpenErrno("/out/file", O_RDWR));
              }
              int status = 1;
              waitpid(asker, &status, 0);
              return status;
            }));
  ASSERT_EQ(1u, sink_.records().size());
  const AuditRecord record = sink_.records()[0];
  EXPECT_EQ("the-asker", record.comm);
  EXPECT_NE("", record.exe);
  EXPECT_GT(record.pid, 0);
  EXPECT_GT(record.nspid, 0);
}

TEST_F(AuditMode, TheRuntimesCallsAreNotTheWorkloads) {
  auto process = FilteredProcess::Start(AuditSet(), [&] {
    if (chroot(top_.c_str()) < 0 || chdir("/rw") < 0) return 100;
    // The runtime, and a startContainer hook of it.
    WANT(0, OpenErrno("/out/file", O_RDWR));
    const pid_t hook = fork();
    if (hook == 0) {
      (void)OpenErrno("/out/file", O_RDWR);
      execl("/out/missing", "missing", nullptr);
      _exit(0);
    }
    waitpid(hook, nullptr, 0);
    WANT(0, OpenErrno("/out/file", O_RDWR));
    // The container's own process executes: not there, so that the test goes on here.
    execl("/missing", "missing", nullptr);
    WANT(0, OpenErrno("/out/file", O_RDWR));
    return 0;
  });
  Serve(process, Phase::kRuntime);
  EXPECT_EQ(0, process.Wait());
  Settle();
  EXPECT_THAT(Told(), ElementsAre("openat fs.write_file,fs.read_file /out/file not_covered"));
}

TEST_F(AuditMode, ExecutionIsLookedAt) {
  EXPECT_EQ(0, Run([] {
              for (const char* const program : {"/bin/program", "/rw/program"}) {
                if (program[1] == 'r' && link("/bin/program", program) < 0) return 90;
                const pid_t child = fork();
                if (child == 0) {
                  // No loader in this root: ENOENT, whatever the policy says.
                  execl(program, program, nullptr);
                  _exit(errno == ENOENT ? 0 : 1);
                }
                int status = 0;
                waitpid(child, &status, 0);
                WANT(0, status);
              }
              return 0;
            }));
  EXPECT_THAT(Told(), ElementsAre("link fs.refer /usr/bin/program insufficient_access",
                                  "execve fs.execute /rw/program insufficient_access"));
}

TEST_F(AuditMode, RepeatedOnesAreCounted) {
  EXPECT_EQ(0, Run([] {
              for (int i = 0; i < 500; ++i) WANT(0, OpenErrno("/out/file", O_RDONLY));
              return 0;
            }));
  uint64_t told = 0;
  const std::vector<AuditRecord> records = sink_.records();
  for (const AuditRecord& record : records) told += record.count != 0 ? record.count : 1;
  EXPECT_EQ(500u, told);
  EXPECT_LT(records.size(), 100u);
}

TEST_F(AuditMode, ASymlinkThatChangesIsNoticed) {
  EXPECT_EQ(0, Run([] {
              WANT(0, symlink("/ro/file", "moving"));
              WANT(0, OpenErrno("/rw/moving", O_RDONLY));
              WANT(0, unlink("moving"));
              WANT(0, symlink("/out/file", "moving"));
              // Looked at once a second; the deadline is the test's, not the sleep's.
              for (int i = 0; i < 300; ++i) {
                WANT(0, OpenErrno("/rw/moving", O_RDONLY));
                usleep(10000);
              }
              return 0;
            }));
  std::set<std::string> told;
  for (const std::string& line : Told()) told.insert(line);
  EXPECT_THAT(told, ElementsAre("openat fs.read_file /out/file not_covered"));
}

int ConnectErrno(int type, uint16_t port) {
  const int fd = socket(AF_INET, type, 0);
  struct sockaddr_in address {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int failed =
      connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0 ? errno : 0;
  close(fd);
  return failed;
}

int UnixErrno(const char* path, bool bind_it, int* kept = nullptr) {
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  const size_t length = path[0] == '@' ? strlen(path) : strlen(path) + 1;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + length);
  auto* const raw = reinterpret_cast<struct sockaddr*>(&address);
  const int failed = (bind_it ? bind(fd, raw, size) : connect(fd, raw, size)) < 0 ? errno : 0;
  if (kept) {
    *kept = fd;
  } else {
    close(fd);
  }
  return failed;
}

TEST_F(AuditMode, Destinations) {
  EXPECT_EQ(0, Run([] {
              // Nobody listens on these ports; the kernel says so itself.
              WANT(ECONNREFUSED, ConnectErrno(SOCK_STREAM, 1));
              WANT(ECONNREFUSED, ConnectErrno(SOCK_STREAM, 2));
              WANT(0, ConnectErrno(SOCK_DGRAM, 1));
              WANT(0, ConnectErrno(SOCK_DGRAM, 65535));
              int server = -1;
              WANT(0, UnixErrno("socket", true, &server));
              WANT(0, UnixErrno("/rw/socket", false));
              WANT(0, UnixErrno("../rw/./socket", false));
              WANT(ENOENT, UnixErrno("/rw/nobody", false));
              WANT(0, link("/rw/socket", "/out/socket"));
              WANT(0, UnixErrno("/out/socket", false));
              WANT(ECONNREFUSED, UnixErrno("@name", false));
              return 0;
            }));
  EXPECT_THAT(Told(), ElementsAre("connect net.connect_tcp tcp://127.0.0.1:2 rule p#/network/1",
                                  "connect net.connect_send_udp udp://127.0.0.1:1 not_covered",
                                  "bind net.bind_unix unix:/rw/socket not_covered",
                                  "link fs.make_sock,fs.refer /out/socket not_covered",
                                  "connect net.connect_unix unix:/out/socket not_covered",
                                  "connect net.connect_unix unix:@name not_covered"));
}

TEST_F(AuditMode, BadPointersAreTheKernelsToRefuse) {
  EXPECT_EQ(0, Run([] {
              WANT(-1, syscall(SYS_openat, AT_FDCWD, 8, O_RDONLY));
              WANT(EFAULT, errno);
              WANT(-1, syscall(SYS_openat, 99, "file", O_RDONLY));
              WANT(EBADF, errno);
              WANT(-1, syscall(SYS_connect, 99, 8, 16));
              const std::string longer(5000, 'x');
              WANT(ENAMETOOLONG, OpenErrno(longer.c_str(), O_RDONLY));
              WANT(ENOENT, OpenErrno("", O_RDONLY));
              WANT(-1, syscall(SYS_openat2, AT_FDCWD, "file", nullptr, 8));
              WANT(EINVAL, errno);
              return 0;
            }));
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(AuditMode, NobodyWaitsForAProcessThatIsNotLookedAtYet) {
  // A FIFO: looking at it must not open it.
  EXPECT_EQ(0, Run([] {
              WANT(0, mkfifo("fifo", 0600));
              const pid_t reader = fork();
              if (reader == 0) {
                char text[5] = "";
                const int fd = open("fifo", O_RDONLY);
                _exit(read(fd, text, 4) == 4 && strcmp(text, "data") == 0 ? 0 : 1);
              }
              const int fd = open("/rw/fifo", O_WRONLY);
              WANT(4, write(fd, "data", 4));
              close(fd);
              int status = 1;
              waitpid(reader, &status, 0);
              return status;
            }));
  EXPECT_THAT(Told(), IsEmpty());
}

}  // namespace
}  // namespace landgate::agent
