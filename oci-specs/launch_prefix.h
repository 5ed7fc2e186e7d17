// What config.json's `process` and the process document of `exec` have in common: args with the
// launcher in front and capabilities reduced. Pure.
#ifndef LANDGATE_OCI_SPECS_LAUNCH_PREFIX_H_
#define LANDGATE_OCI_SPECS_LAUNCH_PREFIX_H_

#include <string_view>

#include "base/capability_names.h"
#include "base/result.h"
#include "oci-specs/json_text.h"

namespace landgate::oci {

inline constexpr std::string_view kLauncherPath = "/dev/lg";
inline constexpr std::string_view kPlanPath = "/dev/lg.plan";

// True for args ["/dev/lg", VERB, PROGRAM, …].
bool HasLauncher(const JsonNode& process, std::string_view verb);

// Puts "/dev/lg", VERB in front of args where they do not stand there. `pointer` is the place of
// `process` in its document. Refused: no args, an empty list, strings with NUL.
Status PutLauncherInFront(JsonText& document, JsonNode& process, std::string_view pointer,
                          std::string_view verb);

// Every set of process.capabilities ∩ keep. Names that `keep` can't spell exactly are dropped.
Status ReduceCapabilities(JsonText& document, JsonNode& process, std::string_view pointer,
                          CapabilitySet keep);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_LAUNCH_PREFIX_H_
