#include "hook/pure_prestart.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string_view>

#include "base/syscalls.h"
#include "hook/over_mount.h"
#include "oci-specs/seccomp_profile.h"
#include "sandbox/filter.h"
#include "sandbox/object.h"
#include "sandbox/resolve.h"

namespace landgate::hook {
namespace {

constexpr std::string_view kWayOut =
    "; have the configuration patched instead (podman's precreate hook, `landgate-hook inject "
    "--bundle DIR`, or landgate-runtime)";

// The container's own /dev, in which files can be made that nobody else sees.
Result<UniqueFd> OpenDev(BorrowedFd root) {
  Result<UniqueFd> dev = Openat2(root, "dev", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                                 RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  if (!dev) return Context("/dev in the container", dev);
  struct statfs fs;
  struct statx st;
  if (fstatfs(dev->get(), &fs) < 0 ||
      statx(dev->get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0) {
    return SystemError("/dev in the container", errno);
  }
  if (fs.f_type != TMPFS_MAGIC || !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
    return Refuse("/dev in the container is no tmpfs of its own; mount one there");
  }
  return dev;
}

// As the owner of a directory: its file system may know no other user (EOVERFLOW), where it belongs
// to a user namespace.
class AsOwner {
 public:
  explicit AsOwner(BorrowedFd directory) {
    struct stat st;
    if (fstat(directory.get(), &st) < 0) return;
    (void)setfsgid(st.st_gid);  // where it does not work the file can't be made
    (void)setfsuid(st.st_uid);
  }
  ~AsOwner() {
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
  }
  AsOwner(const AsOwner&) = delete;
  AsOwner& operator=(const AsOwner&) = delete;
};

Result<UniqueFd> MakeInDev(BorrowedFd dev, const char* name) {
  const AsOwner owner(dev);
  UniqueFd file(
      openat(dev.get(), name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
  if (!file.valid()) return SystemError(std::string("/dev/") + name + " in the container", errno);
  return file;
}

// An empty file under a new name in /dev, and `mount` on it.
Status MountInDev(BorrowedFd dev, const char* name, BorrowedFd mount) {
  Result<UniqueFd> file = MakeInDev(dev, name);
  if (!file) return Forward(file);
  if (Status ok = MoveMountOnto(mount, *file); !ok) return Context(std::string("/dev/") + name, ok);
  return {};
}

// Denies under /proc and /sys, which a patched config.json has in maskedPaths and readonlyPaths.
Status AddKernelPaths(const sandbox::StaticFloor& floor, BorrowedFd root,
                      sandbox::MountSteps& steps) {
  sandbox::ContainerRoot container(root);
  const auto add = [&](const std::string& path, bool mask) -> Status {
    Result<std::optional<sandbox::Object>> object = container.Resolve(path);
    if (!object) return Context(path, object);
    if (!*object) return {};  // as runtimes do
    sandbox::MountStep step;
    step.path = (*object)->path;
    step.object = (*object)->id;
    step.directory = (*object)->IsDirectory();
    step.read_only = !mask;
    step.kind = !mask            ? sandbox::MountStepKind::kRestrict
                : step.directory ? sandbox::MountStepKind::kMaskDir
                                 : sandbox::MountStepKind::kMaskFile;
    steps.push_back(std::move(step));
    return {};
  };
  // Read-only first: a mask inside of such a tree goes on top.
  for (const std::string& path : floor.readonly_paths) {
    if (Status ok = add(path, false); !ok) return ok;
  }
  for (const std::string& path : floor.masked_paths) {
    if (Status ok = add(path, true); !ok) return ok;
  }
  return {};
}

struct Sources {
  UniqueFd launcher, plan, socket;  // detached mounts
};

// Cloned from the host's mount namespace.
Result<Sources> CloneSources(const node::Config& config, const ContainerNamespaces& container,
                             RecordFiles& files) {
  Sources sources;
  Result<UniqueFd> plan = ClonePlan(container, files);
  if (!plan) return Forward(plan);
  sources.plan = std::move(*plan);
  for (const auto& [path, into] : {std::pair(config.init_path, &sources.launcher),
                                   {files.launcher_socket_path(), &sources.socket}}) {
    Result<UniqueFd> clone = CloneFile(container, path);
    if (!clone) return Context(path, clone);
    if (Status ok = MountSetattr(*clone, abi::kMountAttrNosuid | abi::kMountAttrNodev, 0,
                                 MS_PRIVATE, false);
        !ok) {
      return Context(path, ok);
    }
    *into = std::move(*clone);
  }
  return sources;
}

Result<sandbox::Plan> WatchingPlan() {
  sandbox::Plan plan;
  Result<std::vector<uint8_t>> notify = sandbox::BuildNotifyFilter(oci::kAuditNotifications);
  if (!notify) return Forward(notify);
  plan.notify = std::move(*notify);
  return plan;
}

Entrypoint EntrypointOf(const oci::ConfigView& view) {
  return {view.args.front(), view.cwd, view.env};
}

Result<uint64_t> MountIdOf(BorrowedFd mount) {
  struct statx st;
  if (statx(mount.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0) {
    return SystemError("statx", errno);
  }
  return st.stx_mnt_id;
}

}  // namespace

Status CheckPure(const Prepared& prepared, const std::string& file) {
  const auto refuse = [&file](const std::string& why) {
    return Refuse(file + ": " + why + std::string(kWayOut));
  };
  if (prepared.view.args.empty()) return refuse("/process/args: there is no program");
  if (prepared.view.has_start_container_hooks) {
    return refuse(
        "/hooks/startContainer: they run when the launcher stands on the entrypoint, and could "
        "execute it");
  }
  if (!prepared.view.listener_path.empty()) {
    return refuse("/linux/seccomp/listenerPath: there is another seccomp listener");
  }
  if (!prepared.patched.opened_syscalls.empty()) {
    return refuse("/linux/seccomp: the profile denies the launcher " +
                  prepared.patched.opened_syscalls.front() + ", and nobody can open it any more");
  }
  for (const policy::Policy& policy : prepared.policies) {
    if (!policy.exec_sessions || *policy.exec_sessions == policy::ExecSessions::kUnconfined) {
      continue;
    }
    return refuse(
        "policy " + policy.name +
        ": /execSessions: exec sessions can't be confined or refused when prestart is all "
        "there is");
  }
  return {};
}

Result<Placed> StandIn(const node::Config& config, const Prepared& prepared,
                       const ContainerNamespaces& container, const std::string& root_path,
                       RecordFiles& files, Record& record) {
  const bool enforce = prepared.mode == oci::Mode::kEnforce;
  Placed placed;
  Result<sandbox::ObjectId> launcher = sandbox::IdentifyFile(config.init_path);
  if (!launcher) return Context(config.init_path, launcher);
  record.launcher = *launcher;
  if (Status ok = files.OpenPlan(); !ok) return Forward(ok);
  Result<sandbox::ObjectId> plan_file = sandbox::IdentifyFile(files.plan());
  if (!plan_file) return Forward(plan_file);
  record.plan = *plan_file;
  Result<UniqueFd> socket = files.ListenForLauncher();
  if (!socket) return Forward(socket);
  placed.launcher_socket = std::move(*socket);
  Result<Sources> sources = CloneSources(config, container, files);
  if (!sources) return Forward(sources);

  if (Status ok = EnterMountNamespace(container); !ok) return Forward(ok);
  Result<UniqueFd> root = OpenRoot(container, root_path);
  if (!root) return Forward(root);
  const Entrypoint entrypoint = EntrypointOf(prepared.view);
  if (Status ok = CheckCandidates(*root, entrypoint); !ok) return Forward(ok);
  Result<UniqueFd> dev = OpenDev(*root);
  if (!dev) return Forward(dev);
  sandbox::Plan plan;
  if (enforce) {
    Result<sandbox::Floor> floor = CompileFor(prepared, container, *root);
    if (!floor) return Forward(floor);
    if (Status ok = AddKernelPaths(prepared.floor, *root, floor->mounts); !ok) return Forward(ok);
    if (Status ok = sandbox::PlaceMounts(floor->mounts, container.mount, *root); !ok) {
      return Forward(ok);
    }
    placed.floor_json = sandbox::FloorJson(*floor);
    placed.mounts = std::move(floor->mounts);
    plan = std::move(floor->plan);
  } else {
    Result<sandbox::Plan> watching = WatchingPlan();
    if (!watching) return Forward(watching);
    plan = std::move(*watching);
  }
  plan.over_mounted = true;
  if (Status ok = WritePlan(plan, files); !ok) return Forward(ok);
  if (Status ok = MountInDev(*dev, "lg.plan", sources->plan); !ok) return Forward(ok);
  if (Status ok = MountInDev(*dev, "lg.sock", sources->socket); !ok) return Forward(ok);
  Result<uint64_t> socket_mount = MountIdOf(sources->socket);
  if (!socket_mount) return Forward(socket_mount);

  // Last: what runs in the entrypoint's place finds everything else.
  Result<std::vector<node::OverMount>> over_mounts =
      PlaceOverMounts(*root, entrypoint, sources->launcher);
  if (!over_mounts) return Forward(over_mounts);
  placed.over_mounts = std::move(*over_mounts);
  placed.over_mounts.push_back({std::string(sandbox::kAgentSocketPath), {}, *socket_mount});
  if (enforce) {
    fprintf(stderr,
            "landgate-hook: container %s was prepared by prestart alone: its exec sessions will "
            "not be confined\n",
            record.id.c_str());
    if (Status ok = files.Write("floor.json", placed.floor_json); !ok) return Forward(ok);
  }
  if (Status ok = files.Write("record.json", EncodeRecord(record)); !ok) return Forward(ok);
  return placed;
}

}  // namespace landgate::hook
