// Process documents of `exec --process FILE`. Pure; thread-safe.
#ifndef LANDGATE_OCI_SPECS_PROCESS_H_
#define LANDGATE_OCI_SPECS_PROCESS_H_

#include <optional>
#include <string>
#include <string_view>

#include "base/capability_names.h"
#include "base/result.h"

namespace landgate::oci {

// Puts the launcher in front of `args` ({"/dev/lg", "exec", …}) and reduces `capabilities`;
// lossless and idempotent like PatchConfig.
Result<std::string> PatchProcess(std::string_view process_json, std::string_view file,
                                 std::optional<CapabilitySet> keep);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_PROCESS_H_
