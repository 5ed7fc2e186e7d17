#include "agent/handlers/path_request.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "agent/notify/memory.h"

namespace landgate::agent {
namespace {

using policy::Rights;

#ifndef AT_EXECVE_CHECK
constexpr uint64_t kExecveCheck = 0x10000;  // Linux 6.14
#else
constexpr uint64_t kExecveCheck = AT_EXECVE_CHECK;
#endif

#if defined(__aarch64__)
constexpr uint64_t kLargeFile = 0400000;  // glibc's O_LARGEFILE is 0 on 64 bits
#else
constexpr uint64_t kLargeFile = 0100000;
#endif
constexpr uint64_t kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;
constexpr uint64_t kOpenFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                                O_NONBLOCK | O_SYNC | O_DSYNC | O_ASYNC | O_DIRECT | kLargeFile |
                                O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH |
                                kTmpfileBit;
constexpr uint64_t kPathFlags = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
constexpr uint64_t kResolveFlags = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
                                   RESOLVE_BENEATH | RESOLVE_IN_ROOT | 0x20;  // RESOLVE_CACHED
constexpr uint64_t kPermissions = 07777;
constexpr size_t kOpenHowBytes0 = 24;  // OPEN_HOW_SIZE_VER0
constexpr size_t kPageBytes = 4096;    // the least; a larger page only lets through what is zero

// The kernel's checks on flags that are known (build_open_flags in fs/open.c).
tl::expected<void, int> CheckOpenFlags(uint64_t flags) {
  if (flags & kTmpfileBit) {
    if ((flags & (O_TMPFILE | O_CREAT)) != O_TMPFILE) return tl::unexpected(EINVAL);
    if ((flags & O_ACCMODE) == O_RDONLY) return tl::unexpected(EINVAL);
  }
  return {};
}

Rights RightsOfAccessMode(uint64_t flags) {
  constexpr Rights kReadAny = abi::kFsReadFile | abi::kFsReadDir;
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return kReadAny;
    case O_WRONLY:
      return abi::kFsWriteFile;
    default:
      return kReadAny | abi::kFsWriteFile;
  }
}

// Of the two ways to read the one that fits.
Rights ForType(Rights rights, mode_t type) {
  if (type == S_IFDIR) return rights & ~Rights{abi::kFsReadFile};
  rights &= ~Rights{abi::kFsReadDir};
  // Only of a regular file there is something to truncate.
  return type == S_IFREG ? rights : rights & ~Rights{abi::kFsTruncate};
}

Rights RemoveRight(mode_t type) { return type == S_IFDIR ? abi::kFsRemoveDir : abi::kFsRemoveFile; }

}  // namespace

Rights MakeRight(mode_t type) {
  switch (type & S_IFMT) {
    case S_IFDIR:
      return abi::kFsMakeDir;
    case S_IFLNK:
      return abi::kFsMakeSym;
    case S_IFCHR:
      return abi::kFsMakeChar;
    case S_IFBLK:
      return abi::kFsMakeBlock;
    case S_IFIFO:
      return abi::kFsMakeFifo;
    case S_IFSOCK:
      return abi::kFsMakeSock;
    default:
      return abi::kFsMakeReg;  // 0 is a regular file in mknod(2)
  }
}

void DecodeOpenFlags(uint64_t flags, Place& place) {
  place.follow = (flags & O_NOFOLLOW) == 0;
  if (flags & O_PATH) {
    place.deed = Deed::kNothing;
    return;
  }
  place.object = RightsOfAccessMode(flags);
  if (flags & kTmpfileBit) {
    place.deed = Deed::kUseNameless;
    place.object &= ~Rights{abi::kFsReadDir};
    if ((flags & O_ACCMODE) == O_WRONLY) place.object = abi::kFsWriteFile;
    return;
  }
  if (flags & O_TRUNC) place.object |= abi::kFsTruncate;
  place.deed = Deed::kUse;
  if ((flags & O_CREAT) == 0) return;
  place.make = abi::kFsMakeReg;
  if (flags & O_EXCL) {
    // A symlink in the last place is something that is there: EEXIST.
    place.deed = Deed::kMake;
    place.follow = false;
    place.object = ForType(place.object, S_IFREG) & ~Rights{abi::kFsTruncate};
    return;
  }
  place.deed = Deed::kUseOrMake;
}

tl::expected<void, int> DecodeOpenHow(const struct open_how& how, Place& place) {
  if (how.flags & ~kOpenFlags || how.resolve & ~kResolveFlags) return tl::unexpected(EINVAL);
  if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT)) {
    return tl::unexpected(EINVAL);
  }
  const bool creates = how.flags & (O_CREAT | kTmpfileBit);
  if (creates ? (how.mode & ~kPermissions) != 0 : how.mode != 0) return tl::unexpected(EINVAL);
  if ((how.flags & O_PATH) && (how.flags & ~kPathFlags)) return tl::unexpected(EINVAL);
  if (auto checked = CheckOpenFlags(how.flags); !checked) return checked;
  DecodeOpenFlags(how.flags, place);
  place.resolve = how.resolve;
  return {};
}

tl::expected<struct open_how, int> CopyOpenHow(std::span<const std::byte> bytes) {
  if (bytes.size() < kOpenHowBytes0) return tl::unexpected(EINVAL);
  if (bytes.size() > kPageBytes) return tl::unexpected(E2BIG);
  struct open_how how {};
  const size_t known = std::min(bytes.size(), sizeof how);
  if (std::any_of(bytes.begin() + static_cast<std::ptrdiff_t>(known), bytes.end(),
                  [](std::byte byte) { return byte != std::byte{0}; })) {
    return tl::unexpected(E2BIG);
  }
  std::memcpy(&how, bytes.data(), known);
  return how;
}

namespace {

class Reader {
 public:
  Reader(const CallInfo& call, const struct seccomp_notif& notification, PathBuffers& buffers)
      : call_(call), notification_(notification), buffers_(buffers) {}

  tl::expected<PathRequest, int> Run() {
    Place& first = request_.places[0];
    request_.count = 1;
    first.dirfd = Descriptor(call_.roles.dirfd);
    if (auto decoded = Decode(first, request_.places[1]); !decoded) {
      return tl::unexpected(decoded.error());
    }
    if (auto read = ReadPath(call_.roles.path, first, buffers_.first); !read) {
      return tl::unexpected(read.error());
    }
    if (request_.count == 2) {
      if (auto read = ReadPath(call_.roles.second_path, request_.places[1], buffers_.second);
          !read) {
        return tl::unexpected(read.error());
      }
    }
    return request_;
  }

 private:
  uint64_t Argument(int8_t index) const {
    return index == kAbsent ? 0 : notification_.data.args[index];
  }
  // The kernel takes the low 32 bits of an int.
  uint32_t Int(int8_t index) const { return static_cast<uint32_t>(Argument(index)); }
  int Descriptor(int8_t index) const {
    return index == kAbsent ? AT_FDCWD : static_cast<int>(Int(index));
  }

  tl::expected<void, int> Decode(Place& first, Place& second) {
    switch (call_.kind) {
      case CallKind::kOpen: {
        const uint64_t flags = Int(call_.roles.flags) & kOpenFlags;
        if (auto checked = CheckOpenFlags((flags & O_PATH) ? flags & kPathFlags : flags);
            !checked) {
          return checked;
        }
        DecodeOpenFlags(flags, first);
        return {};
      }
      case CallKind::kOpenHow:
        return DecodeStructure(first);
      case CallKind::kCreat:
        DecodeOpenFlags(O_WRONLY | O_CREAT | O_TRUNC, first);
        return {};
      case CallKind::kTruncate:
        first.deed = Deed::kUse;
        first.object = abi::kFsTruncate;
        return {};
      case CallKind::kMakeDirectory:
        Make(first, abi::kFsMakeDir);
        return {};
      case CallKind::kMakeNode: {
        const mode_t type = Int(call_.roles.mode) & S_IFMT;
        if (type == S_IFDIR) return tl::unexpected(EPERM);
        if (type == S_IFLNK) return tl::unexpected(EINVAL);
        Make(first, MakeRight(type));
        return {};
      }
      case CallKind::kMakeSymlink:
        Make(first, abi::kFsMakeSym);
        return {};
      case CallKind::kRemoveFile:
        Remove(first, false);
        return {};
      case CallKind::kRemoveDirectory:
        Remove(first, true);
        return {};
      case CallKind::kUnlink:
        if (Int(call_.roles.flags) & ~uint32_t{AT_REMOVEDIR}) return tl::unexpected(EINVAL);
        Remove(first, Int(call_.roles.flags) & AT_REMOVEDIR);
        return {};
      case CallKind::kRename:
        return DecodeRename(first, second);
      case CallKind::kLink:
        return DecodeLink(first, second);
      case CallKind::kExecute:
        return DecodeExecute(first);
      case CallKind::kConnect:
      case CallKind::kBind:
      case CallKind::kAsk:
        break;
    }
    return tl::unexpected(ENOSYS);  // no call of ours that names files
  }

  tl::expected<void, int> DecodeStructure(Place& place) {
    const uint64_t size = Argument(call_.roles.size);
    if (size < kOpenHowBytes0) return tl::unexpected(EINVAL);
    if (size > kPageBytes) return tl::unexpected(E2BIG);
    std::array<std::byte, kPageBytes> bytes;
    const std::span<std::byte> wanted(bytes.data(), size);
    if (auto read = ReadBytes(Thread(), Argument(call_.roles.structure), wanted); !read) {
      return tl::unexpected(ErrnoOf(read.error()));
    }
    const auto how = CopyOpenHow(wanted);
    if (!how) return tl::unexpected(how.error());
    return DecodeOpenHow(*how, place);
  }

  static void Make(Place& place, Rights right) {
    place.deed = Deed::kMake;
    place.follow = false;
    place.make = right;
  }
  static void Remove(Place& place, bool directory) {
    place.deed = directory ? Deed::kRemoveDirectory : Deed::kRemoveFile;
    place.follow = false;
  }

  tl::expected<void, int> DecodeRename(Place& first, Place& second) {
    const uint32_t flags = Int(call_.roles.flags);
    constexpr uint32_t kKnown = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
    if (flags & ~kKnown) return tl::unexpected(EINVAL);
    if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) {
      return tl::unexpected(EINVAL);
    }
    AddSecond(second);
    first.follow = second.follow = false;
    const bool swap = flags & RENAME_EXCHANGE;
    first.deed = swap ? Deed::kSwap : Deed::kMoveAway;
    second.deed = swap ? Deed::kSwap : Deed::kMoveHere;
    return {};
  }

  tl::expected<void, int> DecodeLink(Place& first, Place& second) {
    const uint32_t flags = Int(call_.roles.flags);
    if (flags & ~uint32_t{AT_SYMLINK_FOLLOW | AT_EMPTY_PATH}) return tl::unexpected(EINVAL);
    AddSecond(second);
    first.follow = flags & AT_SYMLINK_FOLLOW;
    first.empty_is_dirfd = flags & AT_EMPTY_PATH;
    first.deed = Deed::kLinkFrom;
    second.follow = false;
    second.deed = Deed::kLinkTo;
    return {};
  }

  tl::expected<void, int> DecodeExecute(Place& place) {
    const uint32_t flags = Int(call_.roles.flags);
    if (flags & ~static_cast<uint32_t>(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | kExecveCheck)) {
      return tl::unexpected(EINVAL);
    }
    place.follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
    place.empty_is_dirfd = flags & AT_EMPTY_PATH;
    place.deed = Deed::kUse;
    place.object = abi::kFsExecute | abi::kFsReadFile;
    return {};
  }

  void AddSecond(Place& second) {
    request_.count = 2;
    second.dirfd = Descriptor(call_.roles.second_dirfd);
  }

  tl::expected<void, int> ReadPath(int8_t role, Place& place, std::span<char> buffer) const {
    const auto path = ReadString(Thread(), Argument(role), buffer);
    if (!path) return tl::unexpected(ErrnoOf(path.error()));
    if (path->empty() && !place.empty_is_dirfd) return tl::unexpected(ENOENT);
    place.path = *path;
    return {};
  }

  pid_t Thread() const { return static_cast<pid_t>(notification_.pid); }

  const CallInfo& call_;
  const struct seccomp_notif& notification_;
  PathBuffers& buffers_;
  PathRequest request_;
};

}  // namespace

tl::expected<PathRequest, int> ReadPathRequest(const CallInfo& call,
                                               const struct seccomp_notif& notification,
                                               PathBuffers& buffers) {
  return Reader(call, notification, buffers).Run();
}

Needed RightsAt(const Place& place, Found here, Found other, bool same_directory) {
  const Rights refer = same_directory ? 0 : Rights{abi::kFsRefer};
  switch (place.deed) {
    case Deed::kNothing:
      return {};
    case Deed::kUse:
      return here.exists() ? Needed{ForType(place.object, here.type), 0} : Needed{};
    case Deed::kUseOrMake:
      if (here.exists()) return {ForType(place.object, here.type), 0};
      // A file that is made by the call has nothing to truncate.
      return {ForType(place.object, S_IFREG) & ~Rights{abi::kFsTruncate}, place.make};
    case Deed::kUseNameless:
      return here.type == S_IFDIR ? Needed{place.object, 0} : Needed{};
    case Deed::kMake:
      return here.exists() ? Needed{} : Needed{place.object, place.make};
    case Deed::kRemoveFile:
      return here.exists() && here.type != S_IFDIR ? Needed{0, abi::kFsRemoveFile} : Needed{};
    case Deed::kRemoveDirectory:
      return here.type == S_IFDIR ? Needed{0, abi::kFsRemoveDir} : Needed{};
    case Deed::kMoveAway:
      return here.exists() ? Needed{0, RemoveRight(here.type) | refer} : Needed{};
    case Deed::kMoveHere:
      if (!other.exists()) return {};
      return {0, MakeRight(other.type) | refer | (here.exists() ? RemoveRight(here.type) : 0)};
    case Deed::kSwap:
      if (!here.exists() || !other.exists()) return {};
      return {0, RemoveRight(here.type) | MakeRight(other.type) | refer};
    case Deed::kLinkFrom:
      return here.exists() && here.type != S_IFDIR ? Needed{0, refer} : Needed{};
    case Deed::kLinkTo:
      if (!other.exists() || other.type == S_IFDIR || here.exists()) return {};
      return {0, MakeRight(other.type) | refer};
  }
  return {};
}

}  // namespace landgate::agent
