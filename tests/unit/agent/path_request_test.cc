#include "agent/handlers/path_request.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <rapidcheck.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace landgate::agent {
namespace {

using policy::Rights;

constexpr Rights kExec = abi::kFsExecute, kWriteFile = abi::kFsWriteFile,
                 kReadFile = abi::kFsReadFile, kReadDir = abi::kFsReadDir,
                 kRemoveDir = abi::kFsRemoveDir, kRemoveFile = abi::kFsRemoveFile,
                 kMakeChar = abi::kFsMakeChar, kMakeDir = abi::kFsMakeDir,
                 kMakeReg = abi::kFsMakeReg, kMakeSock = abi::kFsMakeSock,
                 kMakeFifo = abi::kFsMakeFifo, kMakeBlock = abi::kFsMakeBlock,
                 kMakeSym = abi::kFsMakeSym, kRefer = abi::kFsRefer, kTruncate = abi::kFsTruncate;

constexpr Found kMissing{0}, kFile{S_IFREG}, kDirectory{S_IFDIR}, kLink{S_IFLNK}, kDevice{S_IFCHR},
    kFifo{S_IFIFO}, kSocket{S_IFSOCK};

// --- open's flags, as a matrix ------------------------------------------------------------------

struct OpenRow {
  uint64_t flags;
  Deed deed;
  bool follow;
  Rights missing, file, directory, fifo;  // object | name
};

Rights All(const Needed& needed) { return needed.object | needed.name; }

class OpenFlags : public testing::TestWithParam<OpenRow> {};

TEST_P(OpenFlags, Needs) {
  const OpenRow& row = GetParam();
  Place place;
  DecodeOpenFlags(row.flags, place);
  EXPECT_EQ(row.deed, place.deed);
  EXPECT_EQ(row.follow, place.follow);
  EXPECT_EQ(row.missing, All(RightsAt(place, kMissing, kMissing, true)));
  EXPECT_EQ(row.file, All(RightsAt(place, kFile, kMissing, true)));
  EXPECT_EQ(row.directory, All(RightsAt(place, kDirectory, kMissing, true)));
  EXPECT_EQ(row.fifo, All(RightsAt(place, kFifo, kMissing, true)));
}

constexpr Deed kUse = Deed::kUse, kOrMake = Deed::kUseOrMake, kMake = Deed::kMake,
               kNone = Deed::kNothing, kNameless = Deed::kUseNameless;
INSTANTIATE_TEST_SUITE_P(
    Matrix, OpenFlags,
    testing::Values(
        //      flags                            deed   follow missing      file          directory
        OpenRow{O_RDONLY, kUse, true, 0, kReadFile, kReadDir, kReadFile},
        OpenRow{O_RDONLY | O_DIRECTORY, kUse, true, 0, kReadFile, kReadDir, kReadFile},
        OpenRow{O_RDONLY | O_NOFOLLOW, kUse, false, 0, kReadFile, kReadDir, kReadFile},
        OpenRow{O_WRONLY, kUse, true, 0, kWriteFile, kWriteFile, kWriteFile},
        OpenRow{O_WRONLY | O_APPEND, kUse, true, 0, kWriteFile, kWriteFile, kWriteFile},
        OpenRow{O_RDWR, kUse, true, 0, kReadFile | kWriteFile, kReadDir | kWriteFile,
                kReadFile | kWriteFile},
        OpenRow{O_ACCMODE, kUse, true, 0, kReadFile | kWriteFile, kReadDir | kWriteFile,
                kReadFile | kWriteFile},
        // Truncates although it only reads.
        OpenRow{O_RDONLY | O_TRUNC, kUse, true, 0, kReadFile | kTruncate, kReadDir | kTruncate,
                kReadFile},
        OpenRow{O_WRONLY | O_TRUNC, kUse, true, 0, kWriteFile | kTruncate, kWriteFile | kTruncate,
                kWriteFile},
        OpenRow{O_WRONLY | O_CREAT, kOrMake, true, kWriteFile | kMakeReg, kWriteFile, kWriteFile,
                kWriteFile},
        OpenRow{O_RDONLY | O_CREAT, kOrMake, true, kReadFile | kMakeReg, kReadFile, kReadDir,
                kReadFile},
        // A new file has nothing to truncate.
        OpenRow{O_WRONLY | O_CREAT | O_TRUNC, kOrMake, true, kWriteFile | kMakeReg,
                kWriteFile | kTruncate, kWriteFile | kTruncate, kWriteFile},
        OpenRow{O_WRONLY | O_CREAT | O_EXCL, kMake, false, kWriteFile | kMakeReg, 0, 0, 0},
        OpenRow{O_RDWR | O_CREAT | O_EXCL | O_TRUNC, kMake, false,
                kReadFile | kWriteFile | kMakeReg, 0, 0, 0},
        OpenRow{O_PATH, kNone, true, 0, 0, 0, 0},
        OpenRow{O_PATH | O_RDWR | O_CREAT | O_TRUNC, kNone, true, 0, 0, 0, 0},
        OpenRow{O_PATH | O_NOFOLLOW, kNone, false, 0, 0, 0, 0},
        OpenRow{O_TMPFILE | O_RDWR, kNameless, true, 0, 0, kReadFile | kWriteFile, 0},
        OpenRow{O_TMPFILE | O_WRONLY, kNameless, true, 0, 0, kWriteFile, 0}));

// Whatever the flags are: a call that can write asks for write or truncate of what is there.
TEST(OpenFlagsProperty, NothingThatWritesAsksForNothing) {
  rc::check([](uint32_t flags) {
    Place place;
    DecodeOpenFlags(flags, place);
    if (flags & O_PATH) return;
    const Rights file = All(RightsAt(place, kFile, kMissing, true));
    const Rights made = All(RightsAt(place, kMissing, kMissing, true));
    const bool exclusive = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    const bool nameless = (flags & O_TMPFILE & ~O_DIRECTORY) != 0;
    if (nameless) return;
    RC_ASSERT(((flags & O_CREAT) != 0) == ((made & kMakeReg) != 0));
    if (exclusive) return;
    if ((flags & O_ACCMODE) != O_RDONLY) RC_ASSERT(file & kWriteFile);
    if ((flags & O_ACCMODE) != O_WRONLY) RC_ASSERT(file & kReadFile);
    RC_ASSERT(((flags & O_TRUNC) != 0) == ((file & kTruncate) != 0));
  });
}

// --- struct open_how ----------------------------------------------------------------------------

std::vector<std::byte> HowBytes(const struct open_how& how, size_t size) {
  std::vector<std::byte> bytes(size);
  std::memcpy(bytes.data(), &how, std::min(size, sizeof how));
  return bytes;
}

TEST(OpenHow, SizesAsTheKernelTakesThem) {
  const struct open_how how { .flags = O_RDWR, .mode = 0, .resolve = RESOLVE_BENEATH };
  EXPECT_EQ(EINVAL, CopyOpenHow({}).error());
  EXPECT_EQ(EINVAL, CopyOpenHow(HowBytes(how, 23)).error());
  ASSERT_TRUE(CopyOpenHow(HowBytes(how, 24)));
  EXPECT_EQ(uint64_t{RESOLVE_BENEATH}, CopyOpenHow(HowBytes(how, 24))->resolve);
  EXPECT_TRUE(CopyOpenHow(HowBytes(how, 64)));
  EXPECT_TRUE(CopyOpenHow(HowBytes(how, 4096)));
  EXPECT_EQ(E2BIG, CopyOpenHow(HowBytes(how, 4097)).error());
  std::vector<std::byte> unknown = HowBytes(how, 64);
  unknown.back() = std::byte{1};
  EXPECT_EQ(E2BIG, CopyOpenHow(unknown).error());
}

// The kernel is asked the same, on a directory that is there.
TEST(OpenHow, RefusesWhatTheKernelRefuses) {
  const auto kernel = [](const struct open_how& how) {
    const long fd = syscall(SYS_openat2, AT_FDCWD, "/proc/self", &how, sizeof how);
    const int error_number = fd < 0 ? errno : 0;
    if (fd >= 0) close(static_cast<int>(fd));
    return error_number;
  };
  const auto ours = [](const struct open_how& how) {
    Place place;
    const auto decoded = DecodeOpenHow(how, place);
    return decoded ? 0 : decoded.error();
  };
  for (const uint64_t flags :
       {uint64_t{0}, uint64_t{O_WRONLY}, uint64_t{O_ACCMODE}, uint64_t{O_CREAT}, uint64_t{O_PATH},
        uint64_t{O_PATH | O_WRONLY}, uint64_t{O_PATH | O_NOFOLLOW}, uint64_t{O_PATH | O_CREAT},
        uint64_t{O_TMPFILE}, uint64_t{O_TMPFILE | O_RDWR}, uint64_t{O_TMPFILE | O_CREAT | O_RDWR},
        uint64_t{(O_TMPFILE & ~O_DIRECTORY) | O_RDWR}, uint64_t{1} << 40, uint64_t{1} << 31,
        uint64_t{O_CLOEXEC | O_NOATIME}}) {
    for (const uint64_t mode :
         {uint64_t{0}, uint64_t{0644}, uint64_t{0x10000}, uint64_t{1} << 33}) {
      for (const uint64_t resolve :
           {uint64_t{0}, uint64_t{RESOLVE_BENEATH}, uint64_t{RESOLVE_IN_ROOT},
            uint64_t{RESOLVE_BENEATH | RESOLVE_IN_ROOT}, uint64_t{1} << 20}) {
        const struct open_how how { .flags = flags, .mode = mode, .resolve = resolve };
        EXPECT_EQ(kernel(how) == EINVAL, ours(how) == EINVAL)
            << std::hex << "flags " << flags << " mode " << mode << " resolve " << resolve
            << " kernel " << strerror(kernel(how)) << " ours " << strerror(ours(how));
      }
    }
  }
}

// --- two names ----------------------------------------------------------------------------------

struct TwoRow {
  Deed first, second;
  Found here, there;
  bool same;
  Rights needed_here, needed_there;
};
class TwoNames : public testing::TestWithParam<TwoRow> {};

TEST_P(TwoNames, Need) {
  const TwoRow& row = GetParam();
  Place first, second;
  first.deed = row.first;
  second.deed = row.second;
  const Needed here = RightsAt(first, row.here, row.there, row.same);
  const Needed there = RightsAt(second, row.there, row.here, row.same);
  EXPECT_EQ(row.needed_here, here.name);
  EXPECT_EQ(row.needed_there, there.name);
  EXPECT_EQ(0u, here.object | there.object);
}

constexpr Deed kAway = Deed::kMoveAway, kHere = Deed::kMoveHere, kSwap = Deed::kSwap,
               kFrom = Deed::kLinkFrom, kTo = Deed::kLinkTo;
INSTANTIATE_TEST_SUITE_P(
    Matrix, TwoNames,
    testing::Values(TwoRow{kAway, kHere, kFile, kMissing, true, kRemoveFile, kMakeReg},
                    TwoRow{kAway, kHere, kFile, kMissing, false, kRemoveFile | kRefer,
                           kMakeReg | kRefer},
                    TwoRow{kAway, kHere, kFile, kFile, true, kRemoveFile, kMakeReg | kRemoveFile},
                    TwoRow{kAway, kHere, kDirectory, kMissing, true, kRemoveDir, kMakeDir},
                    TwoRow{kAway, kHere, kDirectory, kDirectory, false, kRemoveDir | kRefer,
                           kMakeDir | kRemoveDir | kRefer},
                    TwoRow{kAway, kHere, kLink, kMissing, true, kRemoveFile, kMakeSym},
                    TwoRow{kAway, kHere, kDevice, kMissing, true, kRemoveFile, kMakeChar},
                    TwoRow{kAway, kHere, kMissing, kFile, true, 0, 0},
                    TwoRow{kSwap, kSwap, kFile, kDirectory, true, kRemoveFile | kMakeDir,
                           kRemoveDir | kMakeReg},
                    TwoRow{kSwap, kSwap, kFile, kMissing, true, 0, 0},
                    TwoRow{kFrom, kTo, kFile, kMissing, true, 0, kMakeReg},
                    TwoRow{kFrom, kTo, kFile, kMissing, false, kRefer, kMakeReg | kRefer},
                    TwoRow{kFrom, kTo, kFifo, kMissing, true, 0, kMakeFifo},
                    TwoRow{kFrom, kTo, kSocket, kMissing, true, 0, kMakeSock},
                    TwoRow{kFrom, kTo, kDirectory, kMissing, false, 0, 0},
                    TwoRow{kFrom, kTo, kFile, kFile, true, 0, 0}));

// --- calls out of memory, which is our own ------------------------------------------------------

class Calling {
 public:
  tl::expected<PathRequest, int> Read(const char* name, std::array<uint64_t, 6> arguments) {
    const CallInfo* const call = FindCall(name);
    if (!call) return tl::unexpected(ENOSYS);
    struct seccomp_notif notification {};
    notification.pid = static_cast<uint32_t>(gettid());
    for (size_t i = 0; i < arguments.size(); ++i) notification.data.args[i] = arguments[i];
    return ReadPathRequest(*call, notification, buffers_);
  }

 private:
  PathBuffers buffers_;
};

uint64_t At(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
constexpr uint64_t kCwd = static_cast<uint64_t>(static_cast<uint32_t>(AT_FDCWD));

struct CallRow {
  const char* name;
  std::array<uint64_t, 6> arguments;
  int error_number;
  Deed deed = Deed::kNothing;
  bool follow = true;
  Rights missing = 0, file = 0, directory = 0;
};

const char kPath[] = "/some/where";
const char kOther[] = "else/where";
const char kEmpty[] = "";

TEST(PathRequests, EveryCall) {
  const CallRow rows[] = {
#if defined(__x86_64__)
    {"open", {At(kPath), O_WRONLY}, 0, kUse, true, 0, kWriteFile, kWriteFile},
    {"creat",
     {At(kPath), 0644},
     0,
     kOrMake,
     true,
     kWriteFile | kMakeReg,
     kWriteFile | kTruncate,
     kWriteFile | kTruncate},
    {"mkdir", {At(kPath), 0755}, 0, kMake, false, kMakeDir},
    {"mknod", {At(kPath), S_IFIFO}, 0, kMake, false, kMakeFifo},
    {"symlink", {At(kOther), At(kPath)}, 0, kMake, false, kMakeSym},
    {"unlink", {At(kPath)}, 0, Deed::kRemoveFile, false, 0, kRemoveFile, 0},
    {"rmdir", {At(kPath)}, 0, Deed::kRemoveDirectory, false, 0, 0, kRemoveDir},
#endif
    // Junk in the upper half of an int is the kernel's to ignore.
    {"openat",
     {kCwd | 1ULL << 40, At(kPath), O_RDWR | 1ULL << 35},
     0,
     kUse,
     true,
     0,
     kReadFile | kWriteFile,
     kReadDir | kWriteFile},
    {"openat", {kCwd, At(kPath), O_TMPFILE | O_RDONLY}, EINVAL},
    {"openat", {kCwd, At(kPath), O_TMPFILE | O_RDWR | O_CREAT}, EINVAL},
    // What open(2) does not know it ignores.
    {"openat", {kCwd, At(kPath), O_RDONLY | 0x20}, 0, kUse, true, 0, kReadFile, kReadDir},
    {"openat", {kCwd, 8, O_RDONLY}, EFAULT},
    {"openat", {kCwd, At(kEmpty), O_RDONLY}, ENOENT},
    {"truncate", {At(kPath), 0}, 0, kUse, true, 0, kTruncate, kTruncate},
    {"mkdirat", {kCwd, At(kPath)}, 0, kMake, false, kMakeDir},
    {"mknodat", {kCwd, At(kPath), S_IFCHR | 0666}, 0, kMake, false, kMakeChar},
    {"mknodat", {kCwd, At(kPath), S_IFBLK}, 0, kMake, false, kMakeBlock},
    {"mknodat", {kCwd, At(kPath), S_IFSOCK}, 0, kMake, false, kMakeSock},
    {"mknodat", {kCwd, At(kPath), 0644}, 0, kMake, false, kMakeReg},
    {"mknodat", {kCwd, At(kPath), S_IFDIR}, EPERM},
    {"mknodat", {kCwd, At(kPath), S_IFLNK}, EINVAL},
    {"symlinkat", {At(kOther), kCwd, At(kPath)}, 0, kMake, false, kMakeSym},
    {"unlinkat", {kCwd, At(kPath), 0}, 0, Deed::kRemoveFile, false, 0, kRemoveFile, 0},
    {"unlinkat",
     {kCwd, At(kPath), AT_REMOVEDIR},
     0,
     Deed::kRemoveDirectory,
     false,
     0,
     0,
     kRemoveDir},
    {"unlinkat", {kCwd, At(kPath), AT_EMPTY_PATH}, EINVAL},
    {"execve", {At(kPath)}, 0, kUse, true, 0, kExec | kReadFile, kExec},
    {"execveat",
     {kCwd, At(kPath), 0, 0, AT_SYMLINK_NOFOLLOW},
     0,
     kUse,
     false,
     0,
     kExec | kReadFile,
     kExec},
    {"execveat", {3, At(kEmpty), 0, 0, AT_EMPTY_PATH}, 0, kUse, true, 0, kExec | kReadFile, kExec},
    {"execveat", {3, At(kEmpty), 0, 0, 0}, ENOENT},
    {"execveat", {3, At(kPath), 0, 0, 1}, EINVAL},
  };
  for (const CallRow& row : rows) {
    Calling calling;
    const auto request = calling.Read(row.name, row.arguments);
    SCOPED_TRACE(std::string(row.name) + " flags " + std::to_string(row.arguments[2]));
    EXPECT_EQ(row.error_number, request ? 0 : request.error());
    if (!request || row.error_number != 0) continue;
    ASSERT_EQ(1u, request->count);
    const Place& place = request->places[0];
    EXPECT_EQ(row.deed, place.deed);
    EXPECT_EQ(row.follow, place.follow);
    if (!place.empty_is_dirfd) {
      EXPECT_EQ(kPath, place.path);
    }
    EXPECT_EQ(row.missing, All(RightsAt(place, kMissing, kMissing, true)));
    EXPECT_EQ(row.file, All(RightsAt(place, kFile, kMissing, true)));
    EXPECT_EQ(row.directory, All(RightsAt(place, kDirectory, kMissing, true)));
  }
}

TEST(PathRequests, TwoNamesEach) {
  struct Row {
    const char* name;
    std::array<uint64_t, 6> arguments;
    int error_number;
    Deed first, second;
    bool follow;
  };
  const Row rows[] = {
#if defined(__x86_64__)
    {"rename", {At(kPath), At(kOther)}, 0, kAway, kHere, false},
    {"link", {At(kPath), At(kOther)}, 0, kFrom, kTo, false},
#endif
    {"renameat", {7, At(kPath), 8, At(kOther)}, 0, kAway, kHere, false},
    {"renameat2", {7, At(kPath), 8, At(kOther), 0}, 0, kAway, kHere, false},
    {"renameat2", {7, At(kPath), 8, At(kOther), RENAME_NOREPLACE}, 0, kAway, kHere, false},
    {"renameat2", {7, At(kPath), 8, At(kOther), RENAME_EXCHANGE}, 0, kSwap, kSwap, false},
    {"renameat2",
     {7, At(kPath), 8, At(kOther), RENAME_EXCHANGE | RENAME_NOREPLACE},
     EINVAL,
     kAway,
     kHere,
     false},
    {"renameat2", {7, At(kPath), 8, At(kOther), 64}, EINVAL, kAway, kHere, false},
    {"renameat2", {7, At(kPath), 8, 8, 0}, EFAULT, kAway, kHere, false},
    {"renameat2", {7, At(kPath), 8, At(kEmpty), 0}, ENOENT, kAway, kHere, false},
    {"linkat", {7, At(kPath), 8, At(kOther), 0}, 0, kFrom, kTo, false},
    {"linkat", {7, At(kPath), 8, At(kOther), AT_SYMLINK_FOLLOW}, 0, kFrom, kTo, true},
    {"linkat", {7, At(kPath), 8, At(kOther), AT_SYMLINK_NOFOLLOW}, EINVAL, kFrom, kTo, true},
  };
  for (const Row& row : rows) {
    Calling calling;
    const auto request = calling.Read(row.name, row.arguments);
    SCOPED_TRACE(row.name);
    EXPECT_EQ(row.error_number, request ? 0 : request.error());
    if (!request || row.error_number != 0) continue;
    ASSERT_EQ(2u, request->count);
    EXPECT_EQ(kPath, request->places[0].path);
    EXPECT_EQ(kOther, request->places[1].path);
    EXPECT_EQ(row.first, request->places[0].deed);
    EXPECT_EQ(row.second, request->places[1].deed);
    EXPECT_EQ(row.follow, request->places[0].follow);
    EXPECT_FALSE(request->places[1].follow);
    if (row.name[strlen(row.name) - 1] == 't' || row.name[strlen(row.name) - 1] == '2') {
      EXPECT_EQ(7, request->places[0].dirfd);
      EXPECT_EQ(8, request->places[1].dirfd);
    }
  }
}

TEST(PathRequests, OpenHowIsCopiedWithItsSizeChecked) {
  struct open_how how {
    .flags = O_WRONLY | O_CREAT, .mode = 0600, .resolve = RESOLVE_NO_SYMLINKS
  };
  Calling calling;
  auto request = calling.Read("openat2", {5, At(kPath), At(&how), sizeof how});
  ASSERT_TRUE(request);
  EXPECT_EQ(5, request->places[0].dirfd);
  EXPECT_EQ(kOrMake, request->places[0].deed);
  EXPECT_EQ(uint64_t{RESOLVE_NO_SYMLINKS}, request->places[0].resolve);
  EXPECT_EQ(EINVAL, calling.Read("openat2", {5, At(kPath), At(&how), 23}).error());
  EXPECT_EQ(E2BIG, calling.Read("openat2", {5, At(kPath), At(&how), 1 << 20}).error());
  EXPECT_EQ(E2BIG, calling.Read("openat2", {5, At(kPath), At(&how), ~uint64_t{0}}).error());
  EXPECT_EQ(EFAULT, calling.Read("openat2", {5, At(kPath), 8, sizeof how}).error());
  how.flags |= uint64_t{1} << 50;
  EXPECT_EQ(EINVAL, calling.Read("openat2", {5, At(kPath), At(&how), sizeof how}).error());
}

TEST(PathRequests, LengthsOfPaths) {
  Calling calling;
  const std::string longest(PATH_MAX - 1, 'x');
  auto request = calling.Read("openat", {kCwd, At(longest.c_str()), O_RDONLY});
  ASSERT_TRUE(request);
  EXPECT_EQ(longest, request->places[0].path);
  const std::string longer(PATH_MAX, 'x');
  EXPECT_EQ(ENAMETOOLONG, calling.Read("openat", {kCwd, At(longer.c_str()), O_RDONLY}).error());
}

}  // namespace
}  // namespace landgate::agent
