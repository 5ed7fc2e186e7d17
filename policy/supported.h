// What this build enforces, and what a user must know before relying on a policy. One place: to
// lift a refusal, take its line out of supported.cc. Pure.
#ifndef LANDGATE_POLICY_SUPPORTED_H_
#define LANDGATE_POLICY_SUPPORTED_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "policy/document.h"

namespace landgate::policy {

enum class Severity { kWarning, kRefusal };

struct Finding {
  Severity severity = Severity::kWarning;
  Origin origin;
  std::string message;  // what, and the way out
};

// Everything about a merged policy that can be said without a container: keys this build does not
// enforce (refusals, "not supported in this build: …"), combinations that can't work (ask execute,
// finer static denies, landlock off with a paths section …) and consequences a user must know
// (warnings: symlinks on the way, second names, memfd, metadata …).
std::vector<Finding> Examine(const Policy& policy);

// The first refusal as an error, "FILE: /pointer: message".
Status CheckSupported(const Policy& policy);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_SUPPORTED_H_
