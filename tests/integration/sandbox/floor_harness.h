// A container's root without a container: a tmpfs in a private mount namespace of a forked child,
// in which policies are compiled, mounts placed, layers applied, and the system calls of a workload
// tried.
#ifndef LANDGATE_TESTS_INTEGRATION_SANDBOX_FLOOR_HARNESS_H_
#define LANDGATE_TESTS_INTEGRATION_SANDBOX_FLOOR_HARNESS_H_

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/syscalls.h"
#include "policy/document_json.h"
#include "policy/supported.h"
#include "sandbox/compile.h"
#include "sandbox/landlock.h"
#include "sandbox/masks.h"

namespace landgate::sandbox {

// What went wrong in the child, as text: the child can't report to GoogleTest itself.
class Report {
 public:
  void Fail(const std::string& what) { text_ += what + "\n"; }
  void Is(const std::string& what, int expected, int found) {
    if (expected == found) return;
    Fail(what + ": expected " + Name(expected) + ", found " + Name(found));
  }
  void True(const std::string& what, bool holds) {
    if (!holds) Fail(what);
  }
  static std::string Name(int error_number) {
    if (error_number == 0) return "success";
    const char* const name = strerrorname_np(error_number);
    return name != nullptr ? name : std::to_string(error_number);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// 0 or errno.
inline int Errno(long result) { return result < 0 ? errno : 0; }
inline int OpenErrno(const std::string& path, int flags, mode_t mode = 0644) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, mode);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

class TestRoot {
 public:
  // `directory` exists; everything happens in this process, which must be a forked child.
  explicit TestRoot(const std::string& directory) : directory_(directory) {
    Must(unshare(CLONE_NEWNS), "unshare");
    Must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "private");
    Must(mount("root", directory.c_str(), "tmpfs", 0, "mode=0755"), "tmpfs");
    root_ = UniqueFd(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    namespace_ = UniqueFd(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  }

  std::string Outside(const std::string& path) const { return directory_ + path; }
  void Directory(const std::string& path) const { (void)MakeDirectories(Outside(path), 0755); }
  void File(const std::string& path, const std::string& content = "content") const {
    Directory(path.substr(0, path.rfind('/')));
    const UniqueFd fd(open(Outside(path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755));
    Must(fd.get(), path);
    if (!WriteAll(fd, content)) abort();
  }
  void Symlink(const std::string& target, const std::string& path) const {
    Must(symlink(target.c_str(), Outside(path).c_str()), path);
  }
  void Bind(const std::string& from, const std::string& to) const {
    Must(mount(Outside(from).c_str(), Outside(to).c_str(), nullptr, MS_BIND, nullptr), to);
    Must(mount(nullptr, Outside(to).c_str(), nullptr, MS_PRIVATE, nullptr), to);
  }

  static Result<std::vector<policy::Policy>> Decode(const std::vector<std::string>& texts) {
    std::vector<policy::Policy> policies;
    for (const std::string& text : texts) {
      const std::string name = "p" + std::to_string(policies.size());
      Result<policy::Policy> policy = policy::DecodePolicy(text, name, name + ".json");
      if (!policy) return Forward(policy);
      policies.push_back(std::move(*policy));
    }
    return policies;
  }

  Result<Floor> CompileTexts(const std::vector<std::string>& texts) const {
    Result<std::vector<policy::Policy>> policies = Decode(texts);
    if (!policies) return Forward(policies);
    CompileInput input;
    input.policies = std::move(*policies);
    input.landlock_abi = LandlockAbi();
    return Compile(input, root_);
  }

  Status Place(const Floor& floor) const { return PlaceMounts(floor.mounts, namespace_, root_); }

  // Becomes the workload: inside the root, confined. The filter is not loaded: mounts must hold
  // alone.
  Status Enter(const Floor& floor) const {
    if (fchdir(root_.get()) < 0 || chroot(".") < 0) return SystemError("chroot", errno);
    const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    std::vector<UniqueFd> layers;
    for (const PlannedLayer& layer : floor.plan.layers) {
      Result<UniqueFd> built = BuildLayer(layer, root, Session::kStart, nullptr);
      if (!built) return Forward(built);
      layers.push_back(std::move(*built));
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return SystemError("no_new_privs", errno);
    for (const UniqueFd& layer : layers) {
      if (Status restricted = RestrictSelf(layer); !restricted) return restricted;
    }
    return {};
  }

  // Compile, place, enter; a failure is reported.
  bool Confine(const std::vector<std::string>& texts, Report& report) const {
    Result<Floor> floor = CompileTexts(texts);
    if (!floor) {
      report.Fail("compile: " + floor.error().message);
      return false;
    }
    if (Status placed = Place(*floor); !placed) {
      report.Fail("place: " + placed.error().message);
      return false;
    }
    if (Status entered = Enter(*floor); !entered) {
      report.Fail("enter: " + entered.error().message);
      return false;
    }
    return true;
  }

  BorrowedFd root() const { return root_; }
  BorrowedFd mounts() const { return namespace_; }

  static void Must(int result, const std::string& what) {
    if (result >= 0) return;
    fprintf(stderr, "test root: %s: %s\n", what.c_str(), strerror(errno));
    abort();
  }

 private:
  std::string directory_;
  UniqueFd root_;
  UniqueFd namespace_;
};

// Runs `body` in a forked child in a fresh root; answers what it reported.
inline std::string InRoot(const std::function<void(TestRoot&, Report&)>& body) {
  char directory[] = "/tmp/landgate-floor-XXXXXX";
  if (mkdtemp(directory) == nullptr) return "mkdtemp failed";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return "pipe failed";
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    Report report;
    {
      TestRoot root(directory);
      body(root, report);
    }
    (void)WriteAll(BorrowedFd(ends[1]), report.text());
    _exit(0);
  }
  close(ends[1]);
  const UniqueFd reader(ends[0]);
  Result<std::string> text = ReadAll(reader);
  int status = 0;
  waitpid(child, &status, 0);
  rmdir(directory);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return "the child died";
  return text ? *text : text.error().message;
}

inline bool CanTest() { return geteuid() == 0 && LandlockAbi() >= 5; }
#define SKIP_UNLESS_POSSIBLE() \
  if (!CanTest()) GTEST_SKIP() << "needs root and Landlock ABI 5"

}  // namespace landgate::sandbox

#endif  // LANDGATE_TESTS_INTEGRATION_SANDBOX_FLOOR_HARNESS_H_
