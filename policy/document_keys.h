// Every key and every word of the policy format, version 1, as tables: the decoder reads by them,
// and a test holds policy.schema.json against them. What a key means stands in document.h and
// docs/policy.md. Pure.
#ifndef LANDGATE_POLICY_DOCUMENT_KEYS_H_
#define LANDGATE_POLICY_DOCUMENT_KEYS_H_

#include <span>
#include <string_view>

#include "policy/document.h"

namespace landgate::policy::keys {

using Words = std::span<const std::string_view>;

inline constexpr std::string_view kPolicy[] = {
    "landgate", "description",  "extends",     "compatibility", "paths",
    "network",  "capabilities", "syscalls",    "scopes",        "selfRestrict",
    "landlock", "execSessions", "onViolation", "approval"};
inline constexpr std::string_view kCompatibility[] = {"landlock", "minAbi"};
inline constexpr std::string_view kPathRule[] = {
    "allow",    "deny",    "ask",   "beneath",   "file", "glob",  "optional",
    "required", "runtime", "final", "hardlinks", "mask", "verify"};
inline constexpr std::string_view kVerify[] = {"sha256"};
inline constexpr std::string_view kNetworkRule[] = {"allow", "deny",     "ask",
                                                    "to",    "optional", "final"};
inline constexpr std::string_view kCapabilities[] = {"keep", "ask", "emulate"};
inline constexpr std::string_view kSyscalls[] = {"deny"};
inline constexpr std::string_view kApproval[] = {"timeout", "rate", "burst"};
inline constexpr std::string_view kOperations[] = {"connect", "bind"};

// capabilities.emulate: the system call, its keys, and the one that must be there.
struct EmulationKeys {
  std::string_view syscall;
  Words known;
  std::string_view mandatory;  // "" where every key may be absent
};
inline constexpr std::string_view kMountKeys[] = {"types", "options"};
inline constexpr std::string_view kMknodKeys[] = {"devices"};
inline constexpr std::string_view kSetxattrKeys[] = {"names"};
inline constexpr std::string_view kSchedulerKeys[] = {"policies", "maxPriority"};
inline constexpr Words kNoKeys;
inline constexpr EmulationKeys kEmulations[] = {
    {"mount", kMountKeys, "types"},       {"mknod", kMknodKeys, "devices"},
    {"setxattr", kSetxattrKeys, "names"}, {"sched_setscheduler", kSchedulerKeys, "policies"},
    {"sethostname", kNoKeys, ""},         {"sysinfo", kNoKeys, ""},
};
inline constexpr std::string_view kSchedulers[] = {"SCHED_OTHER", "SCHED_FIFO", "SCHED_RR",
                                                   "SCHED_BATCH", "SCHED_IDLE", "SCHED_DEADLINE"};

template <class T>
struct Choice {
  std::string_view word;
  T value;
};

inline constexpr Choice<LandlockUse> kLandlockUse[] = {{"required", LandlockUse::kRequired},
                                                       {"best-effort", LandlockUse::kBestEffort},
                                                       {"off", LandlockUse::kOff}};
inline constexpr Choice<ExecSessions> kExecSessions[] = {{"confined", ExecSessions::kConfined},
                                                         {"refused", ExecSessions::kRefused},
                                                         {"unconfined", ExecSessions::kUnconfined}};
inline constexpr Choice<OnViolation> kOnViolation[] = {{"errno", OnViolation::kErrno},
                                                       {"stop", OnViolation::kStop},
                                                       {"freeze", OnViolation::kFreeze},
                                                       {"kill", OnViolation::kKill}};
inline constexpr Choice<bool> kSelfRestrict[] = {{"refused", false}, {"allow", true}};
inline constexpr Choice<Mask> kMask[] = {{"null", Mask::kDevNull}, {"empty", Mask::kEmpty}};
inline constexpr Choice<bool> kHardlinks[] = {{"accept", true}};
inline constexpr Choice<Effect> kEffects[] = {
    {"allow", Effect::kAllow}, {"deny", Effect::kDeny}, {"ask", Effect::kAsk}};
inline constexpr Choice<PathKind> kTargets[] = {
    {"beneath", PathKind::kBeneath}, {"file", PathKind::kFile}, {"glob", PathKind::kGlob}};
inline constexpr Choice<uint64_t> kScopes[] = {{"signal", abi::kScopeSignal},
                                               {"abstract-unix", abi::kScopeAbstractUnix}};

}  // namespace landgate::policy::keys

#endif  // LANDGATE_POLICY_DOCUMENT_KEYS_H_
