// The policy, version 1, after decoding: plain values, no behaviour. `docs/policy.md` is the
// reference for users, `policy/policy.schema.json` the schema.
//
// Decoding (document_json.h) is strict, merging (merge.h) unites documents, the decide_*.h files
// answer questions, supported.h refuses what this build can't enforce, sandbox/compile.h turns it
// into a floor. Pure; thread-safe as values are.
#ifndef LANDGATE_POLICY_DOCUMENT_H_
#define LANDGATE_POLICY_DOCUMENT_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/capability_names.h"
#include "policy/rights.h"

namespace landgate::policy {

enum class Effect { kAllow, kDeny, kAsk };

// Where a value stands, for messages and for Decision::rule.
struct Origin {
  std::string file;     // path, or "annotation io.landgate.policy"
  std::string pointer;  // JSON pointer within `file`: "/paths/3"
  bool operator==(const Origin&) const = default;
};

enum class PathKind { kBeneath, kFile, kGlob };

enum class Mask { kDevNull, kEmpty };  // what stands in for a denied file

// One entry of `paths`; a document's entry with several of beneath/file/glob lists is one PathRule,
// a rule's targets keep their kind.
struct PathTarget {
  PathKind kind = PathKind::kBeneath;
  std::string path;  // clean and absolute; for kGlob the pattern
  bool operator==(const PathTarget&) const = default;
};
struct PathRule {
  Effect effect = Effect::kDeny;
  Rights rights = 0;
  bool names_unix = false;  // "unix" or "resolve_unix" was written out, not by way of "all"
  std::vector<PathTarget> targets;
  bool optional = false;          // a missing path is skipped and reported
  bool required = false;          // out of the user's reach is a refusal, not a report
  bool runtime = false;           // holds for names that appear later: the agent's work
  bool final = false;             // no deeper rule overrides it
  bool accept_hardlinks = false;  // "hardlinks": "accept"
  bool is_protected = false;      // made from the node's `protected` list
  Mask mask = Mask::kDevNull;
  std::vector<std::string> verify_sha256;  // lower-case hex
  Origin origin;
  bool operator==(const PathRule&) const = default;
};

enum class Operation { kConnect, kBind };

// g++ 12 takes the scoped enumerator for a shadow of the right kUnix.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
enum class Transport { kTcp, kUdp, kIcmp, kUnix };
#pragma GCC diagnostic pop

struct IpPrefix {
  bool v6 = false;
  std::array<uint8_t, 16> address{};  // v4 in the first four bytes; host bits are zero
  uint8_t length = 0;                 // prefix bits; 32 or 128 for a single address
  bool operator==(const IpPrefix&) const = default;
};
struct PortRange {
  uint16_t low = 0;
  uint16_t high = 0;  // inclusive
  bool operator==(const PortRange&) const = default;
};
struct Destination {
  enum class Host { kAny, kPrefix, kName, kUnixPath, kUnixAbstract, kUnixAny };
  Transport transport = Transport::kTcp;
  Host host = Host::kAny;
  IpPrefix prefix;
  std::string name;              // host name, UNIX path, or abstract name without the @
  std::vector<PortRange> ports;  // empty: any port
  std::string text;              // as written
  bool operator==(const Destination&) const = default;
};
struct NetworkRule {
  Effect effect = Effect::kDeny;
  bool connect = false;
  bool bind = false;
  std::vector<Destination> to;
  bool optional = false;  // a name that does not resolve is skipped and reported
  bool final = false;
  Origin origin;
  bool operator==(const NetworkRule&) const = default;
};

struct Emulation {  // capabilities.emulate.NAME, kept as decoded pairs
  std::string syscall;
  std::vector<std::string> types, options, devices, names, policies;
  std::optional<int> max_priority;
  bool operator==(const Emulation&) const = default;
};
struct Capabilities {
  std::optional<CapabilitySet> keep;  // absent: what the engine gave
  CapabilitySet ask = 0;
  std::vector<Emulation> emulate;
  Origin origin;
  bool operator==(const Capabilities&) const = default;
};

enum class LandlockUse { kOff, kBestEffort, kRequired };
enum class ExecSessions { kUnconfined, kConfined, kRefused };
enum class OnViolation { kErrno, kStop, kFreeze, kKill };

struct Approval {
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<double> rate;  // questions a second
  std::optional<int> burst;
  bool operator==(const Approval&) const = default;
};

// A LandlockConfig document: one Landlock layer of its own. See landlock_config_json.h.
struct LandlockConfig {
  int abi = 0;                                           // 0: not given
  uint64_t handled_fs = 0, handled_net = 0, scoped = 0;  // rights used in rules included
  struct Path {
    Rights rights = 0;
    std::string path;  // variables replaced
    bool operator==(const Path&) const = default;
  };
  std::vector<Path> paths;
  struct Port {
    uint64_t rights = 0;
    uint16_t port = 0;
    bool operator==(const Port&) const = default;
  };
  std::vector<Port> ports;
  Origin origin;
  bool operator==(const LandlockConfig&) const = default;
};

struct Policy {
  std::string name;  // file name without .json, or "inline"
  std::string file;  // where it was read; for inline the annotation's name
  std::string description;
  std::vector<std::string> extends;
  LandlockUse landlock = LandlockUse::kRequired;
  std::optional<LandlockUse> landlock_given;        // as written; merging takes the stricter
  int min_abi = 0;                                  // 0: not given
  std::optional<std::vector<PathRule>> paths;       // absent: not restricted. Present: default deny
  std::optional<std::vector<NetworkRule>> network;  // likewise
  std::optional<Capabilities> capabilities;
  std::vector<std::string> denied_syscalls;  // sorted, unique
  std::optional<uint64_t> scopes;            // LANDLOCK_SCOPE_* bits; absent: by namespaces
  std::optional<bool> self_restrict_allowed;
  std::vector<LandlockConfig> landlock_layers;
  std::optional<ExecSessions> exec_sessions;
  std::optional<OnViolation> on_violation;
  std::optional<Approval> approval;
  // Where a top-level key was written that has no origin of its own ("approval", "scopes", …): of
  // merged documents, the one whose value stands.
  std::map<std::string, Origin> origins;
  bool operator==(const Policy&) const = default;
};

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DOCUMENT_H_
