// What the kernel alone can hold of a `network` section: Landlock TCP ports for any address, and
// the families, types and protocols of socket(2). Everything else needs an agent, and is reported
// as such rule by rule. Pure.
#ifndef LANDGATE_POLICY_NETWORK_FLOOR_H_
#define LANDGATE_POLICY_NETWORK_FLOOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "policy/document.h"

namespace landgate::policy {

// More port rules than this are refused (a Landlock port rule is one port; 10,000 take 30 ms).
inline constexpr size_t kMaxPortRules = 8192;

struct NetworkFloor {
  bool restricts = false;       // a network section is present
  bool handle_connect = false;  // false: every TCP destination is allowed ("*")
  bool handle_bind = false;
  std::vector<uint16_t> connect_ports;  // sorted, unique
  std::vector<uint16_t> bind_ports;     // 0 stands for an ephemeral port
  bool allow_listen = false;  // listen(2) on an unbound socket takes an ephemeral port: bind "*:0"
  bool allow_unix = false;    // a "unix:*" connect rule: AF_UNIX sockets may be made
  bool allow_mptcp = false;
  // Rules (or parts of them) that the kernel can't hold, with the reason. Not empty: the policy
  // needs an agent.
  struct NeedsAgent {
    Origin origin;
    std::string why;  // "address 10.0.0.0/8: Landlock knows ports, not addresses"
  };
  std::vector<NeedsAgent> needs_agent;
};

// Exact for what it covers: with needs_agent empty, for every TCP port and any address, allowed
// here ⇔ DecideNetwork allows. (connect to port 0 is no destination: with every port from 1 allowed
// it is left to the kernel, which refuses it.) bind rules that name ports but not "*:0" need an
// agent, because listen(2) binds by itself; without any bind rule listen(2) is denied in the filter
// for every family. UNIX sockets as such are all or nothing here: with "unix:*" they can be made,
// and what they are bound to is not restricted. A rule that changes nothing, such as the denial of
// an address that nothing allows, is no reason to need an agent. Where needs_agent is not empty,
// the rest denies at least what the policy denies for TCP ports of any address, but for the rules
// listed.
NetworkFloor CompileNetworkFloor(const Policy& policy);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_NETWORK_FLOOR_H_
