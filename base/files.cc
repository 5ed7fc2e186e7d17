#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/paths.h"

namespace landgate {
namespace {

constexpr uid_t kOverflowUid = 65534;

bool RootIsMapped() {
  // "INSIDE OUTSIDE LENGTH" per line; the initial namespace maps 0 to 0 for 2^32-1 ids.
  Result<std::string> map = ReadFile("/proc/self/uid_map", 1 << 16);
  if (!map) return true;
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned length = 0;
  // NOLINTNEXTLINE(cert-err34-c): the kernel's own text, whose numbers fit
  return sscanf(map->c_str(), "%u %u %u", &inside, &outside, &length) == 3 && outside == 0 &&
         length == 4294967295U;
}

bool IsTrustedOwner(uid_t uid, uid_t owner) {
  if (uid == 0 || uid == owner) return true;
  return uid == kOverflowUid && !RootIsMapped();
}

// What a path may lead through: as many links as the kernel follows.
constexpr int kMaxLinks = 40;

// Nobody but root and `owner` can exchange `child` in `directory`.
Status CheckDirectory(const std::string& directory, const std::string& child, uid_t child_owner,
                      uid_t owner) {
  struct stat st;
  if (lstat(directory.c_str(), &st) < 0) return SystemError(directory, errno);
  if (!IsTrustedOwner(st.st_uid, owner)) {
    return Refuse(directory + ": the directory belongs to uid " + std::to_string(st.st_uid) +
                  ", who could replace " + child + "; it must belong to root or to uid " +
                  std::to_string(owner));
  }
  const bool others_write = (st.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool sticky_and_ours = (st.st_mode & S_ISVTX) && IsTrustedOwner(child_owner, owner);
  if (others_write && !sticky_and_ours) {
    return Refuse(directory + ": others can write this directory and so replace " + child +
                  "; run: chmod go-w " + directory);
  }
  return {};
}

Result<std::string> ReadLink(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return SystemError(path, errno);
  target.resize(static_cast<size_t>(length));
  return target;
}

// Walks `path` as the kernel does, one component and one symlink after the other, and checks every
// directory on the way: those of the path as given, those it resolves to, and those of the links in
// between, which whoever owns such a link could turn elsewhere.
Status CheckWay(const std::string& path, uid_t owner) {
  std::string current = "/";
  std::string rest = path;
  if (!path.starts_with('/')) {
    const std::unique_ptr<char, void (*)(void*)> here(realpath(".", nullptr), free);
    if (!here) return SystemError("the current directory", errno);
    rest = std::string(here.get()) + "/" + path;
  }
  for (int links = 0; !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string name = rest.substr(0, slash);
    rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      current = std::string(Parent(current));
      continue;
    }
    const std::string child = Join(current, name);
    struct stat st;
    if (lstat(child.c_str(), &st) < 0) return SystemError(child, errno);
    if (Status checked = CheckDirectory(current, child, st.st_uid, owner); !checked) return checked;
    if (!S_ISLNK(st.st_mode)) {
      current = child;
      continue;
    }
    if (++links > kMaxLinks) return SystemError(path, ELOOP);
    Result<std::string> target = ReadLink(child);
    if (!target) return Forward(target);
    if (target->starts_with('/')) current = "/";
    rest = *target + "/" + rest;
  }
  return {};
}

}  // namespace

Result<std::string> ReadAll(BorrowedFd fd, size_t limit) {
  // One byte more than a file holds, so that its end shows without growing. Small otherwise:
  // pages that are not needed cost a start more than the read does.
  struct stat st;
  size_t size = 4096;
  if (fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
    size = static_cast<size_t>(st.st_size) + 1;
  }
  std::string bytes;
  size_t used = 0;
  while (true) {
    if (used == bytes.size()) bytes.resize(std::min(limit + 1, used ? used * 4 : size));
    const ssize_t count = read(fd.get(), bytes.data() + used, bytes.size() - used);
    if (count < 0) {
      if (errno == EINTR) continue;
      return SystemError("read", errno);
    }
    if (count == 0) break;
    used += static_cast<size_t>(count);
    if (used > limit) {
      return Failure(
          Error{"larger than " + std::to_string(limit) + " bytes", EFBIG, ExitStatus::kRefused});
    }
  }
  bytes.resize(used);
  return bytes;
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return SystemError(path, errno);
  struct stat st;
  if (fstat(fd.get(), &st) < 0) return SystemError(path, errno);
  if (!S_ISREG(st.st_mode)) return Refuse(path + ": not a regular file");
  Result<std::string> bytes = ReadAll(fd, limit);
  if (!bytes) return Context(path, bytes);
  return bytes;
}

Status WriteAll(BorrowedFd fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd.get(), bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return SystemError("write", errno);
    }
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Status WriteFileAtomically(const std::string& path, std::string_view bytes, mode_t mode) {
  std::string temporary = path + ".XXXXXX";
  const UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return SystemError(temporary, errno);
  Status done = WriteAll(fd, bytes);
  if (done && fchmod(fd.get(), mode) < 0) done = SystemError("fchmod", errno);
  if (done && rename(temporary.c_str(), path.c_str()) < 0) done = SystemError("rename", errno);
  if (!done) {
    (void)unlink(temporary.c_str());  // the first error is the one to report
    return Context(path, done);
  }
  return {};
}

Result<std::string> ReadTrustedFile(const std::string& path, uid_t owner, size_t limit) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return SystemError(path, errno);
  struct stat st;
  if (fstat(fd.get(), &st) < 0) return SystemError(path, errno);
  if (!S_ISREG(st.st_mode)) return Refuse(path + ": not a regular file");
  if (!IsTrustedOwner(st.st_uid, owner)) {
    return Refuse(path + ": belongs to uid " + std::to_string(st.st_uid) +
                  "; it must belong to root or to uid " + std::to_string(owner) +
                  ", who runs this program");
  }
  if (st.st_mode & (S_IWGRP | S_IWOTH)) {
    return Refuse(path + ": others can write this file; run: chmod go-w " + path);
  }
  if (Status ok = CheckWay(path, owner); !ok) return Forward(ok);
  Result<std::string> bytes = ReadAll(fd, limit);
  if (!bytes) return Context(path, bytes);
  return bytes;
}

Status CheckTrustedDirectory(const std::string& path, uid_t owner) {
  struct stat st;
  if (stat(path.c_str(), &st) < 0) return SystemError(path, errno);
  if (!S_ISDIR(st.st_mode)) return Refuse(path + ": not a directory");
  if (!IsTrustedOwner(st.st_uid, owner)) {
    return Refuse(path + ": belongs to uid " + std::to_string(st.st_uid) +
                  "; it must belong to root or to uid " + std::to_string(owner));
  }
  if (st.st_mode & (S_IWGRP | S_IWOTH)) {
    return Refuse(path + ": others can write this directory; run: chmod go-w " + path);
  }
  return CheckWay(path, owner);
}

Status MakeDirectories(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (mkdir(prefix.c_str(), mode) < 0 && errno != EEXIST) return SystemError(prefix, errno);
    if (slash == std::string::npos) return {};
  }
}

bool InRootlessUserNamespace() { return !RootIsMapped(); }

}  // namespace landgate
