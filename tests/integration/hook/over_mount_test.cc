#include "hook/over_mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/files.h"
#include "base/syscalls.h"

namespace landgate::hook {
namespace {

namespace fs = std::filesystem;

// A container's root on a tmpfs of its own, in a mount namespace of its own.
class Root {
 public:
  Root() {
    char pattern[] = "/tmp/landgate-over-mount-XXXXXX";
    dir_ = mkdtemp(pattern);
    mount("root", dir_.c_str(), "tmpfs", 0, "mode=0755");
    mount("", dir_.c_str(), nullptr, MS_PRIVATE, nullptr);
    fs::create_directories(dir_ / "root/bin");
    fs::create_directories(dir_ / "root/usr/local/bin");
    File("../launcher", "launcher", 0711);
  }
  ~Root() {
    umount2(dir_.c_str(), MNT_DETACH);
    rmdir(dir_.c_str());
  }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  void File(const std::string& path, const std::string& text, mode_t mode) {
    const fs::path file = dir_ / "root" / path;
    std::ofstream(file) << text;
    chmod(file.c_str(), mode);
  }
  std::string Text(const std::string& path) {
    const Result<std::string> text = ReadFile((dir_ / "root" / path).string());
    return text ? *text : text.error().message;
  }
  fs::path path() const { return dir_ / "root"; }

  Result<std::vector<node::OverMount>> Place(Entrypoint entrypoint) {
    const UniqueFd root(open(path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    Result<UniqueFd> launcher = CloneTree(BorrowedFd(AT_FDCWD), (dir_ / "launcher").c_str(), false);
    if (!launcher) return Forward(launcher);
    return PlaceOverMounts(root, entrypoint, *launcher);
  }

 private:
  fs::path dir_;
};

Entrypoint Named(const std::string& name) {
  Entrypoint entrypoint;
  entrypoint.name = name;
  entrypoint.cwd = "/";
  entrypoint.env = {"HOME=/", "PATH=/usr/local/bin:/bin"};
  return entrypoint;
}

// Runs `body` in a child with a mount namespace of its own; it answers what is wrong, or nothing.
std::string Inside(const std::function<std::string(Root&)>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return "pipe";
  const pid_t child = fork();
  if (child == 0) {
    std::string wrong = "unshare";
    if (unshare(CLONE_NEWNS) == 0 && mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) {
      Root root;
      wrong = body(root);
    }
    (void)WriteAll(BorrowedFd(ends[1]), wrong);
    _exit(0);
  }
  close(ends[1]);
  const UniqueFd output(ends[0]);
  Result<std::string> wrong = ReadAll(output);
  waitpid(child, nullptr, 0);
  return wrong ? *wrong : wrong.error().message;
}

#define NEEDS_ROOT() \
  if (geteuid() != 0) GTEST_SKIP() << "needs root"

TEST(OverMount, StandsOnTheFileBehindTheSymlinkAndOnNothingElse) {
  NEEDS_ROOT();
  EXPECT_EQ("", Inside([](Root& root) -> std::string {
              root.File("bin/busybox", "busybox", 0755);
              root.File("bin/other", "other", 0755);
              fs::create_symlink("busybox", root.path() / "bin/sh");
              const auto placed = root.Place(Named("sh"));
              if (!placed) return placed.error().message;
              if (placed->size() != 1) return std::to_string(placed->size()) + " mounts";
              if (root.Text("bin/sh") != "launcher") return "sh is " + root.Text("bin/sh");
              if (root.Text("bin/busybox") != "launcher") return "busybox is not covered";
              if (root.Text("bin/other") != "other") return "other is covered";
              if (umount2((root.path() / "bin/busybox").c_str(), MNT_DETACH) < 0) return "umount";
              return root.Text("bin/sh") == "busybox" ? "" : "the program is not back";
            }));
}

// Whom the runtime may find one for depends on users, capabilities and access control lists.
TEST(OverMount, EveryCandidateOfThePathThatAnybodyMayExecute) {
  NEEDS_ROOT();
  EXPECT_EQ("", Inside([](Root& root) -> std::string {
              fs::create_directories(root.path() / "sbin");
              root.File("usr/local/bin/tool", "first", 0700);
              root.File("sbin/tool", "none", 0644);
              root.File("bin/tool", "second", 0755);
              Entrypoint entrypoint = Named("tool");
              entrypoint.env = {"PATH=/usr/local/bin:/sbin:/bin"};
              const auto placed = root.Place(entrypoint);
              if (!placed) return placed.error().message;
              if (root.Text("usr/local/bin/tool") != "launcher") return "the first is not covered";
              if (root.Text("sbin/tool") != "none") return "one without an x bit is covered";
              return root.Text("bin/tool") == "launcher" ? "" : "the second is not covered";
            }));
}

// Of POSIX access control lists: what linux/posix_acl_xattr.h says, and "user 1000 may read and
// execute, the group and others nothing".
bool LetUserExecute(const fs::path& file) {
  const uint16_t entries[][2] = {{1, 7}, {2, 5}, {4, 0}, {0x10, 5}, {0x20, 0}};
  std::string acl("\2\0\0\0", 4);
  for (const auto& entry : entries) {
    const uint32_t id = entry[0] == 2 ? 1000 : UINT32_MAX;
    acl.append(reinterpret_cast<const char*>(entry), sizeof entry);
    acl.append(reinterpret_cast<const char*>(&id), sizeof id);
  }
  return setxattr(file.c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0) == 0;
}

TEST(OverMount, WhatAnAccessControlListLetsTheUserExecute) {
  NEEDS_ROOT();
  EXPECT_EQ("", Inside([](Root& root) -> std::string {
              root.File("usr/local/bin/tool", "first", 0700);
              if (!LetUserExecute(root.path() / "usr/local/bin/tool")) return "";  // no such kernel
              root.File("bin/tool", "second", 0755);
              const auto placed = root.Place(Named("tool"));
              if (!placed) return placed.error().message;
              return root.Text("usr/local/bin/tool") == "launcher" ? "" : "not covered";
            }));
}

TEST(OverMount, NothingIsLookedForThroughAMountOfItsOwn) {
  NEEDS_ROOT();
  EXPECT_EQ(
      "", Inside([](Root& root) -> std::string {
        fs::create_directories(root.path() / "volume");
        root.File("bin/tool", "tool", 0755);
        if (mount("volume", (root.path() / "volume").c_str(), "tmpfs", 0, "mode=0755") < 0) {
          return "mount";
        }
        root.File("volume/run", "run", 0755);
        fs::create_symlink("/volume/run", root.path() / "bin/link");
        fs::create_symlink("/bin/tool", root.path() / "volume/back");
        const UniqueFd fd(open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        for (const char* name : {"/volume/run", "/volume/later", "volume/run", "link",
                                 "/volume/back", "/volume/../bin/tool"}) {
          const Status checked = CheckCandidates(fd, Named(name));
          if (checked || checked.error().message.find("a volume") == std::string::npos) {
            return std::string(name) + " is taken";
          }
        }
        for (const char* name : {"/bin/tool", "tool", "bin/tool", "missing", "/missing/tool"}) {
          if (Status ok = CheckCandidates(fd, Named(name)); !ok) return ok.error().message;
        }
        Entrypoint entrypoint = Named("tool");
        entrypoint.env = {"PATH=/bin:/volume"};
        return CheckCandidates(fd, entrypoint) ? "a volume in PATH is taken" : "";
      }));
}

TEST(OverMount, RelativeNamesAreTheWorkingDirectorys) {
  NEEDS_ROOT();
  EXPECT_EQ("", Inside([](Root& root) -> std::string {
              fs::create_directories(root.path() / "work/sub");
              root.File("work/sub/run", "run", 0755);
              Entrypoint entrypoint = Named("sub/../sub/run");
              entrypoint.cwd = "/work";
              const auto placed = root.Place(entrypoint);
              if (!placed) return placed.error().message;
              return root.Text("work/sub/run") == "launcher" ? "" : "not covered";
            }));
}

TEST(OverMount, AnAbsoluteSymlinkStaysInTheRoot) {
  NEEDS_ROOT();
  EXPECT_EQ("", Inside([](Root& root) -> std::string {
              root.File("bin/real", "inside", 0755);
              fs::create_symlink("/bin/real", root.path() / "usr/local/bin/tool");
              const auto placed = root.Place(Named("tool"));
              if (!placed) return placed.error().message;
              return root.Text("bin/real") == "launcher" ? "" : "not covered";
            }));
}

TEST(OverMount, RefusesASharedMountAndNothingToStandInFor) {
  NEEDS_ROOT();
  EXPECT_EQ("", Inside([](Root& root) -> std::string {
              root.File("bin/plain", "text", 0644);
              auto placed = root.Place(Named("plain"));
              if (placed) return "a file that nobody may execute was covered";
              placed = root.Place(Named("missing"));
              if (placed) return "a missing file was covered";
              const std::string volume = (root.path() / "bin").string();
              if (mount("volume", volume.c_str(), "tmpfs", 0, "mode=0755") < 0 ||
                  mount("", volume.c_str(), nullptr, MS_SHARED, nullptr) < 0) {
                return "mount";
              }
              root.File("bin/tool", "tool", 0755);
              placed = root.Place(Named("tool"));
              if (placed) return "a shared mount was taken";
              if (placed.error().message.find("shared mount") == std::string::npos) {
                return placed.error().message;
              }
              return root.Text("bin/tool") == "tool" ? "" : "covered all the same";
            }));
}

}  // namespace
}  // namespace landgate::hook
