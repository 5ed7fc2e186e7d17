#include "agent/helper/over_mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/files.h"
#include "base/syscalls.h"

namespace landgate::agent {
namespace {

uint64_t MountId(const std::string& path) {
  struct statx st {};
  statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &st);
  return st.stx_mnt_id;
}

// A root without /proc in which a launcher stands on /program and something else on /other.
std::string RemoveInARootOfItsOwn(const std::string& dir) {
  const UniqueFd own_fds(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (unshare(CLONE_NEWNS) < 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
      mount("root", dir.c_str(), "tmpfs", 0, "mode=0755") < 0) {
    return "mount namespace";
  }
  for (const char* name : {"program", "other", "launcher"}) {
    std::ofstream(dir + "/" + name) << name;
  }
  for (const char* name : {"/program", "/other"}) {
    if (mount((dir + "/launcher").c_str(), (dir + name).c_str(), nullptr, MS_BIND, nullptr) < 0) {
      return "bind";
    }
  }
  std::vector<node::OverMount> over_mounts(2);
  over_mounts[0].path = "/program";
  over_mounts[0].mount_id = MountId(dir + "/program");
  over_mounts[1].path = "/other";
  over_mounts[1].mount_id = over_mounts[0].mount_id;  // not the mount that stands there
  // A process that runs from it, or has it open, keeps an ordinary umount from working.
  const UniqueFd busy(open((dir + "/program").c_str(), O_RDONLY | O_CLOEXEC));
  if (chdir(dir.c_str()) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
      umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) {
    return "pivot_root";
  }
  if (umount2("/program", 0) == 0 || errno != EBUSY) return "the launcher is not busy";
  for (int round = 0; round < 2; ++round) {  // the second time there is nothing left
    if (Status ok = RemoveOverMounts(own_fds, over_mounts); !ok) return ok.error().message;
    const Result<std::string> program = ReadFile("/program");
    if (!program || *program != "program") return "the program is not back";
    const Result<std::string> other = ReadFile("/other");
    if (!other || *other != "launcher") return "a mount of somebody else was taken off";
  }
  return "";
}

TEST(OverMountRemoval, TakesOffWhatItPutThereAndNothingElse) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  char pattern[] = "/tmp/landgate-over-mount-XXXXXX";
  ASSERT_TRUE(mkdtemp(pattern));
  int ends[2];
  ASSERT_EQ(0, pipe2(ends, O_CLOEXEC));
  const pid_t child = fork();
  if (child == 0) {
    (void)WriteAll(BorrowedFd(ends[1]), RemoveInARootOfItsOwn(pattern));
    _exit(0);
  }
  close(ends[1]);
  const UniqueFd output(ends[0]);
  const Result<std::string> wrong = ReadAll(output);
  waitpid(child, nullptr, 0);
  rmdir(pattern);
  ASSERT_TRUE(wrong);
  EXPECT_EQ("", *wrong);
}

}  // namespace
}  // namespace landgate::agent
