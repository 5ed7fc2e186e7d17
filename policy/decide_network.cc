#include "policy/decide_network.h"

#include <errno.h>

#include <algorithm>
#include <optional>

namespace landgate::policy {
namespace {

int Strictness(Effect effect) {
  switch (effect) {
    case Effect::kAllow:
      return 0;
    case Effect::kAsk:
      return 1;
    case Effect::kDeny:
      return 2;
  }
  return 2;
}

// Of two destinations that cover, the one with the higher precedence decides.
int Precedence(const NetworkRule& rule, const Destination& destination, int prefix) {
  return (rule.final ? 1 << 16 : 0) | prefix << 4 | (destination.ports.empty() ? 0 : 1 << 2) |
         Strictness(rule.effect);
}

bool CoversPort(const NetworkRule& rule, const Destination& destination, Operation operation,
                uint16_t port) {
  if (!destination.ports.empty()) return PortsCover(destination.ports, port);
  return operation != Operation::kBind || port != 0 || rule.effect == Effect::kDeny ||
         destination.host == Destination::Host::kAny;
}

// How specifically `destination` names the endpoint's address, in bits; nothing where it does not.
std::optional<int> AddressPrecision(const Destination& destination, const Endpoint& endpoint,
                                    const PinnedNames& names) {
  const IpPrefix address = FoldMapped(endpoint.address);
  switch (destination.host) {
    case Destination::Host::kAny:
      return 0;
    case Destination::Host::kPrefix:
      if (!PrefixCovers(destination.prefix, address)) return std::nullopt;
      return destination.prefix.length;
    case Destination::Host::kName: {
      const auto pinned = names.find(destination.name);
      if (pinned == names.end()) return std::nullopt;
      const bool among =
          std::any_of(pinned->second.begin(), pinned->second.end(), [&](const IpPrefix& candidate) {
            const IpPrefix folded = FoldMapped(candidate);
            return folded.length == address.length && PrefixCovers(folded, address);
          });
      if (!among) return std::nullopt;
      return address.length;
    }
    case Destination::Host::kUnixPath:
      if (endpoint.abstract || destination.name != endpoint.unix_name) return std::nullopt;
      return 1;
    case Destination::Host::kUnixAbstract:
      if (!endpoint.abstract || destination.name != endpoint.unix_name) return std::nullopt;
      return 1;
    case Destination::Host::kUnixAny:
      return 0;
  }
  return std::nullopt;
}

// `precision(destination)` says whether, and how specifically, a destination of the right transport
// names what is asked for.
template <class Precision>
Decision Decide(const Policy& policy, Operation operation, Transport transport, uint16_t port,
                Precision precision) {
  if (!policy.network) return {Verdict::kAllow, 0, Reason::kNotCovered, ""};
  const NetworkRule* winner = nullptr;
  int highest = -1;
  bool other_operation = false;
  for (const NetworkRule& rule : *policy.network) {
    const bool named = operation == Operation::kConnect ? rule.connect : rule.bind;
    for (const Destination& destination : rule.to) {
      if (destination.transport != transport) continue;
      const std::optional<int> bits = precision(destination);
      if (!bits || !CoversPort(rule, destination, operation, port)) continue;
      if (!named) {
        other_operation = other_operation || rule.effect != Effect::kDeny;
        continue;
      }
      const int own = Precedence(rule, destination, *bits);
      if (own > highest) {
        highest = own;
        winner = &rule;
      }
    }
  }
  if (!winner) {
    return {Verdict::kDeny, EACCES,
            other_operation ? Reason::kInsufficientAccess : Reason::kNotCovered, ""};
  }
  switch (winner->effect) {
    case Effect::kAllow:
      return {Verdict::kAllow, 0, Reason::kRule, winner->origin.pointer};
    case Effect::kAsk:
      return {Verdict::kAsk, EACCES, Reason::kRule, winner->origin.pointer};
    case Effect::kDeny:
      break;
  }
  return {Verdict::kDeny, EACCES, Reason::kRule, winner->origin.pointer};
}

}  // namespace

Decision DecideNetwork(const Policy& policy, Operation operation, const Endpoint& endpoint,
                       const PinnedNames& names) {
  return Decide(policy, operation, endpoint.transport, endpoint.port,
                [&](const Destination& destination) {
                  return AddressPrecision(destination, endpoint, names);
                });
}

Decision DecideNetworkByName(const Policy& policy, Transport transport, const std::string& name,
                             uint16_t port) {
  std::string lower = name;
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return Decide(policy, Operation::kConnect, transport, port,
                [&](const Destination& destination) -> std::optional<int> {
                  if (destination.host == Destination::Host::kAny) return 0;
                  if (destination.host == Destination::Host::kName && destination.name == lower) {
                    return 128;
                  }
                  return std::nullopt;
                });
}

}  // namespace landgate::policy
