// A bundle's config.json, patched in place.
#ifndef LANDGATE_HOOK_BUNDLE_H_
#define LANDGATE_HOOK_BUNDLE_H_

#include <string>

#include "base/result.h"
#include "hook/front_end.h"
#include "node/config.h"

namespace landgate::hook {

// The directory's absolute path without symlinks, as it identifies a container's bundle everywhere.
Result<std::string> ResolveBundle(const std::string& directory);

// Prepares BUNDLE/config.json and replaces it atomically where that changes it; mode and owner
// stay. `request.bundle` comes from ResolveBundle.
Result<Prepared> PatchBundle(const node::Config& config, const Request& request);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_BUNDLE_H_
