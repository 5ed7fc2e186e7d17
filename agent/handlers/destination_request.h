// What a system call asks of the network: an address, copied once and with the kernel's own limits.
//
// What kind of socket it is comes from the socket, never from the family bytes that the caller
// passed: an AF_INET address works on an AF_INET6 socket, and AF_UNSPEC is 0.0.0.0 for bind. In
// audit mode nothing is enforced by it; a decision that lets something pass must ask the same
// duplicated descriptor that it then acts on.
//
// DecodeAddress and ExactSize are pure. Thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_DESTINATION_REQUEST_H_
#define LANDGATE_AGENT_HANDLERS_DESTINATION_REQUEST_H_

#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "agent/handlers/calls.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/destination.h"
#include "policy/document.h"

namespace landgate::agent {

// An address as the caller gave it. The kernel takes at most 128 bytes.
struct RawAddress {
  std::array<std::byte, sizeof(struct sockaddr_storage)> bytes{};
  size_t size = 0;
  std::span<const std::byte> text() const { return {bytes.data(), size}; }
};

// `call` is of category network. An error is the errno that the kernel gives by itself: EINVAL for
// a length beyond 128 or below 0, EFAULT. Reads memory: Call::MaySlow first.
tl::expected<RawAddress, int> ReadAddress(const CallInfo& call,
                                          const struct seccomp_notif& notification);

struct SocketKind {
  int domain = 0;    // SO_DOMAIN
  int type = 0;      // SO_TYPE
  int protocol = 0;  // SO_PROTOCOL
};
// Of descriptor `fd` of that thread, through a duplicate that is closed again at once: the caller
// must still wait for its answer. Linux 5.6; of a thread with a table of its own: 6.9. EPERM: this
// process may not trace the caller. ENOTSOCK, EBADF as the caller would get them.
Result<SocketKind> KindOfSocket(pid_t thread, int fd);

struct DestinationRequest {
  policy::Operation operation = policy::Operation::kConnect;
  policy::Endpoint endpoint;  // of a UNIX path as the caller gave it, not yet resolved
};
// Nothing to decide (nothing): AF_UNSPEC in connect, an unnamed UNIX address (autobind), a family
// that policies don't speak of, and libc's probe of address families (connect of a UDP socket to
// loopback, port 65535, which sends nothing). An error: as the kernel refuses it.
tl::expected<std::optional<DestinationRequest>, int> DecodeAddress(policy::Operation operation,
                                                                   const SocketKind& socket,
                                                                   std::span<const std::byte> raw);

// "tcp://10.0.0.7:443", "udp://[::1]:53", "unix:/run/x.sock", "unix:@name".
std::string DescribeEndpoint(const policy::Endpoint& endpoint);
// "net.connect_tcp", … : Landlock's words where it has them.
std::string_view NetworkRightName(policy::Operation operation, policy::Transport transport);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_DESTINATION_REQUEST_H_
