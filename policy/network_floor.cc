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

  // Ports that every rule treats alike, and the winner for them among the rules for any host;
  // nothing: no such rule covers them. Port 0 is a segment of its own.
  struct Segment {
    size_t low = 0;
    size_t high = 0;
    const Part* winner = nullptr;
    bool Allowed() const { return winner && winner->rule->effect == Effect::kAllow; }
  };
  using Segments = std::vector<Segment>;

  static bool Beats(const Part& a, const Part& b) {
    const auto rank = [](const Part& part) {
      return std::tuple(part.rule->final, !part.destination->ports.empty(),
                        part.rule->effect == Effect::kDeny, part.rule->effect == Effect::kAsk);
    };
    return rank(a) > rank(b);
  }

  static Segments Divide(const Parts& parts) {
    std::vector<size_t> starts = {0, 1, kPorts};
    for (const Part& part : parts) {
      for (const PortRange& range : part.destination->ports) {
        starts.push_back(range.low);
        starts.push_back(size_t{range.high} + 1);
      }
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    Segments segments;
    for (size_t i = 0; i + 1 < starts.size(); ++i) {
      segments.push_back({starts[i], starts[i + 1] - 1, nullptr});
    }
    return segments;
  }

  template <class SegmentList, class Visit>
  static void ForEachCovered(SegmentList& segments, const Destination& destination, Visit visit) {
    static const std::vector<PortRange> kEvery = {{0, 65535}};
    for (const PortRange& range : destination.ports.empty() ? kEvery : destination.ports) {
      auto segment = std::lower_bound(segments.begin(), segments.end(), size_t{range.low},
                                      [](const Segment& s, size_t port) { return s.low < port; });
      for (; segment != segments.end() && segment->low <= range.high; ++segment) visit(*segment);
    }
  }

  static bool Decides(const Part& part, const Segments& segments) {
    return std::any_of(segments.begin(), segments.end(),
                       [&](const Segment& segment) { return segment.winner == &part; });
  }

  void Tcp(Operation operation, bool* handle, std::vector<uint16_t>* ports) {
    const auto of_operation = [&](const Part& part) {
      return IsTcp(part) && Names(part, operation);
    };
    const Parts any = PartsOf(policy_, [&](const Part& part) {
      return of_operation(part) && part.destination->host == Destination::Host::kAny;
    });
    const Parts addresses = PartsOf(policy_, [&](const Part& part) {
      return of_operation(part) && part.destination->host != Destination::Host::kAny;
    });
    Segments segments = Divide(PartsOf(policy_, of_operation));
    for (const Part& part : any) {
      ForEachCovered(segments, *part.destination, [&](Segment& segment) {
        if (!segment.winner || Beats(part, *segment.winner)) segment.winner = &part;
      });
    }
    const auto relevant = [&](const Segment& segment) {
      return operation == Operation::kBind || segment.low > 0;
    };
    *handle = std::any_of(segments.begin(), segments.end(), [&](const Segment& segment) {
      return relevant(segment) && !segment.Allowed();
    });
    for (const Part& part : any) {
      if (part.rule->effect == Effect::kAsk && Decides(part, segments)) {
        NeedsAgent(part, "nobody can be asked");
      }
    }
    for (const Part& part : addresses) Address(operation, part, segments);
    if (*handle) Ports(segments, ports);
    if (operation == Operation::kBind) Listen(any, segments);
  }

  void Ports(const Segments& segments, std::vector<uint16_t>* ports) {
    size_t count = 0;
    const Part* widest = nullptr;
    size_t width = 0;
    for (const Segment& segment : segments) {
      if (!segment.Allowed()) continue;
      const size_t own = segment.high - segment.low + 1;
      count += own;
      if (own > width) {
        width = own;
        widest = segment.winner;
      }
    }
    if (count > kMaxPortRules) {
      NeedsAgent(*widest, "leaves " + std::to_string(count) + " single ports allowed, and the " +
                              "kernel is given at most " + std::to_string(kMaxPortRules) +
                              "; allow fewer, or every port by leaving the ports out");
      return;
    }
    ports->reserve(count);
    for (const Segment& segment : segments) {
      if (!segment.Allowed()) continue;
      for (size_t port = segment.low; port <= segment.high; ++port) {
        ports->push_back(static_cast<uint16_t>(port));
      }
    }
  }

  void Listen(const Parts& any, const Segments& segments) {
    floor_.allow_listen = segments.front().Allowed();
    if (floor_.allow_listen) return;
    for (const Part& part : any) {
      if (part.rule->effect != Effect::kAllow || !Decides(part, segments)) continue;
      NeedsAgent(part,
                 "listen on a socket that was not bound takes a port of the kernel's choice, which "
                 "the kernel alone can't restrict; allow bind to *:0 as well");
    }
  }

  // A rule on addresses or a name agrees with what the floor does for any address, or needs an
  // agent.
  void Address(Operation operation, const Part& part, const Segments& segments) {
    const Effect effect = part.rule->effect;
    bool agrees = true;
    ForEachCovered(segments, *part.destination, [&](const Segment& segment) {
      // An address without ports says nothing of an ephemeral port unless it denies, and nothing
      // connects to port 0.
      if (segment.low == 0 && part.destination->ports.empty() &&
          (operation == Operation::kConnect || effect != Effect::kDeny)) {
        return;
      }
      if (segment.winner && segment.winner->rule->final && !part.rule->final) return;  // unreached
      agrees = agrees && effect == (segment.Allowed() ? Effect::kAllow : Effect::kDeny);
    });
    if (agrees) return;
    NeedsAgent(part, part.destination->host == Destination::Host::kName
                         ? "Landlock knows ports, not names"
                         : "Landlock knows ports, not addresses");
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
        NeedsAgent(part, effect == Effect::kAsk ? "nobody can be asked"
                         : effect == Effect::kAllow
                             ? "UNIX sockets can be made only where connect to "
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
