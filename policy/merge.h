// `extends`: one policy out of several documents. Pure; the documents come from `lookup`.
#ifndef LANDGATE_POLICY_MERGE_H_
#define LANDGATE_POLICY_MERGE_H_

#include <functional>
#include <string>

#include "base/result.h"
#include "policy/document.h"

namespace landgate::policy {

// Finds a policy by name; not yet merged.
using PolicyLookup = std::function<Result<Policy>(const std::string& name)>;

// Merges everything that `policy` extends, depth first and in order, then its own sections: lists
// are concatenated, `keep` intersects (absent = everything), the stricter of landlock,
// execSessions, onViolation wins, minAbi takes the maximum, scopes and denied syscalls unite.
// A cycle, and more than 32 documents, are errors that name the chain.
Result<Policy> ResolveExtends(const Policy& policy, const PolicyLookup& lookup);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_MERGE_H_
