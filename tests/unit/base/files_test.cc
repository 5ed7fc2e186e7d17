#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace landgate {
namespace {

using testing::HasSubstr;

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    std::string pattern = "/tmp/landgate-files.XXXXXX";
    root_ = mkdtemp(pattern.data());
    chmod(root_.c_str(), 0755);
  }
  ~FilesTest() override { std::filesystem::remove_all(root_); }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  void Write(const std::string& name, const std::string& text, mode_t mode = 0644) {
    ASSERT_TRUE(WriteFileAtomically(Path(name), text, mode));
  }
  void MakeDirectory(const std::string& name, mode_t mode = 0755) {
    ASSERT_EQ(mkdir(Path(name).c_str(), 0700), 0);
    ASSERT_EQ(chmod(Path(name).c_str(), mode), 0);
  }
  Result<std::string> Trusted(const std::string& name) {
    return ReadTrustedFile(Path(name), geteuid());
  }
  std::string root_;
};

TEST_F(FilesTest, ReadsUpToTheLimitAndNotAByteMore) {
  for (size_t size :
       {size_t{0}, size_t{1}, size_t{65535}, size_t{65536}, size_t{65537}, size_t{200000}}) {
    const std::string text(size, 'x');
    Write("f", text);
    EXPECT_EQ(ReadFile(Path("f"), size).value(), text);
    if (size == 0) continue;
    const Result<std::string> cut = ReadFile(Path("f"), size - 1);
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.error().error_number, EFBIG);
    EXPECT_THAT(cut.error().message, HasSubstr(Path("f")));
  }
}

TEST_F(FilesTest, ReadsRegularFilesOnlyAndNeverHangs) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0644), 0);
  EXPECT_THAT(ReadFile(Path("fifo")).error().message, HasSubstr("not a regular file"));
  EXPECT_THAT(ReadTrustedFile(Path("fifo"), geteuid()).error().message,
              HasSubstr("not a regular file"));
  EXPECT_FALSE(ReadFile(root_));
  EXPECT_EQ(ReadFile(Path("none")).error().error_number, ENOENT);
}

TEST_F(FilesTest, ReplacesAtomicallyWithTheModeThatIsAsked) {
  const mode_t before = umask(077);
  Write("f", "one", 0644);
  umask(before);
  struct stat first;
  ASSERT_EQ(stat(Path("f").c_str(), &first), 0);
  EXPECT_EQ(first.st_mode & 07777, 0644U);
  const UniqueFd old(open(Path("f").c_str(), O_RDONLY | O_CLOEXEC));
  Write("f", "two", 0600);
  EXPECT_EQ(ReadAll(old).value(), "one");
  EXPECT_EQ(ReadFile(Path("f")).value(), "two");
  const Status failed = WriteFileAtomically(Path("no/f"), "x", 0644);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().error_number, ENOENT);
  // Renaming over a directory fails and leaves no temporary file behind.
  MakeDirectory("d");
  EXPECT_FALSE(WriteFileAtomically(Path("d"), "x", 0644));
  size_t entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root_)) {
    (void)entry;
    ++entries;
  }
  EXPECT_EQ(entries, 2U);
}

TEST_F(FilesTest, WriteAllReportsAClosedPipe) {
  signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  EXPECT_TRUE(WriteAll(writer, "abc"));
  reader.Reset();
  EXPECT_EQ(WriteAll(writer, "abc").error().error_number, EPIPE);
}

TEST_F(FilesTest, MakesMissingDirectories) {
  EXPECT_TRUE(MakeDirectories(Path("a/b/c"), 0755));
  EXPECT_TRUE(MakeDirectories(Path("a/b/c"), 0755));
  EXPECT_TRUE(std::filesystem::is_directory(Path("a/b/c")));
  Write("file", "");
  EXPECT_EQ(MakeDirectories(Path("file/x"), 0755).error().error_number, ENOTDIR);
}

// --- files that decide: others must not be able to write or replace them

TEST_F(FilesTest, TrustsAFileThatOnlyItsOwnerCanWrite) {
  MakeDirectory("etc");
  Write("etc/policy", "p");
  EXPECT_EQ(Trusted("etc/policy").value(), "p");
  EXPECT_EQ(Trusted("etc/../etc/./policy").value(), "p");
  EXPECT_EQ(Trusted("etc/none").error().error_number, ENOENT);
}

TEST_F(FilesTest, RefusesAFileThatOthersCanWrite) {
  for (mode_t mode : {0664, 0646, 0666}) {
    Write("policy", "p", mode);
    const Result<std::string> read = Trusted("policy");
    ASSERT_FALSE(read) << mode;
    EXPECT_THAT(read.error().message, HasSubstr("chmod go-w " + Path("policy")));
  }
}

TEST_F(FilesTest, RefusesADirectoryThatOthersCanWriteAnywhereAbove) {
  MakeDirectory("a");
  MakeDirectory("a/b");
  Write("a/b/policy", "p");
  EXPECT_TRUE(Trusted("a/b/policy"));
  for (const char* directory : {"a", "a/b"}) {
    for (mode_t mode : {0775, 0757, 0777}) {
      ASSERT_EQ(chmod(Path(directory).c_str(), mode), 0);
      const Result<std::string> read = Trusted("a/b/policy");
      ASSERT_FALSE(read) << directory << mode;
      EXPECT_THAT(read.error().message, HasSubstr("chmod go-w " + Path(directory)));
    }
    // Sticky, and what lies in it is ours: nobody else can rename it.
    ASSERT_EQ(chmod(Path(directory).c_str(), 01777), 0);
    EXPECT_TRUE(Trusted("a/b/policy")) << directory;
    ASSERT_EQ(chmod(Path(directory).c_str(), 0755), 0);
  }
}

TEST_F(FilesTest, RefusesSomebodyElsesFilesAndDirectories) {
  if (geteuid() != 0) GTEST_SKIP() << "giving files away needs root";
  MakeDirectory("a");
  Write("a/policy", "p");
  ASSERT_EQ(chown(Path("a/policy").c_str(), 1000, 0), 0);
  EXPECT_THAT(Trusted("a/policy").error().message, HasSubstr("belongs to uid 1000"));
  EXPECT_TRUE(ReadTrustedFile(Path("a/policy"), 1000));
  ASSERT_EQ(chown(Path("a/policy").c_str(), 0, 0), 0);
  ASSERT_EQ(chown(Path("a").c_str(), 1000, 0), 0);
  EXPECT_THAT(Trusted("a/policy").error().message, HasSubstr("uid 1000, who could replace"));
  ASSERT_EQ(chown(Path("a").c_str(), 0, 0), 0);
  // The overflow uid is an ordinary stranger where all of the host's ids are mapped.
  ASSERT_EQ(chown(Path("a/policy").c_str(), 65534, 0), 0);
  if (!InRootlessUserNamespace()) {
    EXPECT_FALSE(Trusted("a/policy"));
  }
}

TEST_F(FilesTest, ChecksTheWayOfEverySymlink) {
  MakeDirectory("good");
  Write("good/policy", "p");
  MakeDirectory("open", 0777);
  ASSERT_EQ(symlink(Path("good").c_str(), Path("direct").c_str()), 0);
  EXPECT_EQ(Trusted("direct/policy").value(), "p");
  ASSERT_EQ(symlink("good/policy", Path("relative").c_str()), 0);
  EXPECT_EQ(Trusted("relative").value(), "p");
  // direct2 → open/link → good: whoever can write open/ decides where it leads, though neither the
  // path as given nor the path it resolves to passes through open/.
  ASSERT_EQ(symlink(Path("good").c_str(), Path("open/link").c_str()), 0);
  ASSERT_EQ(symlink(Path("open/link").c_str(), Path("direct2").c_str()), 0);
  const Result<std::string> read = Trusted("direct2/policy");
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("chmod go-w " + Path("open")));
  ASSERT_EQ(chmod(Path("open").c_str(), 0755), 0);
  EXPECT_EQ(Trusted("direct2/policy").value(), "p");
  // A link of somebody else in a sticky directory leads where its owner likes.
  if (geteuid() == 0) {
    ASSERT_EQ(chmod(Path("open").c_str(), 01777), 0);
    EXPECT_TRUE(Trusted("direct2/policy"));
    ASSERT_EQ(lchown(Path("open/link").c_str(), 1000, 0), 0);
    EXPECT_FALSE(Trusted("direct2/policy"));
  }
}

TEST_F(FilesTest, RelativePathsAreCheckedFromTheCurrentDirectory) {
  MakeDirectory("a");
  Write("a/policy", "p");
  const std::string before = std::filesystem::current_path();
  ASSERT_EQ(chdir(Path("a").c_str()), 0);
  EXPECT_TRUE(ReadTrustedFile("policy", geteuid()));
  ASSERT_EQ(chmod(Path("a").c_str(), 0777), 0);
  EXPECT_FALSE(ReadTrustedFile("policy", geteuid()));
  ASSERT_EQ(chdir(before.c_str()), 0);
}

}  // namespace
}  // namespace landgate
