#include "sandbox/masks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/paths.h"
#include "base/syscalls.h"
#include "sandbox/mount_table.h"
#include "sandbox/resolve.h"

namespace landgate::sandbox {
namespace {

constexpr uint64_t kMaskFlags =
    abi::kMountAttrRdonly | abi::kMountAttrNosuid | abi::kMountAttrNodev | abi::kMountAttrNoexec;

bool IsMask(const MountStep& step) {
  return step.kind == MountStepKind::kMaskFile || step.kind == MountStepKind::kMaskEmpty ||
         step.kind == MountStepKind::kMaskDir;
}
bool IsRestriction(const MountStep& step) {
  return IsMask(step) || step.kind == MountStepKind::kRestrict;
}

uint64_t FlagsOf(const MountStep& step) {
  return (step.read_only ? abi::kMountAttrRdonly : 0) | (step.noexec ? abi::kMountAttrNoexec : 0) |
         (step.nodev ? abi::kMountAttrNodev : 0);
}

std::string Place(const MountStep& step) {
  return step.because.empty() ? step.path : step.because + ": " + step.path;
}

// Names in a mask must not depend on the umask of who started the container.
class PlainUmask {
 public:
  PlainUmask() : before_(umask(0)) {}
  ~PlainUmask() { umask(before_); }
  PlainUmask(const PlainUmask&) = delete;
  PlainUmask& operator=(const PlainUmask&) = delete;

 private:
  mode_t before_;
};

// Every bind-back needs its clone held open from before the masks on.
void RaiseDescriptorLimit() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);  // with the old one, EMFILE refuses the container
}

class Placer {
 public:
  Placer(const MountSteps& steps, BorrowedFd container, BorrowedFd root)
      : steps_(steps), container_(container), root_(root) {}

  Status Run() {
    if (setns(container_.get(), CLONE_NEWNS) < 0) {
      return SystemError("entering the container's mount namespace", errno);
    }
    Result<MountTable> table = ReadMountTable();
    if (!table) return Forward(table);
    for (const Mount& mount : table->mounts()) {
      known_.insert(mount.id);
      if (mount.shared) shared_.insert(mount.id);
    }
    size_t group_end = 0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (i >= group_end && IsRestriction(steps_[i])) {
        group_end = EndOfTree(i);
        if (Status cloned = CloneBindBacks(i, group_end); !cloned) return cloned;
      }
      if (Status placed = Place(i); !placed) {
        return Context(sandbox::Place(steps_[i]), placed);
      }
    }
    return {};
  }

 private:
  size_t EndOfTree(size_t first) const {
    size_t end = first + 1;
    while (end < steps_.size() && IsBeneath(steps_[end].path, steps_[first].path)) ++end;
    return end;
  }

  // Before the first mount of a tree stands: afterwards the objects can't be reached, or only with
  // flags that must not be cleared.
  Status CloneBindBacks(size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) {
      const MountStep& step = steps_[i];
      if (step.kind != MountStepKind::kBindBack) continue;
      RaiseDescriptorLimit();
      Result<UniqueFd> target = OpenVerified(step);
      if (!target) return Context(sandbox::Place(step), target);
      Result<UniqueFd> clone = CloneTree(*target, "", true);
      if (!clone) return Context(sandbox::Place(step), clone);
      clones_[i] = std::move(*clone);
    }
    return {};
  }

  Status Place(size_t index) {
    const MountStep& step = steps_[index];
    if (step.kind == MountStepKind::kBindBack) return PlaceBindBack(index);
    Result<UniqueFd> target = OpenVerified(step);
    if (!target) return Forward(target);
    switch (step.kind) {
      case MountStepKind::kMaskFile:
        return PlaceSource(null_, &Placer::NullDevice, *target);
      case MountStepKind::kMaskEmpty:
        return PlaceSource(empty_file_, &Placer::EmptyFile, *target);
      case MountStepKind::kMaskDir:
        if (HasNamesInside(index)) return PlaceSkeleton(index, *target);
        return PlaceSource(empty_directory_, &Placer::EmptyDirectory, *target);
      case MountStepKind::kRestrict:
      case MountStepKind::kPin:
      case MountStepKind::kBindBack: {
        Result<UniqueFd> clone = CloneTree(*target, "", true);
        if (!clone) return Forward(clone);
        return Attach(*clone, FlagsOf(step), true, *target);
      }
    }
    return Refuse("a mount step of an unknown kind");
  }

  Status PlaceBindBack(size_t index) {
    const auto clone = clones_.find(index);
    if (clone == clones_.end()) return Refuse("bound back into nothing");
    Result<UniqueFd> target = OpenOurs(steps_[index]);
    if (!target) return Forward(target);
    Status attached = Attach(clone->second, FlagsOf(steps_[index]), true, *target);
    clones_.erase(clone);
    return attached;
  }

  // --- targets ---------------------------------------------------------------------------------

  Result<UniqueFd> OpenVerified(const MountStep& step) const {
    Result<UniqueFd> fd = root_.Open(step.path, O_PATH);
    if (!fd) return Forward(fd);
    Result<Object> object = DescribeFd(*fd, step.path);
    if (!object) return Forward(object);
    if (object->id != step.object || object->IsDirectory() != step.directory) {
      return Refuse(
          "another object than the one that the policy was compiled for; start the "
          "container again");
    }
    if (shared_.contains(object->mount_id)) {
      return Refuse(
          "its mount propagates to the host (shared), and so would what protects it; "
          "mount it rprivate or rslave");
    }
    return fd;
  }

  // The place of a bind-back: on one of our own mounts, which nobody else can have changed.
  Result<UniqueFd> OpenOurs(const MountStep& step) const {
    Result<UniqueFd> fd = root_.Open(step.path, O_PATH);
    if (!fd) return Forward(fd);
    Result<Object> object = DescribeFd(*fd, step.path);
    if (!object) return Forward(object);
    if (known_.contains(object->mount_id) || object->IsDirectory() != step.directory) {
      return Refuse("the place to bind it back to is not the one that was made for it");
    }
    return fd;
  }

  static Status Attach(BorrowedFd mount, uint64_t flags, bool recursive, BorrowedFd target) {
    if (Status set = MountSetattr(mount, flags, 0, MS_PRIVATE, recursive); !set) return set;
    return MoveMountOnto(mount, target);
  }

  // --- sources ---------------------------------------------------------------------------------

  // The first mount of a kind is made; all others are clones of it, flags and privacy included.
  Status PlaceSource(UniqueFd& first, Result<UniqueFd> (Placer::*make)(), BorrowedFd target) {
    if (first.valid()) {
      Result<UniqueFd> clone = CloneTree(first, "", false);
      if (!clone) return Forward(clone);
      return MoveMountOnto(*clone, target);
    }
    Result<UniqueFd> made = (this->*make)();
    if (!made) return Forward(made);
    if (Status attached = Attach(*made, kMaskFlags, false, target); !attached) return attached;
    first = std::move(*made);
    return {};
  }

  // The device of whoever made this namespace. nodev keeps it from being opened whatever it is.
  Result<UniqueFd> NullDevice() {
    const UniqueFd device(open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!device.valid()) return SystemError("/dev/null", errno);
    struct stat st;
    if (fstat(device.get(), &st) < 0) return SystemError("/dev/null", errno);
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
      return Refuse("/dev/null is not the null device");
    }
    return CloneTree(device, "", false);
  }

  Result<UniqueFd> EmptyDirectory() { return NewTmpfs("mode=0555"); }

  // A file can only be cloned out of a file system that is attached in our own namespace (until
  // Linux 6.15): a private copy of this one, which goes when we come back.
  Result<UniqueFd> EmptyFile() {
    Result<UniqueFd> tree = NewTmpfs("mode=0555");
    if (!tree) return Forward(tree);
    const UniqueFd file(
        openat(tree->get(), "empty", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (!file.valid()) return SystemError("an empty file", errno);
    if (unshare(CLONE_NEWNS) < 0) return SystemError("a private mount namespace", errno);
    Result<UniqueFd> clone = CloneFromAttached(*tree);
    if (setns(container_.get(), CLONE_NEWNS) < 0) {
      return SystemError("going back to the container's mount namespace", errno);
    }
    return clone;
  }

  static Result<UniqueFd> CloneFromAttached(BorrowedFd tree) {
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
      return SystemError("a private mount namespace", errno);
    }
    const UniqueFd top(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!top.valid()) return SystemError("/", errno);
    if (Status attached = MoveMountOnto(tree, top); !attached) return Forward(attached);
    return CloneTree(tree, "empty", false);
  }

  // --- masks that something is bound back into ---------------------------------------------------

  bool HasNamesInside(size_t index) const {
    for (size_t i = index + 1; i < steps_.size(); ++i) {
      if (!IsBeneath(steps_[i].path, steps_[index].path)) return false;
      if (steps_[i].kind == MountStepKind::kBindBack) return true;
    }
    return false;
  }

  Status PlaceSkeleton(size_t index, BorrowedFd target) {
    const std::string& base = steps_[index].path;
    Result<UniqueFd> tree = NewTmpfs("mode=0555");
    if (!tree) return Forward(tree);
    std::string bound;  // what lies beneath a bind-back has its own names
    for (size_t i = index + 1; i < steps_.size() && IsBeneath(steps_[i].path, base); ++i) {
      const MountStep& step = steps_[i];
      if (!bound.empty() && IsBeneath(step.path, bound)) continue;
      if (step.kind != MountStepKind::kBindBack) continue;
      bound = step.path;
      if (Status made = MakeNames(*tree, step.path.substr(base.size() + 1), step.directory);
          !made) {
        return made;
      }
    }
    return Attach(*tree, kMaskFlags, false, target);
  }

  static Status MakeNames(BorrowedFd tree, const std::string& path, bool directory) {
    size_t slash = 0;
    for (;;) {
      slash = path.find('/', slash);
      const std::string name = path.substr(0, slash);
      if (slash == std::string::npos && !directory) {
        const UniqueFd file(
            openat(tree.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
        if (!file.valid()) return SystemError("a name in a mask: " + name, errno);
        return {};
      }
      if (mkdirat(tree.get(), name.c_str(), 0555) < 0 && errno != EEXIST) {
        return SystemError("a name in a mask: " + name, errno);
      }
      if (slash == std::string::npos) return {};
      ++slash;
    }
  }

  const MountSteps& steps_;
  BorrowedFd container_;
  ContainerRoot root_;
  std::unordered_set<uint64_t> known_;   // mounts that were there before ours
  std::unordered_set<uint64_t> shared_;  // those of them that propagate
  std::map<size_t, UniqueFd> clones_;    // bind-backs not yet placed, by step
  UniqueFd null_, empty_file_, empty_directory_;
};

}  // namespace

Status PlaceMounts(const MountSteps& steps, BorrowedFd container, BorrowedFd root) {
  if (steps.empty()) {
    if (setns(container.get(), CLONE_NEWNS) < 0) {
      return SystemError("entering the container's mount namespace", errno);
    }
    return {};
  }
  const PlainUmask umask_of_masks;
  return Placer(steps, container, root).Run();
}

}  // namespace landgate::sandbox
