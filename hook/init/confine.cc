#include "hook/init/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>

#include "base/files.h"
#include "base/unique_fd.h"
#include "sandbox/capabilities.h"
#include "sandbox/filter_load.h"

namespace landgate::init {
namespace {

// Rule paths are opened while the process still has what the runtime gave it.
Result<std::vector<UniqueFd>> BuildLayers(const sandbox::Plan& plan, sandbox::Session session,
                                          std::vector<std::string>* skipped) {
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return SystemError("/", errno);
  std::vector<UniqueFd> layers;
  for (const sandbox::PlannedLayer& planned : plan.layers) {
    Result<UniqueFd> layer = sandbox::BuildLayer(planned, root, session, skipped);
    if (!layer) return Forward(layer);
    layers.push_back(std::move(*layer));
  }
  return layers;
}

}  // namespace

Result<sandbox::Plan> ReadPlan() {
  const Result<std::string> bytes =
      ReadFile(std::string(sandbox::kPlanPath), sandbox::kMaxPlanBytes);
  if (!bytes) return Context("no plan, so nothing would be confined; refusing", bytes.error());
  return sandbox::DecodePlan(*bytes);
}

Status Confine(const sandbox::Plan& plan, sandbox::Session session,
               std::vector<std::string>* skipped) {
  const Result<std::vector<UniqueFd>> layers = BuildLayers(plan, session, skipped);
  if (!layers) return Failure(layers.error());
  // Before the capabilities: with it a bounding set that can't be shrunk gives nothing any more.
  // A plan that restricts nothing (audit mode) leaves setuid programs what they are.
  const bool restricts = !plan.layers.empty() || plan.keep || !plan.filter.empty();
  if (restricts && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    return SystemError("no_new_privs", errno);
  }
  if (plan.keep) {
    if (Status reduced = sandbox::ReduceCapabilities(*plan.keep); !reduced) {
      return Context("capabilities", reduced);
    }
  }
  for (size_t i = 0; i < layers->size(); ++i) {
    if (Status bound = sandbox::RestrictSelf((*layers)[i]); !bound) {
      return Context("policy " + plan.layers[i].name, bound);
    }
  }
  return {};
}

Status CloseSyscalls(const sandbox::Plan& plan) {
  if (plan.filter.empty()) return {};
  if (Status loaded = sandbox::LoadFilter(plan.filter); !loaded) return Context("filter", loaded);
  return {};
}

}  // namespace landgate::init
