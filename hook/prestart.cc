#include "hook/prestart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/files.h"
#include "base/paths.h"
#include "base/syscalls.h"
#include "hook/agent_contact.h"
#include "hook/container_entry.h"
#include "hook/exec_refusal.h"
#include "hook/placement.h"
#include "hook/pure_prestart.h"
#include "hook/record.h"
#include "hook/record_files.h"
#include "oci-specs/state.h"
#include "sandbox/compile.h"
#include "sandbox/masks.h"
#include "sandbox/plan.h"

namespace landgate::hook {
namespace {

// Where launcher and plan stand in the container, as the runtime mounted them.
struct MountedOurs {
  UniqueFd launcher;
  UniqueFd empty_plan;
};

Result<MountedOurs> FindOurs(BorrowedFd root, const sandbox::ObjectId& launcher,
                             const sandbox::ObjectId& plan_source) {
  Result<UniqueFd> launcher_fd = OpenMounted(root, "dev/lg", launcher, "/dev/lg");
  if (!launcher_fd) return Forward(launcher_fd);
  Result<UniqueFd> plan_fd = OpenMounted(root, "dev/lg.plan", plan_source, "/dev/lg.plan");
  if (!plan_fd) return Forward(plan_fd);
  MountedOurs ours{std::move(*launcher_fd), std::move(*plan_fd)};
  // crun sets the flags of its mounts only after the hooks; private, so that the plan, which is
  // mounted on top, can't reach the host through a shared mount.
  const uint64_t flags = abi::kMountAttrRdonly | abi::kMountAttrNosuid | abi::kMountAttrNodev;
  for (const UniqueFd* mount : {&ours.launcher, &ours.empty_plan}) {
    if (Status ok = MountSetattr(*mount, flags, 0, MS_PRIVATE, false); !ok) return Forward(ok);
  }
  return ours;
}

std::string RootPath(const std::string& bundle, const std::string& root_path) {
  return root_path.starts_with('/') ? root_path : bundle + "/" + root_path;
}

std::vector<std::string> NamesOf(const std::vector<policy::Policy>& policies) {
  std::vector<std::string> names;
  for (const policy::Policy& policy : policies) names.push_back(policy.name);
  return names;
}

// config.json is as it must be, or the container does not start.
Status Verify(const node::Config& config, const Prepared& prepared, const std::string& file) {
  const bool with_agent = prepared.view.listener_path == config.agent_socket;
  if (prepared.mode == oci::Mode::kAudit ? !with_agent : !prepared.view.patched) {
    return Refuse(
        file +
        ": a policy is selected for this container but config.json is not prepared for it; "
        "use podman's precreate hook, `landgate-hook inject --bundle DIR`, or "
        "landgate-runtime");
  }
  if (prepared.listener == ListenerVariant::kAgent && !with_agent) {
    return Refuse(file + ": /linux/seccomp/listenerPath: must be the agent's, " +
                  config.agent_socket +
                  ": it was prepared before the configuration asked for an agent; create the "
                  "container again");
  }
  if (prepared.patched.changed) {
    return Refuse(
        file +
        ": is not what the container's policies require: they or the configuration changed "
        "since it was patched, or something of the patch was taken out; create the "
        "container again");
  }
  return {};
}

// With `inject` the socket is the bundle's. While the next container from the bundle starts
// somebody accepts there, and an exec session of the first would be let in. The lock is held until
// the record is written, so that two that start together see each other.
Result<UniqueFd> TakeBundle(const node::Config& config, const Record& record) {
  UniqueFd bundle(open(record.bundle.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!bundle.valid()) return SystemError(record.bundle, errno);
  int locked = 0;
  do {
    locked = flock(bundle.get(), LOCK_EX);
  } while (locked < 0 && errno == EINTR);
  if (locked < 0) return SystemError(record.bundle, errno);
  if (const auto other = FindByExecSocket(config.run_dir, record.exec_socket, record.id)) {
    return Refuse("container " + other->id + " runs from the same bundle " + record.bundle +
                  ", and its exec sessions could not be refused while this one starts; give each "
                  "a bundle, use landgate-runtime, or set execSessions to unconfined");
  }
  return bundle;
}

// In the container's mount namespace from here on.
Result<Placed> PlaceFloor(const Prepared& prepared, const ContainerNamespaces& container,
                          const std::string& root_path, const sandbox::ObjectId& plan_source,
                          BorrowedFd plan_clone, RecordFiles& files, Record& record) {
  if (Status ok = EnterMountNamespace(container); !ok) return Forward(ok);
  Result<UniqueFd> root = OpenRoot(container, root_path);
  if (!root) return Forward(root);
  Result<MountedOurs> ours = FindOurs(*root, record.launcher, plan_source);
  if (!ours) return Forward(ours);

  Result<sandbox::Floor> floor = CompileFor(prepared, container, *root);
  if (!floor) return Forward(floor);
  if (Status ok = WritePlan(floor->plan, files); !ok) return Forward(ok);
  if (Status ok = sandbox::PlaceMounts(floor->mounts, container.mount, *root); !ok) {
    return Forward(ok);
  }

  // Last: a launcher that finds a plan knows that everything else stands.
  if (Status ok = MoveMountOnto(plan_clone, ours->empty_plan); !ok) {
    return Context("/dev/lg.plan", ok);
  }
  Placed placed;
  placed.floor_json = sandbox::FloorJson(*floor);
  placed.mounts = std::move(floor->mounts);
  if (Status ok = files.Write("floor.json", placed.floor_json); !ok) return Forward(ok);
  if (Status ok = files.Write("record.json", EncodeRecord(record)); !ok) return Forward(ok);
  return placed;
}

// Everything that a floor takes, from the host's mount namespace into the container's.
Result<Placed> Confine(const node::Config& config, const Prepared& prepared,
                       const ContainerNamespaces& container, const std::string& root_path,
                       RecordFiles& files, Record& record) {
  Result<sandbox::ObjectId> launcher = IdentifyFile(config.init_path);
  if (!launcher) return Forward(launcher);
  record.launcher = *launcher;
  Result<sandbox::ObjectId> plan_source = IdentifyFile(config.plan_source);
  if (!plan_source) return Forward(plan_source);
  if (Status ok = files.OpenPlan(); !ok) return Forward(ok);
  Result<sandbox::ObjectId> plan = IdentifyFile(files.plan());
  if (!plan) return Forward(plan);
  record.plan = *plan;
  Result<UniqueFd> clone = ClonePlan(container, files);
  if (!clone) return Forward(clone);
  return PlaceFloor(prepared, container, root_path, *plan_source, *clone, files, record);
}

// Audit mode: the record is all that is left behind.
Result<Placed> Watch(RecordFiles& files, const Record& record) {
  if (Status ok = files.Write("record.json", EncodeRecord(record)); !ok) return Forward(ok);
  return Placed{};
}

Result<Placed> Place(const node::Config& config, const Prepared& prepared,
                     const ContainerNamespaces& container, const std::string& root_path,
                     RecordFiles& files, Record& record) {
  if (prepared.mode == oci::Mode::kAudit) {
    fprintf(stderr,
            "landgate-hook: container %s runs in audit mode: NOTHING is enforced, what its "
            "policies would deny is only written to the agent's audit log\n",
            record.id.c_str());
  }
  if (prepared.pure) return StandIn(config, prepared, container, root_path, files, record);
  if (prepared.mode == oci::Mode::kAudit) return Watch(files, record);
  return Confine(config, prepared, container, root_path, files, record);
}

}  // namespace

Status Prestart(const node::Config& config, Request request, std::string_view state_json) {
  Result<oci::State> state = oci::DecodeState(state_json, "state");
  if (!state) return Forward(state);
  const std::unique_ptr<char, void (*)(void*)> bundle(realpath(state->bundle.c_str(), nullptr),
                                                      free);
  if (!bundle) return SystemError("state: /bundle: " + state->bundle, errno);
  request.bundle = bundle.get();
  const std::string file = Join(request.bundle, "config.json");
  Result<std::string> text = ReadFile(file);
  if (!text) return Forward(text);
  if (request.front_end == FrontEnd::kPrecreate) request.bundle.clear();
  request.verify = true;

  Result<Prepared> prepared = Prepare(config, request, *text, file);
  if (!prepared) return Forward(prepared);
  if (prepared->policies.empty()) return {};
  if (prepared->pure) {
    // One of our front ends was here too: its own prestart hook does what is to be done.
    if (prepared->view.patched || prepared->view.listener_path == config.agent_socket) return {};
    if (Status ok = CheckPure(*prepared, file); !ok) return ok;
  } else if (Status ok = Verify(config, *prepared, file); !ok) {
    return ok;
  }

  Result<ContainerNamespaces> container = OpenNamespaces(state->pid);
  if (!container) return Forward(container);
  Result<AgentContact> agent = ContactAgent(config, *prepared, state->pid);
  if (!agent) return Forward(agent);
  Record record;
  record.id = state->id;
  record.bundle = bundle.get();
  record.pid = state->pid;
  Result<uint64_t> start_time = ProcessStartTime(state->pid);
  if (!start_time) return Forward(start_time);
  record.start_time = *start_time;
  record.policies = NamesOf(prepared->policies);
  record.mode = prepared->mode;
  record.exec_sessions =
      prepared->pure ? policy::ExecSessions::kUnconfined : prepared->floor.exec_sessions;
  record.listener = prepared->listener;
  record.exec_socket = prepared->exec_socket;
  if (agent->connection.valid()) record.agent_socket = config.agent_socket;
  record.keep = prepared->floor.keep;

  UniqueFd lock;
  const bool serves_refusal =
      prepared->listener == ListenerVariant::kRefusal && request.front_end == FrontEnd::kInject;
  if (serves_refusal) {
    Result<UniqueFd> taken = TakeBundle(config, record);
    if (!taken) return Forward(taken);
    lock = std::move(*taken);
  }
  RecordFiles files(config.run_dir, state->id);
  if (Status ok = files.Open(); !ok) return ok;
  if (serves_refusal) {
    // Here and not at the end, because the process is still in the host's mount namespace.
    if (Result<std::string> dir = MakeRunDirectory(config.run_dir, "exec"); !dir) {
      return Forward(dir);
    }
    if (Status ok = StartExecRefusal(prepared->exec_socket, kExecRefusalPatience); !ok) return ok;
  }
  const std::string root_path = RootPath(record.bundle, prepared->view.root_path);
  Result<Placed> placed = Place(config, *prepared, *container, root_path, files, record);
  if (!placed) return Forward(placed);
  if (agent->connection.valid()) {
    node::Registration registration = Describe(*prepared, request, record, root_path);
    registration.floor_json = std::move(placed->floor_json);
    registration.mounts = std::move(placed->mounts);
    registration.over_mounts = std::move(placed->over_mounts);
    Status ok = Register(config, *prepared, std::move(*agent), registration, container->mount,
                         placed->launcher_socket);
    if (!ok) return ok;
  }
  files.Complete();
  return {};
}

}  // namespace landgate::hook
