#include "policy/decision.h"

namespace landgate::policy {

std::string_view ReasonName(Reason reason) {
  switch (reason) {
    case Reason::kRule:
      return "rule";
    case Reason::kNotCovered:
      return "not_covered";
    case Reason::kInsufficientAccess:
      return "insufficient_access";
    case Reason::kProtected:
      return "protected";
    case Reason::kUnsupported:
      return "unsupported";
    case Reason::kMalformed:
      return "malformed";
  }
  return "malformed";
}

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllow:
      return "allow";
    case Verdict::kDeny:
      return "deny";
    case Verdict::kAsk:
      return "ask";
  }
  return "deny";
}

}  // namespace landgate::policy
