#include "sandbox/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <deque>
#include <utility>
#include <vector>

#include "base/paths.h"
#include "base/syscalls.h"

namespace landgate::sandbox {
namespace {

constexpr uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

bool IsMissing(int error_number) { return error_number == ENOENT || error_number == ENOTDIR; }

// openat2 takes "" for nothing at all, and the root itself is ".".
const char* Relative(const std::string& path) { return path == "/" ? "." : path.c_str() + 1; }

// A walk that mirrors what the kernel does under RESOLVE_IN_ROOT, to learn the names on the way.
class Walk {
 public:
  Walk(BorrowedFd root, const std::string& path) : root_(root) { Prepend(path); }

  // The path without symlinks; nothing where something is missing.
  Result<std::optional<std::string>> Run() {
    while (!left_.empty()) {
      const std::string name = std::move(left_.front());
      left_.pop_front();
      if (name == "..") {
        if (!names_.empty()) {
          names_.pop_back();
          directories_.pop_back();
        }
        continue;
      }
      const UniqueFd next(openat(Here().get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!next.valid()) {
        if (IsMissing(errno)) return std::optional<std::string>();
        return SystemError(Text() + "/" + name, errno);
      }
      struct stat st;
      if (fstat(next.get(), &st) < 0) return SystemError(Text() + "/" + name, errno);
      if (S_ISLNK(st.st_mode)) {
        if (Status followed = Follow(next, name); !followed) return Forward(followed);
        continue;
      }
      names_.push_back(name);
      directories_.push_back(UniqueFd(fcntl(next.get(), F_DUPFD_CLOEXEC, 0)));
      if (!directories_.back().valid()) return SystemError(Text(), errno);
    }
    return std::optional<std::string>(names_.empty() ? "/" : Text());
  }

 private:
  BorrowedFd Here() const { return directories_.empty() ? root_ : BorrowedFd(directories_.back()); }

  std::string Text() const {
    std::string text;
    for (const std::string& name : names_) text += "/" + name;
    return text;
  }

  void Prepend(std::string_view path) {
    const std::vector<std::string_view> parts = Components(path);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (*part != ".") left_.emplace_front(*part);
    }
  }

  Status Follow(BorrowedFd link, const std::string& name) {
    const std::string place = Text() + "/" + name;
    if (++symlinks_ > kMaxSymlinks) {
      return Refuse(place + ": more than 40 symlinks on the way to a rule's path");
    }
    struct statfs fs;
    if (fstatfs(link.get(), &fs) < 0) return SystemError(place, errno);
    if (fs.f_type == PROC_SUPER_MAGIC) {
      return Refuse(place +
                    ": a symlink of /proc leads elsewhere for every process that reads it; "
                    "name the object itself");
    }
    char target[PATH_MAX];
    const ssize_t length = readlinkat(link.get(), "", target, sizeof target);
    if (length < 0) return SystemError(place, errno);
    const std::string_view text(target, static_cast<size_t>(length));
    if (text.starts_with('/')) {
      names_.clear();
      directories_.clear();
    }
    Prepend(text);
    return {};
  }

  BorrowedFd root_;
  std::deque<std::string> left_;
  std::vector<std::string> names_;
  std::vector<UniqueFd> directories_;
  int symlinks_ = 0;
};

}  // namespace

bool Object::IsDirectory() const { return S_ISDIR(mode); }
bool Object::IsSymlink() const { return S_ISLNK(mode); }

ObjectType Object::Type() const {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return ObjectType::kDirectory;
    case S_IFCHR:
    case S_IFBLK:
      return ObjectType::kDevice;
    case S_IFIFO:
      return ObjectType::kFifo;
    case S_IFSOCK:
      return ObjectType::kSocket;
    default:
      return ObjectType::kRegular;
  }
}

Result<Object> DescribeFd(BorrowedFd fd, const std::string& path) {
  struct statx stx;
  if (statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
            STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO | STATX_MNT_ID, &stx) < 0) {
    return SystemError(path, errno);
  }
  if ((stx.stx_mask & STATX_MNT_ID) == 0) {
    return Impossible(path + ": this kernel does not tell mounts apart (statx: Linux 5.8)");
  }
  Object object;
  object.path = path;
  object.id = {stx.stx_dev_major, stx.stx_dev_minor, stx.stx_ino};
  object.mount_id = stx.stx_mnt_id;
  object.mode = stx.stx_mode;
  object.links = stx.stx_nlink;
  return object;
}

Result<UniqueFd> ContainerRoot::Open(const std::string& path, int flags) const {
  return Openat2(root_, Relative(path), static_cast<uint64_t>(O_CLOEXEC | O_NOFOLLOW | flags), 0,
                 kInRoot | RESOLVE_NO_SYMLINKS);
}

Result<std::optional<Object>> ContainerRoot::Lookup(const std::string& path) {
  if (const auto found = known_.find(path); found != known_.end()) return found->second;
  // O_PATH | O_NOFOLLOW opens a symlink in the last place even under RESOLVE_NO_SYMLINKS.
  Result<UniqueFd> fd = Open(path, O_PATH);
  if (!fd) {
    const int error_number = fd.error().error_number;
    if (!IsMissing(error_number) && error_number != ELOOP) return Forward(fd);
    known_[path] = std::nullopt;
    return std::optional<Object>();
  }
  Result<Object> object = DescribeFd(*fd, path);
  if (!object) return Forward(object);
  known_[path] = *object;
  return std::optional<Object>(std::move(*object));
}

Result<std::optional<Object>> ContainerRoot::Resolve(const std::string& path) {
  // Nearly every path has no symlink in it: one call, and the text is the path as written.
  Result<UniqueFd> plain = Open(path, O_PATH);
  if (plain) {
    Result<Object> object = DescribeFd(*plain, path);
    if (!object) return Forward(object);
    if (!object->IsSymlink()) {
      known_[path] = *object;  // exactly what Lookup would find
      return std::optional<Object>(std::move(*object));
    }
  } else if (IsMissing(plain.error().error_number)) {
    return std::optional<Object>();
  } else if (plain.error().error_number != ELOOP) {
    return Forward(plain);
  }

  Result<std::optional<std::string>> text = Walk(root_, path).Run();
  if (!text) return Context(path, text);
  if (!*text) return std::optional<Object>();
  Result<UniqueFd> walked = Open(**text, O_PATH);
  if (!walked) return Forward(walked);
  Result<UniqueFd> kernels =
      Openat2(root_, Relative(path), static_cast<uint64_t>(O_PATH | O_CLOEXEC), 0, kInRoot);
  if (!kernels) return Forward(kernels);
  Result<Object> ours = DescribeFd(*walked, **text);
  if (!ours) return Forward(ours);
  Result<Object> theirs = DescribeFd(*kernels, path);
  if (!theirs) return Forward(theirs);
  if (ours->id != theirs->id || ours->mount_id != theirs->mount_id) {
    return Refuse(path + ": changed while it was resolved; start the container again");
  }
  Result<UniqueFd> last = Openat2(
      root_, Relative(path), static_cast<uint64_t>(O_PATH | O_NOFOLLOW | O_CLOEXEC), 0, kInRoot);
  if (!last) return Forward(last);
  Result<Object> link = DescribeFd(*last, path);
  if (!link) return Forward(link);
  ours->by_symlink = link->IsSymlink();
  return std::optional<Object>(std::move(*ours));
}

}  // namespace landgate::sandbox
