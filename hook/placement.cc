#include "hook/placement.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>

#include "base/files.h"
#include "base/syscalls.h"

namespace landgate::hook {

Result<UniqueFd> OpenRoot(const ContainerNamespaces& container, const std::string& path) {
  Result<UniqueFd> root = Openat2(container.root, path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
                                  RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!root) return Context("the container's root " + path, root);
  return root;
}

Result<UniqueFd> ClonePlan(const ContainerNamespaces& container, RecordFiles& files) {
  Result<UniqueFd> clone = CloneFile(container, files.plan_path());
  if (!clone) return Context("plan", clone);
  const uint64_t flags =
      abi::kMountAttrRdonly | abi::kMountAttrNosuid | abi::kMountAttrNodev | abi::kMountAttrNoexec;
  if (Status ok = MountSetattr(*clone, flags, 0, MS_PRIVATE, false); !ok) return Forward(ok);
  return clone;
}

Result<sandbox::Floor> CompileFor(const Prepared& prepared, const ContainerNamespaces& container,
                                  BorrowedFd root) {
  sandbox::CompileInput input;
  input.policies = prepared.policies;
  input.landlock_abi = LandlockAbi();
  input.own_network_namespace = container.own_network_namespace;
  input.own_pid_namespace = container.own_pid_namespace;
  input.closed_again = prepared.patched.opened_syscalls;
  input.closed_errno = prepared.patched.profile_errno;
  return sandbox::Compile(input, root);
}

Status WritePlan(const sandbox::Plan& plan, RecordFiles& files) {
  const std::string bytes = sandbox::EncodePlan(plan);
  if (bytes.size() > sandbox::kMaxPlanBytes) {
    return Refuse("the plan of this container is larger than " +
                  std::to_string(sandbox::kMaxPlanBytes) + " bytes; use fewer rules");
  }
  if (Status ok = WriteAll(files.plan(), bytes); !ok) return Context("plan", ok);
  return {};
}

}  // namespace landgate::hook
