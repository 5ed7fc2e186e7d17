#include "agent/handlers/destination_request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "agent/handlers/caller.h"
#include "agent/notify/memory.h"
#include "base/syscalls.h"

namespace landgate::agent {
namespace {

using policy::Endpoint;
using policy::IpPrefix;
using policy::Operation;
using policy::Transport;

constexpr size_t kMinV6Bytes = 24;  // SIN6_LEN_RFC2133: without the scope
constexpr uint16_t kProbePort = 65535;
constexpr unsigned kPidfdThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9

template <class T>
T Copy(std::span<const std::byte> raw) {
  T value{};
  std::memcpy(&value, raw.data(), std::min(raw.size(), sizeof value));
  return value;
}

IpPrefix V4(const struct in_addr& address) {
  IpPrefix prefix;
  prefix.length = 32;
  std::memcpy(prefix.address.data(), &address, 4);
  return prefix;
}

IpPrefix V6(const struct in6_addr& address) {
  IpPrefix prefix;
  prefix.v6 = true;
  prefix.length = 128;
  std::memcpy(prefix.address.data(), &address, 16);
  return prefix;
}

std::optional<Transport> TransportOf(const SocketKind& socket) {
  switch (socket.type) {
    case SOCK_STREAM:
      return Transport::kTcp;  // MPTCP too
    case SOCK_DGRAM:
      return socket.protocol == IPPROTO_ICMP || socket.protocol == IPPROTO_ICMPV6 ? Transport::kIcmp
                                                                                  : Transport::kUdp;
    default:
      return std::nullopt;  // raw and others: socket(2) is where they are denied
  }
}

bool IsLoopback(const IpPrefix& address) {
  const IpPrefix folded = policy::FoldMapped(address);
  if (!folded.v6) return folded.address[0] == 127;
  return std::all_of(folded.address.begin(), folded.address.end() - 1,
                     [](uint8_t byte) { return byte == 0; }) &&
         folded.address[15] == 1;
}

tl::expected<std::optional<DestinationRequest>, int> DecodeUnix(Operation operation,
                                                                std::span<const std::byte> raw) {
  constexpr size_t kStart = offsetof(struct sockaddr_un, sun_path);
  if (raw.size() > sizeof(struct sockaddr_un)) return tl::unexpected(EINVAL);
  if (raw.size() <= kStart) {
    // bind without a name takes one by itself; there is nobody to connect to.
    if (operation == Operation::kConnect) return tl::unexpected(EINVAL);
    return std::optional<DestinationRequest>();
  }
  const std::string_view name(reinterpret_cast<const char*>(raw.data()) + kStart,
                              raw.size() - kStart);
  DestinationRequest request;
  request.operation = operation;
  request.endpoint.transport = Transport::kUnix;
  request.endpoint.abstract = name.front() == '\0';
  // An abstract name is all its bytes; a path ends at its NUL or at the end.
  request.endpoint.unix_name =
      request.endpoint.abstract ? name.substr(1) : name.substr(0, name.find('\0'));
  return std::optional<DestinationRequest>(std::move(request));
}

}  // namespace

tl::expected<RawAddress, int> ReadAddress(const CallInfo& call,
                                          const struct seccomp_notif& notification) {
  RawAddress address;
  const int size = static_cast<int>(notification.data.args[call.roles.size]);
  if (size < 0 || static_cast<size_t>(size) > address.bytes.size()) return tl::unexpected(EINVAL);
  address.size = static_cast<size_t>(size);
  if (size == 0) return address;
  const std::span<std::byte> wanted(address.bytes.data(), address.size);
  if (auto read = ReadBytes(static_cast<pid_t>(notification.pid),
                            notification.data.args[call.roles.structure], wanted);
      !read) {
    return tl::unexpected(ErrnoOf(read.error()));
  }
  return address;
}

Result<SocketKind> KindOfSocket(pid_t thread, int fd) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, thread, kPidfdThread)));
  if (!pidfd.valid()) {
    const std::optional<Caller> caller = IdentifyCaller(thread);
    if (!caller) return SystemError("the caller", ESRCH);
    Result<UniqueFd> process = PidfdOpen(caller->tgid);
    if (!process) return Forward(process);
    pidfd = std::move(*process);
  }
  Result<UniqueFd> socket = PidfdGetfd(pidfd, fd);
  if (!socket) return Forward(socket);
  SocketKind kind;
  const auto ask = [&](int option, int& value) {
    socklen_t size = sizeof value;
    return getsockopt(socket->get(), SOL_SOCKET, option, &value, &size) == 0;
  };
  if (!ask(SO_DOMAIN, kind.domain) || !ask(SO_TYPE, kind.type) ||
      !ask(SO_PROTOCOL, kind.protocol)) {
    return SystemError("getsockopt", errno);
  }
  return kind;
}

tl::expected<std::optional<DestinationRequest>, int> DecodeAddress(Operation operation,
                                                                   const SocketKind& socket,
                                                                   std::span<const std::byte> raw) {
  if (raw.size() < sizeof(sa_family_t)) return tl::unexpected(EINVAL);
  const sa_family_t family = Copy<sa_family_t>(raw);
  if (socket.domain != AF_UNIX && socket.domain != AF_INET && socket.domain != AF_INET6) {
    return std::optional<DestinationRequest>();
  }
  if (family == AF_UNSPEC && operation == Operation::kConnect) {
    return std::optional<DestinationRequest>();
  }
  if (socket.domain == AF_UNIX) {
    if (family != AF_UNIX) return tl::unexpected(EINVAL);
    return DecodeUnix(operation, raw);
  }
  const std::optional<Transport> transport = TransportOf(socket);
  if (!transport) return std::optional<DestinationRequest>();
  DestinationRequest request;
  request.operation = operation;
  request.endpoint.transport = *transport;
  if (socket.domain == AF_INET6 && family == AF_INET6) {
    if (raw.size() < kMinV6Bytes) return tl::unexpected(EINVAL);
    const auto address = Copy<struct sockaddr_in6>(raw);
    request.endpoint.address = V6(address.sin6_addr);
    request.endpoint.port = ntohs(address.sin6_port);
  } else if (family == AF_INET || (family == AF_UNSPEC && socket.domain == AF_INET)) {
    // A v6 socket takes a v4 address for connect, and refuses it for bind.
    if (socket.domain == AF_INET6 && operation == Operation::kBind) {
      return tl::unexpected(EINVAL);
    }
    if (raw.size() < sizeof(struct sockaddr_in)) return tl::unexpected(EINVAL);
    const auto address = Copy<struct sockaddr_in>(raw);
    if (family == AF_UNSPEC && address.sin_addr.s_addr != htonl(INADDR_ANY)) {
      return tl::unexpected(EAFNOSUPPORT);
    }
    request.endpoint.address = V4(address.sin_addr);
    request.endpoint.port = ntohs(address.sin_port);
  } else {
    return tl::unexpected(EAFNOSUPPORT);
  }
  const Endpoint& endpoint = request.endpoint;
  if (operation == Operation::kConnect && endpoint.transport == Transport::kUdp &&
      endpoint.port == kProbePort && IsLoopback(endpoint.address)) {
    return std::optional<DestinationRequest>();
  }
  return std::optional<DestinationRequest>(std::move(request));
}

std::string DescribeEndpoint(const Endpoint& endpoint) {
  if (endpoint.transport == Transport::kUnix) {
    return (endpoint.abstract ? "unix:@" : "unix:") + endpoint.unix_name;
  }
  const IpPrefix address = policy::FoldMapped(endpoint.address);
  char text[INET6_ADDRSTRLEN] = "";
  (void)inet_ntop(address.v6 ? AF_INET6 : AF_INET, address.address.data(), text,
                  sizeof text);  // fits
  std::string host = address.v6 ? "[" + std::string(text) + "]" : text;
  switch (endpoint.transport) {
    case Transport::kTcp:
      return "tcp://" + host + ":" + std::to_string(endpoint.port);
    case Transport::kUdp:
      return "udp://" + host + ":" + std::to_string(endpoint.port);
    case Transport::kIcmp:
    case Transport::kUnix:
      break;
  }
  return "icmp://" + host;
}

std::string_view NetworkRightName(Operation operation, Transport transport) {
  const bool connect = operation == Operation::kConnect;
  switch (transport) {
    case Transport::kTcp:
      return connect ? "net.connect_tcp" : "net.bind_tcp";
    case Transport::kUdp:
      return connect ? "net.connect_send_udp" : "net.bind_udp";
    case Transport::kIcmp:
      return connect ? "net.connect_icmp" : "net.bind_icmp";
    case Transport::kUnix:
      break;
  }
  return connect ? "net.connect_unix" : "net.bind_unix";
}

}  // namespace landgate::agent
