#include "agent/ctl/ctl_explain.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/capability_names.h"
#include "base/files.h"
#include "base/paths.h"
#include "base/unique_fd.h"
#include "policy/decide_layer.h"
#include "policy/decide_network.h"
#include "policy/decide_path.h"
#include "policy/decide_privilege.h"
#include "policy/destination.h"
#include "policy/document_json.h"
#include "policy/glob.h"
#include "policy/syscall_table.h"
#include "sandbox/resolve.h"

namespace landgate::ctl {
namespace {

using policy::Decision;
using policy::PathKind;
using policy::Policy;
using policy::Reason;
using policy::Rights;
using policy::Verdict;

// --- paths beneath a root ---------------------------------------------------------------------

// Where `path` leads in the container, or, where it doesn't exist, where its nearest existing
// ancestor leads, with the rest as written.
Result<std::string> ResolveName(sandbox::ContainerRoot& root, const std::string& path) {
  std::string existing = path;
  std::string rest;
  while (true) {
    Result<std::optional<sandbox::Object>> object = root.Resolve(existing);
    if (!object) return Forward(object);
    if (*object) return rest.empty() ? (*object)->path : Clean((*object)->path + rest);
    if (existing == "/") return path;
    rest = "/" + std::string(Basename(existing)) + rest;
    existing = Parent(existing);
  }
}

// Rule targets as the container has them. A glob keeps its pattern behind the resolved literal
// prefix. Missing targets are left out, as at a container's start (where they must be optional).
Result<policy::PathRules> RulesIn(sandbox::ContainerRoot& root, const Policy& policy) {
  std::vector<policy::ResolvedTarget> targets;
  for (const policy::PathRule& rule : *policy.paths) {
    for (const policy::PathTarget& target : rule.targets) {
      const bool glob = target.kind == PathKind::kGlob;
      const std::string literal = glob ? policy::LiteralPrefix(target.path) : target.path;
      Result<std::optional<sandbox::Object>> object = root.Resolve(literal);
      if (!object) return Context(rule.origin.file + ": " + target.path, object);
      if (!*object) continue;
      std::string path = (*object)->path;
      if (glob)
        path = (path == "/" ? "" : path) + target.path.substr(literal == "/" ? 0 : literal.size());
      targets.push_back({target.kind, std::move(path), &rule});
    }
  }
  return policy::PathRules(policy, std::move(targets));
}

// --- LandlockConfig layers --------------------------------------------------------------------

std::string LayerPointer(const policy::LandlockConfig& layer) { return layer.origin.pointer; }

Decision DenyByLayer(const policy::LandlockConfig& layer) {
  return Decision{Verdict::kDeny, EACCES, Reason::kRule, LayerPointer(layer)};
}

// --- the four kinds of question -----------------------------------------------------------------

// A decision names its rule by the pointer alone, and two merged documents can have the same one.
// So the rules are numbered before they are asked, and the number is looked up afterwards.
Policy Numbered(Policy policy, std::vector<policy::Origin>& origins) {
  const auto number = [&origins](auto& rules) {
    for (auto& rule : rules) {
      origins.push_back(rule.origin);
      rule.origin.pointer = "#" + std::to_string(origins.size() - 1);
    }
  };
  if (policy.paths) number(*policy.paths);
  if (policy.network) number(*policy.network);
  number(policy.landlock_layers);
  return policy;
}

// Sections without rules are united in merging, and no longer say which document they came from.
bool IsOneDocument(const Policy& policy) {
  Result<std::string> text = ReadFile(policy.file);
  if (!text) return false;
  Result<Policy> document = policy::DecodePolicy(*text, policy.name, policy.file);
  return document && document->extends.empty();
}

policy::Origin OriginOf(const Policy& policy, const std::vector<policy::Origin>& origins,
                        const std::string& rule) {
  if (rule.empty()) return {};
  if (rule.starts_with("#")) {
    size_t index = origins.size();
    (void)std::from_chars(rule.data() + 1, rule.data() + rule.size(), index);  // ours, see Numbered
    return index < origins.size() ? origins[index] : policy::Origin{};
  }
  if (rule.starts_with("/capabilities") && policy.capabilities)
    return {policy.capabilities->origin.file, rule};
  return {IsOneDocument(policy) ? policy.file : "", rule};
}

Result<Rights> ParseRights(const std::vector<std::string>& names) {
  Rights rights = 0;
  for (const std::string& name : names) {
    if (const std::optional<Rights> known = policy::RightsByName(name)) {
      rights |= *known;
      continue;
    }
    Rights number = 0;
    const bool hex = name.starts_with("0x");
    const char* end = name.data() + name.size();
    const auto [stop, error] =
        std::from_chars(name.data() + (hex ? 2 : 0), end, number, hex ? 16 : 10);
    if (error != std::errc() || stop != end || number == 0) {
      return BadUsage("--right " + name +
                      ": not a right; known are read, write, execute, create, remove, modify, "
                      "device, ioctl, unix, all and Landlock's own names (read_file, make_dir, …)");
    }
    rights |= number;
  }
  return rights;
}

Result<Explained> ExplainPath(const Policy& policy, const Question& question) {
  const std::string asked_path = Clean(*question.path);
  if (asked_path.empty() || !IsCleanAbsolute(asked_path))
    return BadUsage("--path " + *question.path + ": not an absolute path without ..");
  if (question.rights.empty()) return BadUsage("--path needs --right, for example: --right read");
  Result<Rights> rights = ParseRights(question.rights);
  if (!rights) return Forward(rights);

  Explained explained;
  explained.subject = "path " + asked_path;
  explained.asked = policy::RightNames(*rights);
  std::string path = asked_path;
  std::optional<policy::PathRules> rules;
  if (question.root) {
    const UniqueFd fd(open(question.root->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) return SystemError("root " + *question.root, errno);
    sandbox::ContainerRoot root(fd);
    Result<std::string> resolved = ResolveName(root, asked_path);
    if (!resolved) return Context("--path", resolved);
    if (*resolved != asked_path) explained.resolved = *resolved;
    path = *resolved;
    if (policy.paths) {
      Result<policy::PathRules> in_root = RulesIn(root, policy);
      if (!in_root) return Forward(in_root);
      rules = std::move(*in_root);
    }
  }
  if (!rules) rules.emplace(policy);

  if (rules->restricts_paths()) {
    explained.decision = rules->Decide(path, *rights);
  } else {
    explained.decision = Decision{Verdict::kAllow, 0, Reason::kNotCovered, ""};
    explained.note = "the policy has no paths section: files are not restricted by it";
  }
  for (const policy::LandlockConfig& layer : policy.landlock_layers) {
    if (explained.decision.verdict == Verdict::kDeny) break;
    if (policy::DeniedByLayer(layer, path, *rights) != 0) {
      explained.decision = DenyByLayer(layer);
      explained.note.clear();
    }
  }
  return explained;
}

Result<std::pair<std::string, uint16_t>> NameAndPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  uint16_t port = 0;
  if (colon == std::string_view::npos || colon == 0) return BadUsage("no port");
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end) return BadUsage("no port");
  return std::pair(std::string(text.substr(0, colon)), port);
}

// True where the text is a host name and a port: policies speak of names, calls of addresses.
bool LooksLikeName(std::string_view host) {
  return !host.empty() && host.find_first_not_of("0123456789.:[]/*") != std::string_view::npos &&
         host.find_first_of("[]/:*@") == std::string_view::npos;
}

void AskLayers(const Policy& policy, policy::Transport transport, uint64_t right, uint16_t port,
               Explained& explained) {
  if (transport != policy::Transport::kTcp) return;
  for (const policy::LandlockConfig& layer : policy.landlock_layers) {
    if (explained.decision.verdict == Verdict::kDeny) return;
    if (policy::LayerDeniesPort(layer, right, port)) {
      explained.decision = DenyByLayer(layer);
      explained.note.clear();
    }
  }
}

Result<Explained> ExplainNetwork(const Policy& policy, policy::Operation operation,
                                 const std::string& text) {
  const bool connect = operation == policy::Operation::kConnect;
  const uint64_t right = connect ? abi::kNetConnectTcp : abi::kNetBindTcp;
  const std::string option = connect ? "--connect " : "--bind ";
  Explained explained;
  explained.subject = (connect ? "connect to " : "bind to ") + text;
  const std::string note =
      policy.network ? ""
                     : "the policy has no network section: the network is not restricted by it";

  std::string_view rest = text;
  policy::Transport transport = policy::Transport::kTcp;
  if (rest.starts_with("tcp://")) rest.remove_prefix(6);
  if (rest.starts_with("udp://")) {
    rest.remove_prefix(6);
    transport = policy::Transport::kUdp;
  }
  Result<std::pair<std::string, uint16_t>> name = NameAndPort(rest);
  uint16_t port = 0;
  if (connect && name && LooksLikeName(name->first)) {
    port = name->second;
    explained.decision = policy::DecideNetworkByName(policy, transport, name->first, port);
  } else {
    // Bound to every address: what a policy writes as *, a program passes as 0.0.0.0.
    const bool any = !connect && text.starts_with("*:");
    Result<policy::Endpoint> endpoint =
        policy::ParseEndpoint(any ? "0.0.0.0" + text.substr(1) : text);
    if (!endpoint) {
      return BadUsage(
          option + text + ": " + endpoint.error().message +
          "; examples: 10.1.2.3:443, udp://[::1]:53, example.org:443, unix:/run/x.sock");
    }
    transport = endpoint->transport;
    port = endpoint->port;
    explained.decision = policy::DecideNetwork(policy, operation, *endpoint, {});
  }
  if (!policy.network) {
    explained.decision = Decision{Verdict::kAllow, 0, Reason::kNotCovered, ""};
    explained.note = note;
  }
  AskLayers(policy, transport, right, port, explained);
  return explained;
}

Result<Explained> ExplainSyscall(const Policy& policy, const std::string& name) {
  if (!policy::IsSyscallName(name)) {
    const std::string_view nearest = policy::NearestSyscallName(name);
    return BadUsage("--syscall " + name + ": no such system call" +
                    (nearest.empty() ? "" : "; did you mean " + std::string(nearest) + "?"));
  }
  Explained explained;
  explained.subject = "system call " + name;
  explained.decision = policy::DecideSyscall(policy, name);
  const auto mount_api = policy::MountApiSyscalls();
  if (std::find(mount_api.begin(), mount_api.end(), name) != mount_api.end()) {
    explained.decision = Decision{Verdict::kDeny, EPERM, Reason::kProtected, ""};
    explained.note = "every policy denies the mount API: masks, launcher and plan stay mounted";
    if (name == "setns")
      explained.note += "; setns is denied for mount namespaces and for an unnamed kind only";
  } else if (explained.decision.verdict == Verdict::kAllow && policy.network &&
             name == "io_uring_setup") {
    explained.decision = Decision{Verdict::kDeny, EPERM, Reason::kUnsupported, "/network"};
    explained.note = "a network section denies io_uring, which opens sockets past any filter";
  } else if (explained.decision.verdict == Verdict::kAllow) {
    explained.note =
        "by its name; a filter may still deny some arguments (policy compile lists them)";
  }
  return explained;
}

Result<Explained> ExplainCapability(const Policy& policy, const std::string& given) {
  std::string name = given;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  if (!name.starts_with("CAP_")) name = "CAP_" + name;
  const std::optional<int> number = CapabilityNumber(name);
  if (!number) return BadUsage("--capability " + given + ": no such capability");
  Explained explained;
  explained.subject = "capability " + name;
  explained.decision = policy::DecideCapability(policy, *number);
  if (explained.decision.verdict == Verdict::kAllow)
    explained.note = "kept where the engine gave it; a policy never adds one";
  return explained;
}

}  // namespace

Result<Explained> Explain(const Policy& merged, const Question& question) {
  std::vector<policy::Origin> origins;
  const Policy policy = Numbered(merged, origins);
  Result<Explained> explained = BadUsage("nothing was asked");
  if (question.path) explained = ExplainPath(policy, question);
  if (question.connect)
    explained = ExplainNetwork(policy, policy::Operation::kConnect, *question.connect);
  if (question.bind) explained = ExplainNetwork(policy, policy::Operation::kBind, *question.bind);
  if (question.syscall) explained = ExplainSyscall(policy, *question.syscall);
  if (question.capability) explained = ExplainCapability(policy, *question.capability);
  if (!explained) return Forward(explained);
  policy::Origin origin = OriginOf(policy, origins, explained->decision.rule);
  explained->decision.rule = origin.pointer;
  explained->rule_file = std::move(origin.file);
  return explained;
}

}  // namespace landgate::ctl
