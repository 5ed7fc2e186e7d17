#include "agent/handlers/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <utility>

#include "agent/handlers/caller.h"
#include "base/paths.h"
#include "base/syscalls.h"
#include "sandbox/resolve.h"

namespace landgate::agent {
namespace {

constexpr int kMaxSymlinks = sandbox::kMaxSymlinks;
constexpr size_t kMaxComponents = PATH_MAX;  // what symlinks can add up to is bounded by this
constexpr ino_t kProcRootInode = 1;          // PROC_ROOT_INO

tl::expected<Anchor, int> Describe(UniqueFd fd) {
  struct statx stx;
  if (statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID,
            &stx) < 0) {
    return tl::unexpected(errno);
  }
  Anchor anchor;
  anchor.fd = std::move(fd);
  anchor.mount_id = stx.stx_mnt_id;
  anchor.object = {stx.stx_dev_major, stx.stx_dev_minor, stx.stx_ino};
  anchor.type = stx.stx_mode & S_IFMT;
  return anchor;
}

bool Same(const Anchor& one, const Anchor& other) {
  return one.mount_id == other.mount_id && one.object == other.object;
}

tl::expected<Anchor, int> OpenProc(pid_t thread, const char* what, int missing) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/%s", thread, what);  // fits
  UniqueFd fd(open(path, O_PATH | O_CLOEXEC));
  if (!fd.valid()) return tl::unexpected(errno == ENOENT ? missing : errno);
  return Describe(std::move(fd));
}

// Walks one path. Holds the directory it stands in; forgets how it came there.
class Walk {
 public:
  explicit Walk(const Journey& journey) : journey_(journey) {}

  tl::expected<Arrival, int> Run() {
    const std::string_view path = journey_.path;
    if (path.empty()) {
      if (!journey_.empty_is_start || !journey_.start) return tl::unexpected(ENOENT);
      return ArriveAt(*journey_.start);
    }
    if (path.size() >= PATH_MAX) return tl::unexpected(ENAMETOOLONG);
    if (path.front() == '/' && (journey_.resolve & RESOLVE_BENEATH)) return tl::unexpected(EXDEV);
    root_ = (journey_.resolve & RESOLVE_IN_ROOT) && journey_.start ? journey_.start : journey_.root;
    const Anchor* begin = path.front() == '/' ? root_ : journey_.start;
    if (!root_ || !begin) return tl::unexpected(EBADF);
    if (auto stood = StandIn(*begin); !stood) return tl::unexpected(stood.error());
    must_be_directory_ = path.back() == '/' || path.ends_with("/.");
    Push(path);
    SkipKnown();
    while (!left_.empty()) {
      if (auto stepped = Step(); !stepped) return tl::unexpected(stepped.error());
      if (arrived_) return std::move(*arrived_);
    }
    return ArriveAt(here_);
  }

 private:
  using Done = tl::expected<void, int>;

  Done StandIn(const Anchor& directory) {
    UniqueFd fd(fcntl(directory.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd.valid()) return tl::unexpected(errno);
    here_ = Anchor{std::move(fd), directory.mount_id, directory.object, directory.type};
    return {};
  }

  // In front of what is left. "." and empty components go.
  void Push(std::string_view path) {
    const std::vector<std::string_view> parts = Components(path);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (*part != "." && !part->empty()) left_.emplace_front(*part);
    }
  }

  // All components but the last in one call, where no symlink and no ".." is among them.
  void SkipKnown() {
    if (left_.size() < 3) return;
    std::string prefix;
    for (size_t i = 0; i + 1 < left_.size(); ++i) {
      if (left_[i] == "..") return;
      if (!prefix.empty()) prefix += '/';
      prefix += left_[i];
    }
    Result<UniqueFd> fd =
        Openat2(here_.fd, prefix.c_str(), static_cast<uint64_t>(O_PATH | O_DIRECTORY | O_CLOEXEC),
                0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH);
    if (!fd) return;  // step by step, then, which also finds the reason
    auto described = Describe(std::move(*fd));
    if (!described) return;
    here_ = std::move(*described);
    left_.erase(left_.begin(), left_.end() - 1);
  }

  Done Step() {
    if (here_.type != S_IFDIR) return tl::unexpected(ENOTDIR);
    if (left_.size() > kMaxComponents) return tl::unexpected(ENAMETOOLONG);
    const std::string name = std::move(left_.front());
    left_.pop_front();
    const bool last = left_.empty();
    if (name == "..") return Ascend();
    UniqueFd next(openat(here_.fd.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) {
      if (errno != ENOENT || !last) return tl::unexpected(errno);
      if (const auto self = ProcSelf(name)) {
        Push(*self);
        return {};
      }
      return ArriveAtMissing(name);
    }
    auto found = Describe(std::move(next));
    if (!found) return tl::unexpected(found.error());
    if (found->type == S_IFLNK) {
      if (!last || journey_.follow || must_be_directory_) return Follow(*found, name);
      return ArriveAtName(name, *found);
    }
    if (last) return ArriveAtName(name, *found);
    here_ = std::move(*found);
    return {};
  }

  Done Ascend() {
    if (Same(here_, *root_)) return {};
    if ((journey_.resolve & RESOLVE_BENEATH) && journey_.start && Same(here_, *journey_.start)) {
      return tl::unexpected(EXDEV);
    }
    UniqueFd up(openat(here_.fd.get(), "..", O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!up.valid()) return tl::unexpected(errno);
    auto described = Describe(std::move(up));
    if (!described) return tl::unexpected(described.error());
    here_ = std::move(*described);
    return {};
  }

  bool InProc() const {
    struct statfs fs;
    return fstatfs(here_.fd.get(), &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
  }

  // /proc/self and /proc/thread-self are answered for whoever looks. The container's procfs does
  // not know us, and says that there is no such file.
  std::optional<std::string> ProcSelf(const std::string& name) {
    if ((name != "self" && name != "thread-self") || here_.object.inode != kProcRootInode ||
        !InProc()) {
      return std::nullopt;
    }
    const std::optional<Caller> caller = IdentifyCaller(journey_.thread);
    if (!caller) return std::nullopt;
    const std::string process = std::to_string(caller->nspid);
    if (name == "self") return process;
    return process + "/task/" + std::to_string(caller->nstid);
  }

  Done Follow(const Anchor& link, const std::string& name) {
    if (journey_.resolve & RESOLVE_NO_SYMLINKS) return tl::unexpected(ELOOP);
    if (++symlinks_ > kMaxSymlinks) return tl::unexpected(ELOOP);
    if (const auto self = ProcSelf(name)) {
      Push(*self);
      return {};
    }
    if (InProc() && here_.object.inode != kProcRootInode) return FollowMagic(name);
    char target[PATH_MAX];
    const ssize_t length = readlinkat(link.fd.get(), "", target, sizeof target);
    if (length < 0) return tl::unexpected(errno);
    if (length == 0) return tl::unexpected(ENOENT);
    const std::string_view text(target, static_cast<size_t>(length));
    if (text.front() == '/') {
      if (journey_.resolve & RESOLVE_BENEATH) return tl::unexpected(EXDEV);
      if (auto stood = StandIn(*root_); !stood) return stood;
    }
    if (left_.empty() && text.back() == '/') must_be_directory_ = true;
    Push(text);
    return {};
  }

  // fd/N, cwd, root, exe: a jump to an object, whatever the link's text says.
  Done FollowMagic(const std::string& name) {
    if (journey_.resolve & (RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
      return tl::unexpected(ELOOP);
    }
    UniqueFd target(openat(here_.fd.get(), name.c_str(), O_PATH | O_CLOEXEC));
    if (!target.valid()) return tl::unexpected(errno);
    auto described = Describe(std::move(target));
    if (!described) return tl::unexpected(described.error());
    here_ = std::move(*described);
    return {};
  }

  // --- the end ----------------------------------------------------------------------------------

  std::string Text(BorrowedFd fd) const { return NameOf(fd, journey_.root_text); }

  Arrival AtName(const std::string& name) const {
    Arrival arrival;
    arrival.directory = here_.object;
    arrival.directory_mount = here_.mount_id;
    const std::string directory = Text(here_.fd);
    if (!directory.empty()) arrival.name = Join(directory, name);
    return arrival;
  }

  Done ArriveAtMissing(const std::string& name) {
    arrived_ = AtName(name);
    return {};
  }

  Done ArriveAtName(const std::string& name, const Anchor& found) {
    if (must_be_directory_ && found.type != S_IFDIR) return tl::unexpected(ENOTDIR);
    arrived_ = AtName(name);
    arrived_->type = found.type;
    arrived_->object = Text(found.fd);
    return {};
  }

  tl::expected<Arrival, int> ArriveAt(const Anchor& object) const {
    Arrival arrival;
    arrival.type = object.type;
    arrival.object = Text(object.fd);
    return arrival;
  }

  const Journey& journey_;
  const Anchor* root_ = nullptr;
  Anchor here_;
  std::deque<std::string> left_;
  bool must_be_directory_ = false;
  int symlinks_ = 0;
  std::optional<Arrival> arrived_;
};

}  // namespace

tl::expected<Anchor, int> OpenRootOf(pid_t thread) { return OpenProc(thread, "root", ESRCH); }

tl::expected<Anchor, int> OpenDirectoryOf(pid_t thread, int dirfd) {
  if (dirfd == AT_FDCWD) return OpenProc(thread, "cwd", ESRCH);
  if (dirfd < 0) return tl::unexpected(EBADF);
  char name[32];
  (void)snprintf(name, sizeof name, "fd/%d", dirfd);
  return OpenProc(thread, name, EBADF);
}

tl::expected<Arrival, int> Reach(const Journey& journey) { return Walk(journey).Run(); }

bool IsCallersError(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EXDEV:
    case ENAMETOOLONG:
    case EBADF:
    case EINVAL:
    case EFAULT:
      return true;
    default:
      return false;
  }
}

std::string NameOf(BorrowedFd fd, std::string_view root_text) {
  char path[32];
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd.get());
  char target[PATH_MAX];
  const ssize_t length = readlink(path, target, sizeof target);
  if (length <= 0 || static_cast<size_t>(length) == sizeof target) return "";
  std::string_view text(target, static_cast<size_t>(length));
  if (text.front() != '/') return "";  // pipe:[…], socket:[…]
  constexpr std::string_view kDeleted = " (deleted)";
  if (text.ends_with(kDeleted)) {
    struct stat st;
    if (fstat(fd.get(), &st) == 0 && st.st_nlink == 0) {
      // memfds and nameless files have never had another name than this one.
      if (text.starts_with("/memfd:")) return "";
      text.remove_suffix(kDeleted.size());
    }
  }
  if (root_text.size() > 1 && IsAtOrBeneath(text, root_text)) {
    text.remove_prefix(root_text.size());
    if (text.empty()) text = "/";
  }
  return std::string(text);
}

std::optional<std::string> RootText(pid_t thread) {
  const auto root = OpenRootOf(thread);
  if (!root) return std::nullopt;
  std::string text = NameOf(root->fd, "/");
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace landgate::agent
