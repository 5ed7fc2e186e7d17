#include "policy/supported.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/paths.h"
#include "policy/decide_path.h"
#include "policy/network_floor.h"
#include "policy/syscall_table.h"

namespace landgate::policy {
namespace {

// --- What this build refuses, because what would enforce it doesn't exist yet. To lift a refusal,
// --- take its line out.

struct UnsupportedKey {
  std::string_view key;    // top level
  std::string_view below;  // rest of the JSON pointer
  bool (*used)(const Policy&);
  std::string_view what;  // and the way out
};
constexpr UnsupportedKey kUnsupportedKeys[] = {
    {"capabilities", "/ask",
     [](const Policy& policy) { return policy.capabilities && policy.capabilities->ask != 0; },
     "nobody can be asked about capabilities; keep the capability or leave it out"},
    {"capabilities", "/emulate",
     [](const Policy& policy) {
       return policy.capabilities && !policy.capabilities->emulate.empty();
     },
     "landgate-agent emulates no system calls; keep the capability or do without"},
    {"selfRestrict", "",
     [](const Policy& policy) { return policy.self_restrict_allowed.has_value(); },
     "it is about what an agent that opens files grants; leave it out, programs may always "
     "restrict themselves further"},
    {"onViolation", "",
     [](const Policy& policy) {
       return policy.on_violation.value_or(OnViolation::kErrno) != OnViolation::kErrno;
     },
     "a denial can only answer an errno, not stop, freeze or kill; say \"errno\""},
    {"approval", "", [](const Policy& policy) { return policy.approval.has_value(); },
     "nobody can be asked; leave it out"},
};

struct UnsupportedInRule {
  std::string_view below;
  bool (*used)(const PathRule&);
  std::string_view what;
};
constexpr UnsupportedInRule kUnsupportedInPathRules[] = {
    {"/ask", [](const PathRule& rule) { return rule.effect == Effect::kAsk; },
     "nobody can be asked; say allow or deny"},
    {"/runtime", [](const PathRule& rule) { return rule.runtime; },
     "a rule can't hold for names that appear later; name what exists at start, or leave the "
     "tree out of allow"},
    {"/verify", [](const PathRule& rule) { return !rule.verify_sha256.empty(); },
     "files are not verified when they are opened; allow the file without it, or deny it"},
};

constexpr std::string_view kNotInThisBuild = "not supported in this build: ";

// --- Consequences of rules that a user must know. Told once a policy, at the first rule concerned.

bool InKernelFileSystem(const PathTarget& target) {
  return IsAtOrBeneath(target.path, "/proc") || IsAtOrBeneath(target.path, "/sys");
}

// Denied by a mount that prestart places: everywhere but in /proc and /sys, whose objects the
// runtime itself masks.
bool IsMasked(const PathRule& rule) {
  return rule.effect == Effect::kDeny && !rule.runtime &&
         !std::all_of(rule.targets.begin(), rule.targets.end(), InKernelFileSystem);
}

bool DeniesAll(Rights rights) { return (rights & kHandledByDefault) == kHandledByDefault; }
bool DeniesModify(Rights rights) { return !DeniesAll(rights) && (rights & kModify) == kModify; }

bool HasTargetOf(const PathRule& rule, PathKind kind) {
  return std::any_of(rule.targets.begin(), rule.targets.end(),
                     [kind](const PathTarget& target) { return target.kind == kind; });
}

struct Consequence {
  bool (*applies)(const PathRule&);
  std::string_view what;
};
constexpr Consequence kConsequences[] = {
    {IsMasked,
     "holds for the object that is there when the container starts: who replaces it from outside "
     "the container (a volume written by the host or by another container, an editor that saves by "
     "rename, a rotated ConfigMap, a daemon that makes its socket anew) takes the mask off; what "
     "appears later under the name is not denied"},
    {IsMasked,
     "protects the object that the path reaches, not the symlinks on the way: where the workload "
     "may change one of those, other programs may be led elsewhere"},
    {[](const PathRule& rule) {
       return IsMasked(rule) && DeniesAll(rule.rights) && HasTargetOf(rule, PathKind::kBeneath);
     },
     "does not search for hard links that already lead out of the directory: a file with such a "
     "link stays reachable by its other name"},
    {[](const PathRule& rule) { return IsMasked(rule) && rule.accept_hardlinks; },
     "accepts hard links: the file stays reachable by its other names, as far as allow rules cover "
     "them"},
    {[](const PathRule& rule) { return IsMasked(rule) && DeniesModify(rule.rights); },
     "is a read-only mount: FIFOs, sockets and device nodes that exist there can still be written "
     "to"},
    {[](const PathRule& rule) { return IsMasked(rule) && HasTargetOf(rule, PathKind::kGlob); },
     "is expanded when the container starts: files that match but are made later are not denied"},
};

// --- The examination

// At most so many allow rules' targets are tried against all rules; it is advice, not enforcement.
constexpr size_t kMostTried = 256;

class Examination {
 public:
  explicit Examination(const Policy& policy) : policy_(policy) {}

  std::vector<Finding> Run() {
    Keys();
    LandlockOff();
    if (policy_.paths) Paths();
    if (policy_.network) Network();
    DeniedSyscalls();
    Sessions();
    return std::move(findings_);
  }

 private:
  void Add(Severity severity, Origin origin, std::string message) {
    findings_.push_back({severity, std::move(origin), std::move(message)});
  }
  void Refuse(Origin origin, std::string message) {
    Add(Severity::kRefusal, std::move(origin), std::move(message));
  }
  void Warn(Origin origin, std::string message) {
    Add(Severity::kWarning, std::move(origin), std::move(message));
  }

  // Of a top-level key; made up from the policy's file where the policy was not decoded from JSON.
  Origin OriginOfKey(std::string_view key, std::string_view below = "") const {
    const auto found = policy_.origins.find(std::string(key));
    Origin origin = found != policy_.origins.end() ? found->second
                                                   : Origin{policy_.file, "/" + std::string(key)};
    origin.pointer += below;
    return origin;
  }
  static Origin Below(Origin origin, std::string_view below) {
    origin.pointer += below;
    return origin;
  }

  void Keys() {
    for (const UnsupportedKey& key : kUnsupportedKeys) {
      if (!key.used(policy_)) continue;
      Refuse(OriginOfKey(key.key, key.below), std::string(kNotInThisBuild) + std::string(key.what));
    }
  }

  void LandlockOff() {
    if (policy_.landlock != LandlockUse::kOff) return;
    struct Section {
      std::string_view key;
      bool present;
    };
    const Section sections[] = {{"paths", policy_.paths.has_value()},
                                {"network", policy_.network.has_value()},
                                {"scopes", policy_.scopes.value_or(0) != 0},
                                {"landlock", !policy_.landlock_layers.empty()}};
    for (const Section& section : sections) {
      if (!section.present) continue;
      Refuse(OriginOfKey(section.key),
             "is held by Landlock, and compatibility.landlock is \"off\"; say \"required\" or "
             "\"best-effort\", or leave the section out");
    }
    Warn(
        OriginOfKey("compatibility", "/landlock"),
        "without Landlock nothing keeps the workload from tracing processes that are not confined");
  }

  void Paths() {
    for (const PathRule& rule : *policy_.paths) {
      for (const UnsupportedInRule& entry : kUnsupportedInPathRules) {
        if (!entry.used(rule)) continue;
        Refuse(Below(rule.origin, entry.below),
               std::string(kNotInThisBuild) + std::string(entry.what));
      }
      if (rule.effect == Effect::kAsk && (rule.rights & kExecute)) {
        Refuse(Below(rule.origin, "/ask"),
               "execution can't be asked for: the kernel opens the program itself and no agent can "
               "hand it over; say allow or deny for execute");
      }
      StaticDenyRights(rule);
    }
    for (const Consequence& consequence : kConsequences) {
      const PathRule* first = nullptr;
      size_t count = 0;
      for (const PathRule& rule : *policy_.paths) {
        if (!consequence.applies(rule) || rule.is_protected) continue;
        if (first == nullptr) first = &rule;
        ++count;
      }
      if (first == nullptr) continue;
      Warn(first->origin, "this deny " + std::string(consequence.what) +
                              (count > 1 ? " (so do " + std::to_string(count - 1) + " more)" : ""));
    }
    Execution();
  }

  // A mount takes away everything, writing, or execution, and nothing finer.
  void StaticDenyRights(const PathRule& rule) {
    if (rule.effect != Effect::kDeny || rule.runtime || DeniesAll(rule.rights)) return;
    if (rule.rights == kModify || rule.rights == kExecute || rule.rights == (kModify | kExecute)) {
      return;
    }
    Refuse(Below(rule.origin, "/deny"),
           "a deny takes all, or modify and execute singly or together, but not " +
               DescribeRights(rule.rights) +
               ": finer rights inside an allowed tree need \"runtime\": true, which is not "
               "supported in this build; deny more, or allow less around it");
  }

  void Execution() {
    const bool any =
        std::any_of(policy_.paths->begin(), policy_.paths->end(), [](const PathRule& rule) {
          return rule.effect == Effect::kAllow && (rule.rights & kExecute);
        });
    if (!any) {
      Warn(OriginOfKey("paths"),
           "no rule allows execute, so nothing can start in the container; allow [\"read\", "
           "\"execute\"] where its programs and libraries lie");
      return;
    }
    const PathRules rules(policy_);
    size_t tried = 0;
    for (const ResolvedTarget& target : rules.targets()) {
      const bool candidate =
          target.kind != PathKind::kGlob &&
          (target.rule->effect == Effect::kAsk
               ? (target.rule->rights & abi::kFsReadFile) != 0
               : target.rule->effect == Effect::kAllow && (target.rule->rights & kExecute) != 0);
      if (!candidate || ++tried > kMostTried) continue;
      if (rules.Decide(target.path, kExecute).verdict != Verdict::kAllow) continue;
      const Decision read = rules.Decide(target.path, abi::kFsReadFile);
      if (read.verdict == Verdict::kAsk) {
        Refuse(target.rule->origin,
               "execution in " + target.path +
                   " can't work: execve needs reading from the kernel's own rules, and reading "
                   "there is asked for; allow read there, or deny execute there");
      } else if (read.verdict == Verdict::kDeny) {
        Warn(target.rule->origin,
             "execute without read: nothing in " + target.path +
                 " can be executed, because execve needs both; allow [\"read\", \"execute\"]");
      }
    }
  }

  void Network() {
    for (const NetworkRule& rule : *policy_.network) {
      if (rule.effect != Effect::kAsk) continue;
      Refuse(Below(rule.origin, "/ask"),
             std::string(kNotInThisBuild) + "nobody can be asked; say allow or deny");
    }
    const NetworkFloor floor = CompileNetworkFloor(policy_);
    for (const NetworkFloor::NeedsAgent& entry : floor.needs_agent) {
      if (IsOfAskRule(entry.origin)) continue;
      Refuse(entry.origin, std::string(kNotInThisBuild) + entry.why);
    }
    if (!floor.needs_agent.empty()) return;
    if (!floor.allow_listen) {
      Warn(OriginOfKey("network"),
           "no rule allows bind to \"*:0\", so listen(2) is denied for sockets of every family, "
           "and servers can't start; a network server needs bind to its ports and to \"*:0\"");
    }
    const bool connects = !floor.handle_connect || !floor.connect_ports.empty();
    if (connects) {
      Warn(OriginOfKey("network"),
           std::string("a network section refuses UDP sockets") +
               (floor.allow_unix ? "" : " and, without a rule for \"unix:*\", UNIX sockets") +
               ": names resolve through /etc/hosts or DNS over TCP only, and musl's getaddrinfo "
               "fails");
    }
  }

  // Said already, and better.
  bool IsOfAskRule(const Origin& origin) const {
    return std::any_of(policy_.network->begin(), policy_.network->end(),
                       [&](const NetworkRule& rule) {
                         return rule.effect == Effect::kAsk && origin.file == rule.origin.file &&
                                origin.pointer.starts_with(rule.origin.pointer + "/");
                       });
  }

  void DeniedSyscalls() {
    for (const std::string& name : policy_.denied_syscalls) {
      if (!IsIndispensable(name)) continue;
      Refuse(OriginOfKey("syscalls", "/deny"),
             "without " + name + " no program can start or end; take it out of the list");
    }
  }

  void Sessions() {
    if (policy_.exec_sessions == ExecSessions::kUnconfined) {
      Warn(OriginOfKey("execSessions"),
           "what is started by exec in the container runs outside every rule of this policy");
    }
    if (policy_.scopes.value_or(0) & abi::kScopeSignal) {
      Warn(OriginOfKey("scopes"),
           "with \"signal\" an exec session can't signal the main process, nor the other way "
           "round: exec … kill 1 fails");
    }
  }

  const Policy& policy_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> Examine(const Policy& policy) { return Examination(policy).Run(); }

Status CheckSupported(const Policy& policy) {
  for (const Finding& finding : Examine(policy)) {
    if (finding.severity != Severity::kRefusal) continue;
    return Refuse(finding.origin.file + ": " +
                  (finding.origin.pointer.empty() ? "" : finding.origin.pointer + ": ") +
                  finding.message);
  }
  return {};
}

}  // namespace landgate::policy
