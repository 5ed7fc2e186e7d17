#include "agent/handlers/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

namespace landgate::agent {
namespace {

class Tree : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for chroot";
    char name[] = "/tmp/landgate-resolve-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    top_ = name;
    for (const char* const directory : {"a/b/c", "a/d", "e"})
      std::filesystem::create_directories(top_ + "/" + directory);
    for (const char* const file : {"f", "a/f", "a/b/f", "e/f"}) std::ofstream(top_ + "/" + file);
    Link("a/up", "..");
    Link("a/b/absolute", "/e/f");
    Link("a/b/relative", "../../e");
    Link("dangling", "/e/missing");
    Link("loop", "loop");
    Link("first", "second");
    Link("second", "a/b/relative/f");
    Link("out", "/../../../../e");
    Link("a/b/c/slash", "/e/");
    ASSERT_EQ(0, mkfifo((top_ + "/a/fifo").c_str(), 0600));
    auto root = OpenRootOfTree();
    ASSERT_GE(root.fd.get(), 0);
    root_ = std::move(root);
    start_ = AnchorAt("a/b");
  }
  void TearDown() override {
    if (!top_.empty()) std::filesystem::remove_all(top_);
  }
  void Link(const std::string& name, const char* target) {
    ASSERT_EQ(0, symlink(target, (top_ + "/" + name).c_str()));
  }
  Anchor OpenRootOfTree() { return AnchorAt(""); }
  // As another process's working directory would be opened.
  Anchor AnchorAt(const std::string& below) {
    const UniqueFd fd(open((top_ + "/" + below).c_str(), O_PATH | O_CLOEXEC));
    auto anchor = OpenDirectoryOf(getpid(), fd.get());
    EXPECT_TRUE(anchor);
    return anchor ? std::move(*anchor) : Anchor{};
  }
  tl::expected<Arrival, int> To(std::string_view path, bool follow = true, uint64_t resolve = 0) {
    Journey journey;
    journey.root = &root_;
    journey.start = &start_;
    journey.path = path;
    journey.follow = follow;
    journey.resolve = resolve;
    journey.thread = getpid();
    journey.root_text = top_;
    return Reach(journey);
  }

  std::string top_;
  Anchor root_, start_;
};

TEST_F(Tree, NamesAreTheContainers) {
  EXPECT_EQ("/a/b/f", To("/a/b/f")->object);
  EXPECT_EQ("/a/b/f", To("f")->object);
  EXPECT_EQ("/a/b/f", To("//a/./b///f")->object);
  EXPECT_EQ("/a/f", To("../f")->object);
  EXPECT_EQ("/e/f", To("absolute")->object);
  EXPECT_EQ("/e/f", To("absolute")->name);
  EXPECT_EQ("/a/b/absolute", To("absolute", false)->name);
  EXPECT_EQ("/e/f", To("relative/f")->name);
  EXPECT_EQ("/f", To("/a/up/f")->object);
  EXPECT_EQ("/e/f", To("/first")->object);
  EXPECT_EQ("/", To("/")->object);
  EXPECT_EQ("", To("/")->name);
  EXPECT_EQ("/a/b", To(".")->object);
  EXPECT_EQ("/e", To("c/slash")->object);
}

TEST_F(Tree, NothingLeadsOutOfTheCallersRoot) {
  EXPECT_EQ("/e", To("/out")->object);
  EXPECT_EQ("/", To("../../../../../..")->object);
  EXPECT_EQ("/f", To("../../../../../../f")->object);
}

TEST_F(Tree, WhatIsThereAndWhatIsNot) {
  EXPECT_EQ(mode_t{S_IFREG}, To("/f")->type);
  EXPECT_EQ(mode_t{S_IFDIR}, To("/a")->type);
  EXPECT_EQ(mode_t{S_IFIFO}, To("/a/fifo")->type);  // and nothing hung
  EXPECT_EQ(mode_t{S_IFLNK}, To("/dangling", false)->type);
  EXPECT_EQ("/dangling", To("/dangling", false)->name);
  // What would be made through a dangling symlink is its target.
  EXPECT_EQ(mode_t{0}, To("/dangling")->type);
  EXPECT_EQ("/e/missing", To("/dangling")->name);
  EXPECT_EQ("", To("/dangling")->object);
  EXPECT_EQ("/a/new", To("/a/new")->name);
  EXPECT_EQ(ENOENT, To("/missing/new").error());
  EXPECT_EQ(ENOTDIR, To("/f/x").error());
  EXPECT_EQ(ENOTDIR, To("/f/").error());
  EXPECT_EQ(ELOOP, To("/loop").error());
  EXPECT_EQ(ENOENT, To("").error());
  EXPECT_EQ(ENAMETOOLONG, To("/" + std::string(300, 'x')).error());
  EXPECT_EQ(ENAMETOOLONG, To(std::string(5000, '/')).error());
}

TEST_F(Tree, SameDirectory) {
  EXPECT_EQ(To("/e/f")->directory, To("relative/new")->directory);
  EXPECT_NE(To("/e/f")->directory, To("/a/f")->directory);
}

TEST_F(Tree, ResolveFlags) {
  EXPECT_EQ(ELOOP, To("absolute", true, RESOLVE_NO_SYMLINKS).error());
  EXPECT_EQ("/a/b/f", To("f", true, RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH)->object);
  EXPECT_EQ(EXDEV, To("../f", true, RESOLVE_BENEATH).error());
  EXPECT_EQ(EXDEV, To("absolute", true, RESOLVE_BENEATH).error());
  EXPECT_EQ(EXDEV, To("/a", true, RESOLVE_BENEATH).error());
  // The descriptor is the root.
  EXPECT_EQ("/a/b/f", To("/f", true, RESOLVE_IN_ROOT)->object);
  EXPECT_EQ("/a/b/f", To("../../../f", true, RESOLVE_IN_ROOT)->object);
}

TEST_F(Tree, DescriptorsAreJumpedThrough) {
  std::filesystem::create_directories(top_ + "/proc");
  const pid_t child = fork();
  if (child == 0) {
    // The container's own procfs, in which we are nobody.
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0) _exit(77);
    const pid_t inner = fork();
    if (inner == 0) {
      (void)mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
      if (chroot(top_.c_str()) < 0 || chdir("/a") < 0) _exit(77);
      if (mount("proc", "/proc", "proc", 0, nullptr) < 0) _exit(77);
      dup2(open("/e/f", O_RDONLY), 5);
      dup2(open("/e", O_RDONLY), 6);
      dup2(memfd_create("secret", 0), 7);
      int ends[2];
      if (pipe(ends) < 0) _exit(1);
      dup2(ends[0], 8);
      kill(getppid(), 0);
      (void)!symlink("/proc/self/fd", "/devfd");
      std::ofstream("/ready");
      pause();
      _exit(0);
    }
    int status = 0;
    waitpid(inner, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
  }
  // The inner process, as we see it.
  pid_t inner = 0;
  const std::string children =
      "/proc/" + std::to_string(child) + "/task/" + std::to_string(child) + "/children";
  while (!std::filesystem::exists(top_ + "/ready")) {
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == child) {
      (void)waitpid(child, nullptr, 0);
      GTEST_SKIP() << "no pid namespace here";
    }
    usleep(1000);
  }
  std::ifstream(children) >> inner;
  ASSERT_GT(inner, 0);
  auto root = OpenRootOf(inner);
  auto cwd = OpenDirectoryOf(inner, AT_FDCWD);
  ASSERT_TRUE(root && cwd);
  EXPECT_EQ(top_, *RootText(inner));
  const auto to = [&](std::string_view path, uint64_t resolve = 0) {
    Journey journey;
    journey.root = &*root;
    journey.start = &*cwd;
    journey.path = path;
    journey.thread = inner;
    journey.resolve = resolve;
    journey.root_text = top_;
    return Reach(journey);
  };
  EXPECT_EQ("/e/f", to("/proc/self/fd/5")->object);
  EXPECT_EQ("/e/f", to("/devfd/5")->object);
  EXPECT_EQ("/e/f", to("/proc/thread-self/fd/6/f")->object);
  EXPECT_EQ("/e/f", to("../proc/1/fd/6/../e/f")->object);
  EXPECT_EQ("/a", to("/proc/self/cwd")->object);
  EXPECT_EQ("/proc/1/status", to("/proc/self/status")->object);
  EXPECT_EQ("/proc/1", to("/proc/self")->object);
  EXPECT_EQ("", to("/proc/self/fd/7")->object);
  EXPECT_EQ(mode_t{S_IFREG}, to("/proc/self/fd/7")->type);
  EXPECT_EQ("", to("/proc/self/fd/8")->object);
  EXPECT_EQ(mode_t{S_IFIFO}, to("/proc/self/fd/8")->type);
  EXPECT_EQ(mode_t{0}, to("/proc/self/fd/99")->type);
  EXPECT_EQ(ELOOP, to("/proc/self/fd/5", RESOLVE_NO_MAGICLINKS).error());
  EXPECT_EQ("/e", NameOf(OpenDirectoryOf(inner, 6)->fd, top_));
  EXPECT_EQ(EBADF, OpenDirectoryOf(inner, 99).error());
  kill(inner, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(ESRCH, OpenRootOf(inner).error());
}

// --- against the kernel -------------------------------------------------------------------------

struct Answer {
  int error_number = 0;
  uint64_t inode = 0;
};

// What the kernel says to somebody whose root the tree is.
std::vector<Answer> AskKernel(const std::string& top, const std::string& cwd,
                              const std::vector<std::string>& paths, int flags) {
  int ends[2];
  EXPECT_EQ(0, pipe(ends));
  const pid_t child = fork();
  if (child == 0) {
    if (chroot(top.c_str()) < 0 || chdir(cwd.c_str()) < 0) _exit(1);
    for (const std::string& path : paths) {
      Answer answer;
      const int fd = open(path.c_str(), O_PATH | O_CLOEXEC | flags);
      struct stat st;
      if (fd < 0) {
        answer.error_number = errno;
      } else if (fstat(fd, &st) == 0) {
        answer.inode = st.st_ino;
        close(fd);
      }
      if (write(ends[1], &answer, sizeof answer) != sizeof answer) _exit(1);
    }
    _exit(0);
  }
  close(ends[1]);
  std::vector<Answer> answers(paths.size());
  for (Answer& answer : answers) {
    EXPECT_EQ(static_cast<ssize_t>(sizeof answer), read(ends[0], &answer, sizeof answer));
  }
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return answers;
}

TEST_F(Tree, TheSameObjectAsTheKernel) {
  const char* const parts[] = {"a",      "b",    "c", "d",        "e",        "f",     "up",
                               "..",     ".",    "",  "absolute", "relative", "first", "out",
                               "second", "loop", "x", "..",       "dangling", "slash", "fifo"};
  std::mt19937 random(20240607);
  std::vector<std::string> paths;
  for (int i = 0; i < 4000; ++i) {
    std::string path = random() % 2 ? "/" : "";
    for (size_t n = 1 + random() % 6; n > 0; --n) {
      path += parts[random() % std::size(parts)];
      if (n > 1 || random() % 8 == 0) path += '/';
    }
    if (!path.empty()) paths.push_back(path);
  }
  int reached = 0, refused = 0;
  for (const bool follow : {true, false}) {
    const std::vector<Answer> kernel = AskKernel(top_, "/a/b", paths, follow ? 0 : O_NOFOLLOW);
    for (size_t i = 0; i < paths.size(); ++i) {
      SCOPED_TRACE(paths[i] + (follow ? "" : " (nofollow)"));
      const auto ours = To(paths[i], follow);
      if (!ours) {
        EXPECT_EQ(kernel[i].error_number, ours.error());
        ++refused;
        continue;
      }
      if (ours->type == 0) {
        EXPECT_EQ(ENOENT, kernel[i].error_number);
        continue;
      }
      EXPECT_EQ(0, kernel[i].error_number);
      struct stat st {};
      ASSERT_EQ(0, lstat((top_ + ours->object).c_str(), &st)) << ours->object;
      EXPECT_EQ(kernel[i].inode, st.st_ino) << ours->object;
      ++reached;
    }
  }
  EXPECT_GT(reached, 500);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace landgate::agent
