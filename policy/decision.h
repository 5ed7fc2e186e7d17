// What every decision of the project returns. Pure.
#ifndef LANDGATE_POLICY_DECISION_H_
#define LANDGATE_POLICY_DECISION_H_

#include <string>
#include <string_view>

namespace landgate::policy {

enum class Verdict { kAllow, kDeny, kAsk };

enum class Reason {
  kRule,                // a rule says so
  kNotCovered,          // no rule covers the object for any of the rights
  kInsufficientAccess,  // rules cover it, but not for every right
  kProtected,           // the node's configuration protects the path
  kUnsupported,         // the kind of object or call is not supported under a policy
  kMalformed,           // the request can't be decoded
};
std::string_view ReasonName(Reason reason);  // "rule", "not_covered", …
std::string_view VerdictName(Verdict verdict);

// Total: every field has a meaning for every verdict, and the default denies.
struct Decision {
  Verdict verdict = Verdict::kDeny;
  int error_number = 13;  // EACCES; what the workload sees; 0 for kAllow
  Reason reason = Reason::kNotCovered;
  std::string rule;  // JSON pointer of the deciding rule, "/paths/3"; empty where none decided
};

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DECISION_H_
