// Which rule decides a destination. Pure, total, default-deny.
//
// Among the rules that name the operation and cover transport, address and port: `final` first,
// then the longest prefix (a name counts as the full length of the addresses it was pinned to, `*`
// as 0), then a named port over any port; tie: deny, ask, allow. No rule: deny with EACCES.
// UNIX: an exact name beats unix:*. connect(AF_UNSPEC) is not a destination and always allowed.
// bind to port 0 is covered by ports that include 0 and by `*` alone; a deny without ports covers
// it for its address, too. Reasons of a denial: kRule where a rule denies; kInsufficientAccess
// where an allow or ask rule covers the destination for the other operation only; else kNotCovered.
// Thread-safe.
#ifndef LANDGATE_POLICY_DECIDE_NETWORK_H_
#define LANDGATE_POLICY_DECIDE_NETWORK_H_

#include <map>
#include <string>
#include <vector>

#include "policy/decision.h"
#include "policy/destination.h"
#include "policy/document.h"

namespace landgate::policy {

// Names as pinned at start; empty where nothing was resolved.
using PinnedNames = std::map<std::string, std::vector<IpPrefix>>;

Decision DecideNetwork(const Policy& policy, Operation operation, const Endpoint& endpoint,
                       const PinnedNames& names);
// `connect` to a host name that is not pinned (for `explain`): rules by that very name, then `*`.
Decision DecideNetworkByName(const Policy& policy, Transport transport, const std::string& name,
                             uint16_t port);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DECIDE_NETWORK_H_
