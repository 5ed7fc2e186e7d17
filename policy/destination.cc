#include "policy/destination.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/paths.h"

namespace landgate::policy {
namespace {

constexpr size_t kMaxHostName = 253;
constexpr size_t kMaxLabel = 63;
constexpr size_t kMaxAbstractName = 107;  // sun_path without the leading NUL
constexpr size_t kMaxPortItems = 1024;
constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Failure Bad(std::string_view text, std::string_view why) {
  return Refuse("destination \"" + std::string(text) + "\": " + std::string(why));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHexDigit(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Decimal without sign, leading zeros or spaces, at most `high`.
std::optional<unsigned> Decimal(std::string_view text, unsigned high) {
  if (text.empty() || text.size() > 9 || (text.size() > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  unsigned value = 0;
  for (char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > high) return std::nullopt;
  return value;
}

IpPrefix WithoutHostBits(IpPrefix prefix) {
  for (size_t bit = prefix.length; bit < 128; ++bit) {
    prefix.address[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  }
  return prefix;
}

std::string ShowAddress(const IpPrefix& prefix) {
  char text[INET6_ADDRSTRLEN] = "";
  if (!inet_ntop(prefix.v6 ? AF_INET6 : AF_INET, prefix.address.data(), text, sizeof text))
    return "";
  return prefix.v6 ? "[" + std::string(text) + "]" : std::string(text);
}

// inet_pton refuses octal, hexadecimal and short forms of IPv4, which getaddrinfo would read.
std::optional<IpPrefix> ReadAddress(std::string_view text, bool v6) {
  IpPrefix address;
  address.v6 = v6;
  address.length = v6 ? 128 : 32;
  const std::string copy(text);
  if (inet_pton(v6 ? AF_INET6 : AF_INET, copy.c_str(), address.address.data()) != 1) {
    return std::nullopt;
  }
  return address;
}

// "10.1.0.0/16", or what stands in brackets and the length after them.
Result<IpPrefix> ReadPrefix(std::string_view text, std::string_view address_text,
                            std::optional<std::string_view> length_text, bool v6) {
  if (address_text.find('%') != std::string_view::npos) {
    return Bad(text, "zone ids name an interface, which a policy can't; write the address alone");
  }
  const std::optional<IpPrefix> address = ReadAddress(address_text, v6);
  if (!address) {
    return Bad(text, v6 ? "not an IPv6 address"
                        : "not an IPv4 address (four decimal numbers up to 255, no leading zeros)");
  }
  IpPrefix prefix = *address;
  if (length_text) {
    const std::optional<unsigned> length = Decimal(*length_text, v6 ? 128 : 32);
    if (!length) {
      return Bad(text, v6 ? "the prefix length must be a number from 0 to 128"
                          : "the prefix length must be a number from 0 to 32");
    }
    prefix.length = static_cast<uint8_t>(*length);
    const IpPrefix network = WithoutHostBits(prefix);
    if (network.address != prefix.address) {
      return Bad(text, "bits are set behind the prefix; the network is " + ShowAddress(network) +
                           "/" + std::to_string(*length));
    }
  }
  return FoldMapped(prefix);
}

// A host name in lower case. An address written in one of inet_aton's old forms is none.
Result<std::string> ReadHostName(std::string_view text, std::string_view host) {
  if (host.empty()) return Bad(text, "the host is missing; write * for any host");
  if (host.find('*') != std::string_view::npos) {
    return Bad(text,
               "a pattern of names can't be decided, because a connection names an address; "
               "write the names, or * for any host");
  }
  if (host.size() > kMaxHostName) return Bad(text, "a host name has at most 253 characters");
  std::string name;
  std::string_view last;
  for (std::string_view rest = host;;) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    if (label.empty()) return Bad(text, "a host name has no empty label and no dot at its end");
    if (label.size() > kMaxLabel)
      return Bad(text, "a label of a host name has at most 63 characters");
    for (char c : label) {
      if (!IsDigit(c) && !(Lower(c) >= 'a' && Lower(c) <= 'z') && c != '-' && c != '_') {
        return Bad(text, "a host name consists of letters, digits, -, _ and dots");
      }
      name += Lower(c);
    }
    if (label.front() == '-' || label.back() == '-') {
      return Bad(text, "a label of a host name neither begins nor ends with -");
    }
    last = label;
    if (label.size() == rest.size()) break;
    name += '.';
    rest.remove_prefix(label.size() + 1);
  }
  const bool decimal = std::all_of(last.begin(), last.end(), IsDigit);
  const bool hexadecimal = last.size() > 1 && last[0] == '0' && Lower(last[1]) == 'x' &&
                           std::all_of(last.begin() + 2, last.end(), IsHexDigit);
  if (decimal && last.size() == host.size()) {
    return Bad(text, "the host is missing; any host at a port is written *:PORT");
  }
  if (decimal || hexadecimal) {
    return Bad(text, "not an IPv4 address (four decimal numbers up to 255, no leading zeros)");
  }
  return name;
}

// "443", "80,443", "8000-8010,9000": sorted, overlapping and adjacent ranges joined.
Result<std::vector<PortRange>> ReadPorts(std::string_view text, std::string_view list) {
  std::vector<PortRange> ports;
  for (std::string_view rest = list;;) {
    const std::string_view item = rest.substr(0, rest.find(','));
    const size_t dash = item.find('-');
    const std::string_view low_text = item.substr(0, dash);
    const std::string_view high_text =
        dash == std::string_view::npos ? low_text : item.substr(dash + 1);
    const std::optional<unsigned> low = Decimal(low_text, 65535);
    const std::optional<unsigned> high = Decimal(high_text, 65535);
    if (!low || !high) {
      return Bad(text, "port \"" + std::string(item) +
                           "\" must be a number from 0 to 65535 or a range LOW-HIGH of them");
    }
    if (*low > *high) {
      return Bad(text, "the port range " + std::string(item) + " runs backwards; write " +
                           std::to_string(*high) + "-" + std::to_string(*low));
    }
    ports.push_back({static_cast<uint16_t>(*low), static_cast<uint16_t>(*high)});
    if (ports.size() > kMaxPortItems) return Bad(text, "more than 1024 ports and ranges");
    if (item.size() == rest.size()) break;
    rest.remove_prefix(item.size() + 1);
  }
  std::sort(ports.begin(), ports.end(),
            [](const PortRange& a, const PortRange& b) { return a.low < b.low; });
  std::vector<PortRange> joined;
  for (const PortRange& range : ports) {
    if (!joined.empty() && unsigned{range.low} <= unsigned{joined.back().high} + 1) {
      joined.back().high = std::max(joined.back().high, range.high);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

Result<Destination> ReadUnix(std::string_view text, std::string_view name) {
  Destination destination;
  destination.transport = Transport::kUnix;
  destination.text = std::string(text);
  if (name == "*") {
    destination.host = Destination::Host::kUnixAny;
    return destination;
  }
  if (name.starts_with('@')) {
    destination.host = Destination::Host::kUnixAbstract;
    name.remove_prefix(1);
    if (name.empty()) return Bad(text, "the abstract name behind @ is missing");
    if (name.size() > kMaxAbstractName) return Bad(text, "an abstract name has at most 107 bytes");
    destination.name = std::string(name);
    return destination;
  }
  if (!name.starts_with('/')) {
    return Bad(text, "behind unix: stands an absolute path, @ and an abstract name, or *");
  }
  if (!IsCleanAbsolute(name) || name == "/") {
    return Bad(text,
               "the socket's path must name a file and have no empty, \".\" or \"..\" component "
               "and no slash at its end");
  }
  destination.host = Destination::Host::kUnixPath;
  destination.name = std::string(name);
  return destination;
}

}  // namespace

IpPrefix FoldMapped(const IpPrefix& prefix) {
  if (!prefix.v6 || prefix.length < 96 ||
      !std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), prefix.address.begin())) {
    return prefix;
  }
  IpPrefix v4;
  std::copy(prefix.address.begin() + 12, prefix.address.end(), v4.address.begin());
  v4.length = static_cast<uint8_t>(prefix.length - 96);
  return v4;
}

Result<Destination> ParseDestination(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return Refuse("a destination holds no NUL");
  if (text.starts_with("unix:")) return ReadUnix(text, text.substr(5));
  Destination destination;
  destination.text = std::string(text);
  std::string_view rest = text;
  if (const size_t end = rest.find("://"); end != std::string_view::npos) {
    const std::string_view scheme = rest.substr(0, end);
    if (scheme == "tcp") {
      destination.transport = Transport::kTcp;
    } else if (scheme == "udp") {
      destination.transport = Transport::kUdp;
    } else if (scheme == "icmp") {
      destination.transport = Transport::kIcmp;
    } else {
      return Bad(text, "the scheme must be tcp, udp or icmp; UNIX sockets are written unix:/PATH");
    }
    rest.remove_prefix(end + 3);
  }

  std::string_view after_host;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return Bad(text, "the [ of an IPv6 address is not closed");
    const std::string_view address = rest.substr(1, close - 1);
    if (address.find('/') != std::string_view::npos) {
      return Bad(text, "the prefix length stands behind the bracket: [ADDRESS]/LENGTH");
    }
    after_host = rest.substr(close + 1);
    std::optional<std::string_view> length;
    if (after_host.starts_with('/')) {
      length = after_host.substr(1, after_host.find(':') - 1);
      after_host.remove_prefix(1 + length->size());
    }
    Result<IpPrefix> prefix = ReadPrefix(text, address, length, /*v6=*/true);
    if (!prefix) return Forward(prefix);
    destination.host = Destination::Host::kPrefix;
    destination.prefix = *prefix;
  } else {
    const size_t colon = rest.find(':');
    const std::string_view host = rest.substr(0, colon);
    after_host = colon == std::string_view::npos ? "" : rest.substr(colon);
    if (after_host.find(':', 1) != std::string_view::npos) {
      return Bad(text, "an IPv6 address stands in brackets: [ADDRESS], [ADDRESS]:PORT");
    }
    if (host.find('%') != std::string_view::npos) {
      return Bad(text, "zone ids name an interface, which a policy can't; write the address alone");
    }
    const size_t slash = host.find('/');
    if (host == "*") {
      destination.host = Destination::Host::kAny;
    } else if (slash != std::string_view::npos || ReadAddress(host, /*v6=*/false)) {
      const std::optional<std::string_view> length =
          slash == std::string_view::npos ? std::nullopt
                                          : std::optional<std::string_view>(host.substr(slash + 1));
      Result<IpPrefix> prefix = ReadPrefix(text, host.substr(0, slash), length, /*v6=*/false);
      if (!prefix) return Forward(prefix);
      destination.host = Destination::Host::kPrefix;
      destination.prefix = *prefix;
    } else {
      Result<std::string> name = ReadHostName(text, host);
      if (!name) return Forward(name);
      destination.host = Destination::Host::kName;
      destination.name = std::move(*name);
    }
  }

  if (after_host.empty()) return destination;
  if (!after_host.starts_with(':')) {
    return Bad(text, "behind the host stands nothing or :PORT");
  }
  if (destination.transport == Transport::kIcmp) return Bad(text, "icmp has no ports");
  if (after_host == ":") return Bad(text, "the port behind the colon is missing");
  Result<std::vector<PortRange>> ports = ReadPorts(text, after_host.substr(1));
  if (!ports) return Forward(ports);
  destination.ports = std::move(*ports);
  return destination;
}

Status CheckDestinationFor(Operation operation, const Destination& destination) {
  if (operation == Operation::kConnect && !destination.ports.empty() &&
      destination.ports.front().low == 0) {
    return Bad(destination.text,
               "nothing can connect to port 0; write ports from 1, or none for any");
  }
  if (operation == Operation::kBind && destination.transport == Transport::kIcmp) {
    return Bad(destination.text, "icmp sockets are not bound; write a connect rule");
  }
  return {};
}

Result<Endpoint> ParseEndpoint(std::string_view text) {
  Result<Destination> parsed = ParseDestination(text);
  if (!parsed) return Forward(parsed);
  Endpoint endpoint;
  endpoint.transport = parsed->transport;
  endpoint.address = parsed->prefix;
  switch (parsed->host) {
    case Destination::Host::kUnixPath:
    case Destination::Host::kUnixAbstract:
      endpoint.unix_name = parsed->name;
      endpoint.abstract = parsed->host == Destination::Host::kUnixAbstract;
      return endpoint;
    case Destination::Host::kPrefix:
      if (parsed->prefix.length != (parsed->prefix.v6 ? 128 : 32)) {
        return Bad(text, "one address is asked for, not a network");
      }
      break;
    case Destination::Host::kName:
      return Bad(text, "an address is asked for, not a name");
    case Destination::Host::kAny:
    case Destination::Host::kUnixAny:
      return Bad(text, "one destination is asked for, not any");
  }
  if (parsed->transport == Transport::kIcmp) return endpoint;
  if (parsed->ports.size() != 1 || parsed->ports.front().low != parsed->ports.front().high) {
    return Bad(text, "exactly one port is asked for: ADDRESS:PORT");
  }
  endpoint.port = parsed->ports.front().low;
  return endpoint;
}

bool PrefixCovers(const IpPrefix& prefix, const IpPrefix& address) {
  if (prefix.v6 != address.v6 || prefix.length > address.length) return false;
  const size_t bytes = prefix.length / 8U;
  if (std::memcmp(prefix.address.data(), address.address.data(), bytes) != 0) return false;
  const unsigned bits = prefix.length % 8U;
  if (bits == 0) return true;
  const unsigned mask = 0xff00U >> bits;
  return ((prefix.address[bytes] ^ address.address[bytes]) & mask & 0xffU) == 0;
}

bool PortsCover(const std::vector<PortRange>& ports, uint16_t port) {
  return ports.empty() || std::any_of(ports.begin(), ports.end(), [&](const PortRange& range) {
           return range.low <= port && port <= range.high;
         });
}

}  // namespace landgate::policy
