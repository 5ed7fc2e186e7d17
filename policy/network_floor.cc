#include "policy/network_floor.h"

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

namespace landgate::policy {
namespace {

constexpr size_t kPorts = 65536;

// One entry of one rule's `to`.
struct Part {
  const NetworkRule* rule = nullptr;
  const Destination* destination = nullptr;
  size_t index = 0;  // in `to`
};

using Parts = std::vector<Part>;

Parts PartsOf(const Policy& policy, const std::function<bool(const Part&)>& wanted) {
  Parts parts;
  for (const NetworkRule& rule : *policy.network) {
    for (size_t index = 0; index < rule.to.size(); ++index) {
      const Part part{&rule, &rule.to[index], index};
      if (wanted(part)) parts.push_back(part);
    }
  }
  return parts;
}

bool Names(const Part& part, Operation operation) {
  return operation == Operation::kConnect ? part.rule->connect : part.rule->bind;
}

bool IsTcp(const Part& part) { return part.destination->transport == Transport::kTcp; }

class Compiler {
 public:
  explicit Compiler(const Policy& policy) : policy_(policy) {}

  NetworkFloor Compile() {
    if (!policy_.network) return std::move(floor_);
    floor_.restricts = true;
    Tcp(Operation::kConnect, &floor_.handle_connect, &floor_.connect_ports);
    Tcp(Operation::kBind, &floor_.handle_bind, &floor_.bind_ports);
    Unix();
    for (const Part& part : PartsOf(policy_, [](const Part& p) {
           return p.destination->transport == Transport::kUdp ||
                  p.destination->transport == Transport::kIcmp;
         })) {
      // Such sockets can't be made at all, which is what a deny wants.
      if (part.rule->effect == Effect::kDeny) continue;
      NeedsAgent(part, part.destination->transport == Transport::kUdp
                           ? "the kernel alone can't tell one UDP destination from another"
                           : "the kernel alone can't tell one ICMP destination from another");
    }
    return std::move(floor_);
  }

 private:
  void NeedsAgent(const Part& part, const std::string& why) {
    Origin origin = part.rule->origin;
    origin.pointer += "/to/" + std::to_string(part.index);
    floor_.needs_agent.push_back({std::move(origin), part.destination->text + ": " + why});
  }

  // The winner among the rules for any host, port by port. Nothing: no such rule covers the port.
  using Winners = std::vector<const Part*>;

  static bool Beats(const Part& a, const Part& b) {
    const auto rank = [](const Part& part) {
      return std::tuple(part.rule->final, !part.destination->ports.empty(),
                        part.rule->effect == Effect::kDeny, part.rule->effect == Effect::kAsk);
    };
    return rank(a) > rank(b);
  }

  template <class Visit>
  static void ForEachPort(const Destination& destination, Visit visit) {
    if (destination.ports.empty()) {
      for (size_t port = 0; port < kPorts; ++port) visit(port);
    }
    for (const PortRange& range : destination.ports) {
      for (size_t port = range.low; port <= range.high; ++port) visit(port);
    }
  }

  void Tcp(Operation operation, bool* handle, std::vector<uint16_t>* ports) {
    const Parts any = PartsOf(policy_, [&](const Part& part) {
      return IsTcp(part) && Names(part, operation) &&
             part.destination->host == Destination::Host::kAny;
    });
    Winners winners(kPorts, nullptr);
    for (const Part& part : any) {
      ForEachPort(*part.destination, [&](size_t port) {
        if (!winners[port] || Beats(part, *winners[port])) winners[port] = &part;
      });
    }
    const auto allowed = [&](size_t port) {
      return winners[port] && winners[port]->rule->effect == Effect::kAllow;
    };
    for (size_t port = 0; port < kPorts; ++port) {
      if (allowed(port)) ports->push_back(static_cast<uint16_t>(port));
    }
    const size_t least = operation == Operation::kConnect ? 1 : 0;
    const bool every = ports->size() - (least == 1 && allowed(0) ? 1 : 0) == kPorts - least;
    *handle = !every;
    if (every) ports->clear();

    for (const Part& part : any) {
      if (part.rule->effect != Effect::kAsk) continue;
      if (std::find(winners.begin(), winners.end(), &part) != winners.end()) {
        NeedsAgent(part, "only an agent can ask");
      }
    }
    Addresses(operation, winners);
    if (ports->size() > kMaxPortRules) {
      NeedsAgent(**std::find_if(
                     winners.begin(), winners.end(),
                     [](const Part* part) { return part && part->rule->effect == Effect::kAllow; }),
                 "leaves " + std::to_string(ports->size()) + " single ports allowed, and a floor " +
                     "holds " + std::to_string(kMaxPortRules) +
                     "; allow every port by leaving the ports out, or fewer");
      ports->clear();
    }
    if (operation == Operation::kConnect) return;
    floor_.allow_listen = allowed(0);
    if (floor_.allow_listen) return;
    for (const Part& part : any) {
      if (std::find(winners.begin(), winners.end(), &part) == winners.end()) continue;
      if (part.rule->effect != Effect::kAllow) continue;
      NeedsAgent(part,
                 "listen on a socket that was not bound takes a port of the kernel's choice, which "
                 "the kernel alone can't restrict; allow bind to *:0 as well");
    }
  }

  // Rules on addresses and names. They agree with what the floor does for any address, or need an
  // agent.
  void Addresses(Operation operation, const Winners& winners) {
    const Parts parts = PartsOf(policy_, [&](const Part& part) {
      return IsTcp(part) && Names(part, operation) &&
             part.destination->host != Destination::Host::kAny;
    });
    for (const Part& part : parts) {
      const Effect effect = part.rule->effect;
      bool agrees = true;
      ForEachPort(*part.destination, [&](size_t port) {
        const Part* winner = winners[port];
        // An address without ports says nothing of an ephemeral port unless it denies.
        if (port == 0 && part.destination->ports.empty() &&
            (operation == Operation::kConnect || effect != Effect::kDeny)) {
          return;
        }
        if (winner && winner->rule->final && !part.rule->final) return;  // never reached
        const bool floor_allows = winner && winner->rule->effect == Effect::kAllow;
        agrees = agrees && effect == (floor_allows ? Effect::kAllow : Effect::kDeny);
      });
      if (agrees) continue;
      NeedsAgent(part, part.destination->host == Destination::Host::kName
                           ? "Landlock knows ports, not names"
                           : "Landlock knows ports, not addresses");
    }
  }

  void Unix() {
    const Parts parts = PartsOf(
        policy_, [](const Part& part) { return part.destination->transport == Transport::kUnix; });
    const auto any_rule = [&](Operation operation) {
      const Part* winner = nullptr;
      for (const Part& part : parts) {
        if (!Names(part, operation)) continue;
        if (part.destination->host != Destination::Host::kUnixAny) continue;
        if (!winner || Beats(part, *winner)) winner = &part;
      }
      return winner;
    };
    const Part* connect = any_rule(Operation::kConnect);
    floor_.allow_unix = connect && connect->rule->effect == Effect::kAllow;
    for (const Operation operation : {Operation::kConnect, Operation::kBind}) {
      const Part* any = any_rule(operation);
      for (const Part& part : parts) {
        if (!Names(part, operation)) continue;
        if (any && &part != any) {
          const bool same_host = part.destination->host == Destination::Host::kUnixAny;
          if (same_host || (any->rule->final && !part.rule->final)) continue;  // never reached
        }
        const Effect effect = part.rule->effect;
        if (effect == (floor_.allow_unix ? Effect::kAllow : Effect::kDeny)) {
          if (effect == Effect::kAllow && operation == Operation::kBind && !floor_.allow_listen) {
            NeedsAgent(part, "listen is denied for every kind of socket without bind to *:0");
          }
          continue;
        }
        NeedsAgent(part, effect == Effect::kAsk ? "only an agent can ask"
                         : effect == Effect::kAllow
                             ? "without an agent UNIX sockets can be made only where connect to "
                               "unix:* is allowed"
                             : "the kernel alone can't tell one UNIX socket from another");
      }
    }
  }

  const Policy& policy_;
  NetworkFloor floor_;
};

}  // namespace

NetworkFloor CompileNetworkFloor(const Policy& policy) { return Compiler(policy).Compile(); }

}  // namespace landgate::policy
