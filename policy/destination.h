// Destinations as the policy writes them:
//   [tcp://|udp://|icmp://]host[:port[,port|lo-hi…]]     host = name, IP, CIDR, *, [v6] or [v6]/len
//   unix:/path   unix:@name   unix:*      (any UNIX socket)
// No scheme is TCP. v4-mapped v6 addresses become v4. Pure; thread-safe.
#ifndef LANDGATE_POLICY_DESTINATION_H_
#define LANDGATE_POLICY_DESTINATION_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/document.h"

namespace landgate::policy {

// Port 0 in bind stands for an ephemeral port. Ports that are written include it only where it is
// among them ("*:0"), and so does an address without ports; `*` alone is anything.
Result<Destination> ParseDestination(std::string_view text);
// What the text alone can't tell: connect to port 0 and bind of icmp mean nothing.
Status CheckDestinationFor(Operation operation, const Destination& destination);

// A concrete destination of one call. Decisions fold v4-mapped addresses themselves.
struct Endpoint {
  Transport transport = Transport::kTcp;
  IpPrefix address;  // length 32 or 128; for kUnix unused
  uint16_t port = 0;
  std::string unix_name;  // path as resolved, or abstract name
  bool abstract = false;
};
// "10.1.2.3:443", "udp://[::1]:53", "unix:/run/x.sock", "unix:@x": exactly one address, one port.
Result<Endpoint> ParseEndpoint(std::string_view text);

// ::ffff:0:0/96+n is the IPv4 network of length n; anything else stays what it is.
IpPrefix FoldMapped(const IpPrefix& prefix);
bool PrefixCovers(const IpPrefix& prefix, const IpPrefix& address);
bool PortsCover(const std::vector<PortRange>& ports, uint16_t port);  // empty: every port

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DESTINATION_H_
