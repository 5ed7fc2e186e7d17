// The OCI runtime behind landgate-runtime.
#ifndef LANDGATE_HOOK_REAL_RUNTIME_H_
#define LANDGATE_HOOK_REAL_RUNTIME_H_

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/config.h"
#include "oci-specs/state.h"

namespace landgate::hook {

// config.json `runtime`, else LANDGATE_RUNTIME, else runc, else crun on PATH; the first that is not
// this very program. A path, or a name to be found on PATH.
Result<std::string> FindRealRuntime(const node::Config& config);

// Replaces this program; returns only on failure.
Status ExecRealRuntime(const std::string& path, const std::vector<std::string>& arguments);

// `RUNTIME [--root ROOT] state ID`. A runtime that fails is an error with its own words, also where
// it says that there is no such container: who asks decides about confinement.
Result<oci::State> QueryState(const std::string& path, const std::optional<std::string>& root,
                              const std::string& id);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_REAL_RUNTIME_H_
