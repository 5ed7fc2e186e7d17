#include "sandbox/masks_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "base/paths.h"
#include "base/syscalls.h"
#include "sandbox/path_floor.h"
#include "sandbox/resolve.h"

namespace landgate::sandbox {
namespace {

constexpr uint64_t kMaskFlags =
    abi::kMountAttrRdonly | abi::kMountAttrNosuid | abi::kMountAttrNodev | abi::kMountAttrNoexec;
constexpr int kAttempts = 8;
constexpr size_t kMaxTableBytes = size_t{64} << 20;

bool IsMask(MountStepKind kind) {
  return kind == MountStepKind::kMaskFile || kind == MountStepKind::kMaskEmpty ||
         kind == MountStepKind::kMaskDir;
}
bool IsRestriction(MountStepKind kind) { return IsMask(kind) || kind == MountStepKind::kRestrict; }

uint64_t FlagsOf(const MountStep& step) {
  return (step.read_only ? abi::kMountAttrRdonly : 0) | (step.noexec ? abi::kMountAttrNoexec : 0) |
         (step.nodev ? abi::kMountAttrNodev : 0);
}

bool IsMissing(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP;
}

Status Attach(BorrowedFd mount, uint64_t flags, bool recursive, BorrowedFd target) {
  if (Status set = MountSetattr(mount, flags, 0, MS_PRIVATE, recursive); !set) return set;
  return MoveMountOnto(mount, target);
}

Result<UniqueFd> CloneNull() {
  const UniqueFd device(open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!device.valid()) return SystemError("/dev/null", errno);
  struct stat st;
  if (fstat(device.get(), &st) < 0) return SystemError("/dev/null", errno);
  if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
    return Refuse("/dev/null is not the null device");
  }
  return CloneTree(device, "", false);
}

// A file can only be cloned out of what is attached in our own namespace (until Linux 6.15): in a
// private copy of the one we are in, where we are left.
Result<UniqueFd> CloneEmptyFile() {
  Result<UniqueFd> tree = NewTmpfs("mode=0755");
  if (!tree) return Forward(tree);
  const UniqueFd file(openat(tree->get(), "empty", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file.valid()) return SystemError("an empty file", errno);
  if (fchmod(file.get(), 0444) < 0) return SystemError("an empty file", errno);
  if (unshare(CLONE_NEWNS) < 0) return SystemError("a private mount namespace", errno);
  const UniqueFd top(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top.valid()) return SystemError("/", errno);
  if (Status alone = MountSetattr(top, 0, 0, MS_PRIVATE, true); !alone) return Forward(alone);
  if (Status attached = MoveMountOnto(*tree, top); !attached) return Forward(attached);
  return CloneTree(*tree, "empty", false);
}

// What is at a path, and through which mount it is seen.
struct Here {
  UniqueFd fd;
  Object object;
};

}  // namespace

MaskSources MaskSources::Prepare(bool empty_file) {
  MaskSources sources;
  if (Result<UniqueFd> null = CloneNull()) sources.null_ = std::move(*null);
  if (Result<UniqueFd> tree = NewTmpfs("mode=0555")) sources.empty_directory_ = std::move(*tree);
  if (empty_file && sources.null_.valid()) {
    if (Result<UniqueFd> file = CloneEmptyFile()) sources.empty_file_ = std::move(*file);
  }
  return sources;
}

std::vector<uint64_t> MountsAt(const MountTable& table, const std::vector<MountStep>& steps,
                               const std::string& prefix) {
  std::unordered_map<std::string_view, uint64_t> at;
  for (const Mount& mount : table.mounts()) {
    std::string_view point = mount.point;
    if (!prefix.empty()) {
      if (!IsBeneath(point, prefix)) continue;
      point.remove_prefix(prefix.size());
    }
    at[point] = mount.id;  // what was mounted later stands on top
  }
  std::vector<uint64_t> ids;
  ids.reserve(steps.size());
  for (const MountStep& step : steps) {
    const auto found = at.find(step.path);
    ids.push_back(found == at.end() ? 0 : found->second);
  }
  return ids;
}

Result<EnteredRoot> OpenEnteredRoot(BorrowedFd proc_self, const std::vector<WatchedStep>& steps,
                                    const std::string& before_pivot) {
  const UniqueFd file(openat(proc_self.get(), "mountinfo", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return SystemError("mountinfo", errno);
  Result<std::string> text = ReadAll(file, kMaxTableBytes);
  if (!text) return Forward(text);
  Result<MountTable> table = ParseMountInfo(*text);
  if (!table) return Forward(table);
  // A mount of ours tells by its place whether the runtime has pivoted.
  std::string prefix;
  for (const WatchedStep& watched : steps) {
    const Mount* const mount = watched.mount != 0 ? table->Find(watched.mount) : nullptr;
    if (!mount) continue;
    if (mount->point == watched.step.path) break;
    if (before_pivot.size() > 1 && mount->point == before_pivot + watched.step.path) {
      prefix = before_pivot;
      break;
    }
  }
  UniqueFd fd(open(prefix.empty() ? "/" : prefix.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return SystemError("the container's root", errno);
  return EnteredRoot{std::move(fd), std::move(prefix), std::move(*table)};
}

class Restorer {
 public:
  Restorer(const std::vector<WatchedStep>& steps, const std::vector<WatchedName>& names,
           const EnteredRoot& root, BorrowedFd container, MaskSources sources)
      : steps_(steps),
        names_(names),
        root_(root),
        container_(container),
        sources_(std::move(sources)) {}

  RestoreOutcome Run() {
    outcome_.steps.resize(steps_.size());
    for (size_t i = 0; i < steps_.size(); ++i) {
      // Lost with its mask alone.
      if (steps_[i].step.kind == MountStepKind::kBindBack) Set(i, StepState::kStands);
    }
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (IsRestriction(steps_[i].step.kind)) RestoreTree(i);
    }
    std::vector<size_t> pins;
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i].step.kind == MountStepKind::kPin) pins.push_back(i);
    }
    std::sort(pins.begin(), pins.end(), [this](size_t one, size_t other) {
      return Depth(steps_[one].step.path) > Depth(steps_[other].step.path);
    });
    for (const size_t pin : pins) RestorePin(pin);
    for (const WatchedName& name : names_) Follow(name);
    Conclude();
    return std::move(outcome_);
  }

 private:
  // --- what is there ----------------------------------------------------------------------------

  Result<Here> Look(const std::string& path) const {
    Result<UniqueFd> fd = ContainerRoot(root_.fd).Open(path, O_PATH);
    if (!fd) return Forward(fd);
    Result<Object> object = DescribeFd(*fd, path);
    if (!object) return Forward(object);
    return Here{std::move(*fd), std::move(*object)};
  }

  bool IsNew(uint64_t mount) const { return root_.table.Find(mount) == nullptr; }

  bool IsPoint(uint64_t id, const std::string& path) const {
    const Mount* const mount = root_.table.Find(id);
    return mount && mount->point == root_.prefix + path;
  }

  // Whether the mount through which the path is seen is the step's: the one that was seen there, or
  // one that was made just now. Where none was seen ever: one that looks like it.
  bool Stands(const WatchedStep& watched, const Here& here) const {
    const uint64_t id = here.object.mount_id;
    if (IsNew(id)) return IsRootOfMount(here.fd);
    if (watched.mount != 0) return id == watched.mount && IsPoint(id, watched.step.path);
    if (!IsPoint(id, watched.step.path)) return false;
    if (!IsMask(watched.step.kind)) return true;
    struct stat st;
    if (fstat(here.fd.get(), &st) < 0) return false;
    if (S_ISCHR(st.st_mode)) return st.st_rdev == makedev(1, 3);
    const Mount* const mount = root_.table.Find(id);
    return mount && mount->type == "tmpfs" && (S_ISDIR(st.st_mode) || st.st_size == 0);
  }

  static bool IsRootOfMount(BorrowedFd fd) {
    struct statx stx;
    return statx(fd.get(), "", AT_EMPTY_PATH, STATX_INO, &stx) == 0 &&
           (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  }

  // --- one step ---------------------------------------------------------------------------------

  void Set(size_t index, StepState state, std::string problem = "") {
    outcome_.steps[index].state = state;
    outcome_.steps[index].problem = std::move(problem);
  }
  void Set(size_t index, const Status& status) {
    if (status) return Set(index, StepState::kRestored);
    // Replaced once more between the look and the mount: as good as missing, and looked at again.
    const bool gone = IsMissing(status.error().error_number);
    Set(index, gone ? StepState::kMissing : StepState::kFailed, status.error().message);
  }

  // What is to be masked; nothing: the state has been set.
  std::optional<Here> Lost(size_t index) {
    Result<Here> here = Look(steps_[index].step.path);
    if (!here) {
      Set(index, Failure(here.error()));
      return std::nullopt;
    }
    if (Stands(steps_[index], *here)) {
      Set(index, StepState::kStands);
      return std::nullopt;
    }
    if (here->object.IsSymlink()) {
      Set(index, StepState::kMissing, "a symlink stands there");
      return std::nullopt;
    }
    return std::move(*here);
  }

  // Whoever saves a file again and again replaces it while it is looked at. False: looking at it
  // once more is worth it.
  bool Settled(size_t index, const Status& placed) {
    Set(index, placed);
    return placed || !IsMissing(placed.error().error_number);
  }

  void RestorePin(size_t index) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const std::optional<Here> here = Lost(index);
      if (!here) return;
      if (!here->object.IsDirectory()) {
        return Set(index, StepState::kMissing, "no directory stands there");
      }
      if (Settled(index, Place(steps_[index].step, *here, {}))) return;
    }
  }

  void RestoreTree(size_t index) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (TryTree(index)) return;
    }
  }

  // A mask or restriction, with what is bound back into it: cloned before the mask hides it.
  bool TryTree(size_t index) {
    const std::optional<Here> here = Lost(index);
    if (!here) return true;
    std::map<size_t, Here> sources;
    std::vector<MountStep> back;
    for (size_t i = index + 1; i < steps_.size() && Within(i, index); ++i) {
      if (steps_[i].step.kind != MountStepKind::kBindBack) continue;
      Result<Here> source = Look(steps_[i].step.path);
      if (!source || source->object.IsSymlink()) {
        Set(i, StepState::kMissing, "nothing to bind back");
        continue;
      }
      Result<UniqueFd> clone = CloneTree(source->fd, "", true);
      if (!clone) {
        Set(i, StepState::kFailed, clone.error().message);
        continue;
      }
      MountStep step = steps_[i].step;
      step.directory = source->object.IsDirectory();
      back.push_back(std::move(step));
      source->fd = std::move(*clone);
      sources.emplace(i, std::move(*source));
    }
    const Status placed = Place(steps_[index].step, *here, back);
    if (!Settled(index, placed)) return false;
    if (!placed) return true;
    for (auto& [i, source] : sources) {
      Result<Here> target = Look(steps_[i].step.path);
      if (!target || !IsNew(target->object.mount_id)) {
        Set(i, StepState::kFailed, "the place to bind it back to is not there");
        continue;
      }
      Set(i, Attach(source.fd, FlagsOf(steps_[i].step), true, target->fd));
    }
    return true;
  }

  bool Within(size_t index, size_t tree) const {
    return IsBeneath(steps_[index].step.path, steps_[tree].step.path);
  }

  // Whatever the object is now.
  Status Place(const MountStep& step, const Here& here, const std::vector<MountStep>& back) {
    const Mount* const around = root_.table.Find(here.object.mount_id);
    if (around && around->shared) {
      return Refuse("its mount propagates to the host (shared), and so would the mask");
    }
    if (!IsMask(step.kind)) {
      Result<UniqueFd> clone = CloneTree(here.fd, "", true);
      if (!clone) return Forward(clone);
      return Attach(*clone, FlagsOf(step), true, here.fd);
    }
    if (here.object.IsDirectory()) {
      const bool inside = std::any_of(back.begin(), back.end(), [&](const MountStep& bound) {
        return IsBeneath(bound.path, step.path);
      });
      if (inside) return PlaceSkeleton(step.path, back, here.fd);
      return PlaceSource(sources_.empty_directory_, &Restorer::EmptyDirectory, here.fd);
    }
    if (step.kind == MountStepKind::kMaskEmpty) {
      return PlaceSource(sources_.empty_file_, &Restorer::EmptyFile, here.fd);
    }
    return PlaceSource(sources_.null_, &Restorer::Null, here.fd);
  }

  // --- sources ----------------------------------------------------------------------------------

  // The first of a kind comes from the host; once it stands, all others are clones of it.
  Status PlaceSource(UniqueFd& source, Result<UniqueFd> (Restorer::*make)(), BorrowedFd target) {
    if (placed_.contains(&source)) {
      Result<UniqueFd> clone = CloneTree(source, "", false);
      if (!clone) return Forward(clone);
      return MoveMountOnto(*clone, target);
    }
    if (!source.valid()) {
      Result<UniqueFd> made = (this->*make)();
      if (!made) return Forward(made);
      source = std::move(*made);
    }
    if (Status attached = Attach(source, kMaskFlags, false, target); !attached) return attached;
    placed_.insert(&source);
    return {};
  }

  Result<UniqueFd> EmptyDirectory() { return NewTmpfs("mode=0555"); }

  // The container's own: whatever it is, nodev keeps it from being opened. Without one an empty
  // file stands in.
  Result<UniqueFd> Null() {
    Result<UniqueFd> device =
        Openat2(root_.fd, "dev/null", O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    struct stat st;
    if (device && fstat(device->get(), &st) == 0 && S_ISCHR(st.st_mode)) {
      return CloneTree(*device, "", false);
    }
    return EmptyFile();
  }

  Result<UniqueFd> EmptyFile() {
    Result<UniqueFd> file = CloneEmptyFile();
    if (setns(container_.get(), CLONE_NEWNS) < 0) {
      return SystemError("going back to the container's mount namespace", errno);
    }
    return file;
  }

  static Status PlaceSkeleton(const std::string& base, const std::vector<MountStep>& back,
                              BorrowedFd target) {
    Result<UniqueFd> tree = NewTmpfs("mode=0755");
    if (!tree) return Forward(tree);
    std::string bound;  // what lies beneath a bind-back has its own names
    for (const MountStep& step : back) {
      if (!bound.empty() && IsBeneath(step.path, bound)) continue;
      bound = step.path;
      if (Status made = MakeNames(*tree, step.path.substr(base.size() + 1), step.directory);
          !made) {
        return made;
      }
    }
    return Attach(*tree, kMaskFlags, false, target);
  }

  static Status MakeNames(BorrowedFd tree, const std::string& path, bool directory) {
    for (size_t slash = 0;; ++slash) {
      slash = path.find('/', slash);
      const std::string name = path.substr(0, slash);
      const bool last = slash == std::string::npos;
      if (last && !directory) {
        const UniqueFd file(
            openat(tree.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
        if (!file.valid()) return SystemError("a name in a mask: " + name, errno);
        return {};
      }
      if (mkdirat(tree.get(), name.c_str(), 0755) < 0 && errno != EEXIST) {
        return SystemError("a name in a mask: " + name, errno);
      }
      if (last) return {};
    }
  }

  // --- names that lead elsewhere now ------------------------------------------------------------

  void Follow(const WatchedName& name) {
    outcome_.leads.emplace_back();
    const Result<std::optional<Object>> object = ContainerRoot(root_.fd).Resolve(name.path);
    if (!object || !*object) return;
    const std::string& path = (*object)->path;
    outcome_.leads.back() = path;
    if (path == "/" || IsKernelPath(path) || IsWatched(path)) return;
    Result<Here> here = Look(path);
    if (!here || here->object.IsSymlink()) return;
    // Beneath another mask there is nothing left to take.
    if (IsNew(here->object.mount_id) || IsMaskMount(here->object.mount_id)) return;
    if (!Place(Like(name.like, path, here->object), *here, {})) return;
    outcome_.added.push_back({Like(name.like, path, here->object), 0});
    PinBetween(name.like, path);
  }

  static MountStep Like(const MountStep& like, const std::string& path, const Object& object) {
    MountStep step = like;
    step.path = path;
    step.object = object.id;
    step.directory = object.IsDirectory();
    return step;
  }

  bool IsWatched(const std::string& path) const {
    const auto has = [&path](const WatchedStep& watched) { return watched.step.path == path; };
    return std::any_of(steps_.begin(), steps_.end(), has) ||
           std::any_of(outcome_.added.begin(), outcome_.added.end(), has);
  }

  bool IsMaskMount(uint64_t mount) const {
    return std::any_of(steps_.begin(), steps_.end(), [mount](const WatchedStep& watched) {
      return watched.mount == mount && IsMask(watched.step.kind);
    });
  }

  // Above what both paths have in common the pins of the first one hold.
  void PinBetween(const MountStep& like, const std::string& path) {
    for (std::string at(Parent(path)); at != "/" && !IsBeneath(like.path, at);
         at = std::string(Parent(at))) {
      Result<Here> here = Look(at);
      if (!here || !here->object.IsDirectory() || IsRootOfMount(here->fd)) return;
      MountStep pin;
      pin.kind = MountStepKind::kPin;
      pin.path = at;
      pin.object = here->object.id;
      pin.directory = true;
      pin.because = like.because;
      if (!Place(pin, *here, {})) return;
      outcome_.added.push_back({std::move(pin), 0});
    }
  }

  // --- the end ----------------------------------------------------------------------------------

  // Pins take what they cover along under other mount ids.
  void Conclude() {
    const auto standing = [this](const std::string& path) -> uint64_t {
      const Result<Here> here = Look(path);
      return here && IsRootOfMount(here->fd) ? here->object.mount_id : 0;
    };
    for (size_t i = 0; i < steps_.size(); ++i) {
      StepOutcome& step = outcome_.steps[i];
      if (step.state == StepState::kMissing) continue;
      step.mount = standing(steps_[i].step.path);
    }
    for (WatchedStep& added : outcome_.added) added.mount = standing(added.step.path);
  }

  const std::vector<WatchedStep>& steps_;
  const std::vector<WatchedName>& names_;
  const EnteredRoot& root_;
  const BorrowedFd container_;
  MaskSources sources_;
  std::set<const UniqueFd*> placed_;  // sources that stand somewhere
  RestoreOutcome outcome_;
};

RestoreOutcome RestoreMounts(const std::vector<WatchedStep>& steps,
                             const std::vector<WatchedName>& names, const EnteredRoot& root,
                             BorrowedFd container, MaskSources sources) {
  const mode_t before = umask(0);
  RestoreOutcome outcome = Restorer(steps, names, root, container, std::move(sources)).Run();
  umask(before);
  return outcome;
}

}  // namespace landgate::sandbox
