// A runtime that starts an exec session, as far as the agent sees one: a process in a mount
// namespace with the launcher and a plan in /dev, whose filter notifies execve, and who executes
// what it is told to. The agent's side is the real listener, handler and launcher.
#ifndef LANDGATE_TESTS_INTEGRATION_AGENT_SESSION_HARNESS_H_
#define LANDGATE_TESTS_INTEGRATION_AGENT_SESSION_HARNESS_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "agent/handlers/exec_session.h"
#include "agent/handlers/handlers.h"
#include "agent/holder/holder_client.h"
#include "agent/notify/area.h"
#include "agent/notify/listener.h"
#include "base/files.h"
#include "base/linux_abi.h"
#include "sandbox/object.h"
#include "sandbox/plan.h"
#include "tests/agent_support/filtered_process.h"

namespace landgate::agent {

inline constexpr char kLauncher[] = LANDGATE_BIN_DIR "/landgate-init";

// Records in memory.
class Records : public AuditSink {
 public:
  void Write(AuditRecord record) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    records_.push_back(std::move(record));
    changed_.notify_all();
  }
  std::vector<AuditRecord> Get() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return records_;
  }
  // The first with that reason; waits for it.
  AuditRecord Await(AuditReason reason) {
    std::unique_lock<std::mutex> lock(mutex_);
    AuditRecord found;
    const bool there = changed_.wait_for(lock, std::chrono::seconds(10), [&] {
      for (const AuditRecord& record : records_) {
        if (record.reason == reason) return found = record, true;
      }
      return false;
    });
    EXPECT_TRUE(there) << "no record with reason " << AuditReasonName(reason);
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<AuditRecord> records_;
};

// Keeps descriptors as the holder does, and remembers what the runtime's memory looked like.
class Keeping : public Holder {
 public:
  Status Keep(Kept kind, uint64_t key, std::string_view, BorrowedFd fd) override {
    if (on_keep) {
      if (Status failed = on_keep(); !failed) return failed;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_[{kind, key}] = UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    ++keeps_;
    return {};
  }
  void Drop(Kept kind, uint64_t key) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_.erase({kind, key});
  }
  size_t kept() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return kept_.size();
  }
  int keeps() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return keeps_;
  }
  std::function<Status()> on_keep;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<Kept, uint64_t>, UniqueFd> kept_;
  int keeps_ = 0;
};

struct Ended {
  int status = -1;  // 128 + signal
  std::string output, errors;
};

inline std::string Drain(BorrowedFd fd) {
  std::string text;
  char buffer[65536];
  for (ssize_t count; (count = read(fd.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(count));
  }
  return text;
}

// Files may be read and run everywhere and written nowhere but in /dev/null.
inline sandbox::Plan ReadOnlyPlan() {
  sandbox::PlannedLayer layer;
  layer.name = "test";
  layer.handled_fs = (1ULL << 14) - 1;  // ABI 2
  layer.paths.push_back(
      {"/", abi::kFsReadFile | abi::kFsReadDir | abi::kFsExecute, true, std::nullopt});
  layer.paths.push_back({"/dev/null", abi::kFsWriteFile, true, std::nullopt});
  sandbox::Plan plan;
  plan.layers.push_back(std::move(layer));
  return plan;
}

// An array for execve out of strings that live on.
inline std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

inline ListenerOrigin Session(pid_t process = 0) {
  ListenerOrigin origin;
  origin.kind = ListenerKind::kSession;
  origin.process = process;
  return origin;
}

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: mount namespaces";
    char name[] = "/tmp/lg-session.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    std::filesystem::permissions(directory_, std::filesystem::perms(0755));
    ASSERT_TRUE(WriteFileAtomically(plan_file(), sandbox::EncodePlan(ReadOnlyPlan()), 0444));
    Result<Area> area = Area::Create();
    ASSERT_TRUE(area);
    area_ = std::make_unique<Area>(std::move(*area));
    services_ = {area_.get(), &holder_, &records_, nullptr};
    registration_.id = "tested";
    registration_.launcher = *sandbox::IdentifyFile(std::string(kLauncher));
    registration_.plan = *sandbox::IdentifyFile(plan_file());
  }
  void TearDown() override {
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  std::string plan_file() const { return directory_ + "/plan"; }
  std::string Script(const std::string& name, const std::string& text, mode_t mode = 0755) const {
    const std::string path = directory_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, text, mode));
    return path;
  }

  // In the child: a /dev with launcher and plan, each a mount as in a container.
  bool MakeDev() const {
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
      return false;
    }
    const UniqueFd null(open("/dev/null", O_PATH | O_CLOEXEC));
    if (mount("tmpfs", "/dev", "tmpfs", 0, "mode=0755") < 0) return false;
    const std::pair<std::string, std::string> mounts[] = {
        {"/proc/self/fd/" + std::to_string(null.get()), "/dev/null"},
        {launcher_, "/dev/lg"},
        {plan_file(), "/dev/lg.plan"}};
    for (const auto& [source, target] : mounts) {
      std::ofstream(target) << "";
      if (bind_ && mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) < 0) {
        return false;
      }
    }
    if (!bind_) {
      std::filesystem::copy_file(launcher_, "/dev/lg",
                                 std::filesystem::copy_options::overwrite_existing);
    }
    return before_();
  }

  // A session whose process runs `body` in the made /dev; its status and what it wrote.
  test::FilteredProcess StartProcess(const std::function<int()>& body) {
    int out[2];
    int err[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
    // Room for what a test prints before anybody reads it.
    (void)fcntl(out[1], F_SETPIPE_SZ, 1 << 20);
    output_.Reset(out[0]);
    errors_.Reset(err[0]);
    const std::vector<int> notified = {SYS_execve, SYS_execveat, SYS_nfsservctl, 0x40000000 + 520};
    test::FilteredProcess process = test::FilteredProcess::Start(notified, [&] {
      dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
      dup2(out[1], 1);
      dup2(err[1], 2);
      (void)close_range(3, ~0U, 0);  // what the test's own parent left open
      if (!MakeDev()) return 99;
      return body();
    });
    close(out[1]);
    close(err[1]);
    return process;
  }

  ContainerPtr MakeContainer() {
    return std::make_shared<Container>(node::Registration(registration_));
  }

  std::shared_ptr<Listener> Serve(UniqueFd fd, uint32_t region, ListenerOrigin origin) {
    ContainerPtr container = MakeContainer();
    origin.region = &area_->At(region);
    Handler handler = MakeExecHandler(services_, container, std::move(origin));
    Result<std::shared_ptr<Listener>> listener = Listener::Start(
        services_, std::move(fd), region, container,
        [this, handler](Call& call) {
          ++notifications_;
          handler(call);
        },
        [this](Listener&) {
          const std::lock_guard<std::mutex> lock(mutex_);
          hung_up_ = true;
          changed_.notify_all();
        });
    EXPECT_TRUE(listener);
    return *listener;
  }
  void AwaitEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [this] { return hung_up_; }));
    hung_up_ = false;
  }

  // The whole of a session.
  Ended Run(const std::function<int()>& body, ListenerOrigin origin = Session()) {
    test::FilteredProcess process = StartProcess(body);
    const uint32_t region = *area_->Allocate(area_->NextKey());
    last_region_ = region;
    std::shared_ptr<Listener> listener = Serve(process.TakeListener(), region, std::move(origin));
    Ended ended = Collect(process);
    AwaitEnd();
    return ended;
  }
  Ended Collect(test::FilteredProcess& process) {
    process.Release();
    Ended ended;
    ended.output = Drain(output_);
    ended.errors = Drain(errors_);
    ended.status = process.Wait();
    return ended;
  }

  // As a runtime does it: execve, and 100 + errno where that fails.
  Ended Exec(const std::string& path, const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment = {"PATH=/usr/bin:/bin"}) {
    return Run([&] {
      execve(path.c_str(), Pointers(arguments).data(), Pointers(environment).data());
      return 100 + errno;
    });
  }
  Ended Shell(const std::string& script) { return Exec("/bin/sh", {"sh", "-c", script}); }

  Region& last_region() { return area_->At(last_region_); }

  std::string directory_;
  std::string launcher_ = kLauncher;
  bool bind_ = true;
  std::function<bool()> before_ = [] { return true; };
  std::unique_ptr<Area> area_;
  Keeping holder_;
  Records records_;
  Services services_;
  node::Registration registration_;
  std::atomic<int> notifications_{0};

 private:
  UniqueFd output_, errors_;
  uint32_t last_region_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hung_up_ = false;
};

}  // namespace landgate::agent

#endif  // LANDGATE_TESTS_INTEGRATION_AGENT_SESSION_HARNESS_H_
