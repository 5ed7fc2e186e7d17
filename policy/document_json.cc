#include "policy/document_json.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/document_decoder.h"
#include "policy/landlock_config_json.h"
#include "policy/nearest.h"
#include "policy/syscall_table.h"

namespace landgate::policy {
namespace {

constexpr int64_t kVersion = 1;
constexpr int64_t kHighestMinAbi = 1000;  // no kernel has it; a bound against slips
constexpr size_t kLongestDescription = 4096;
constexpr size_t kMostExtends = 32;
constexpr size_t kMostLandlockLayers =
    14;  // the kernel takes 16 a process; one is the policy's own

bool IsPolicyName(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 128 || !alphanumeric(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace

void Decoder::Version(const JsonCursor& root) {
  if (!root.Has("landgate")) {
    Reject(root, "\"landgate\": 1 is missing: it says which version of the format this is");
    return;
  }
  const JsonCursor version = root.At("landgate");
  const Result<uint64_t> number = version.Unsigned();
  if (!number || *number != kVersion) {
    Reject(version, "not a version that this build reads; it reads version 1");
  }
}

void Decoder::Extends(const JsonCursor& list) {
  for (const JsonCursor& item : Take(list.Items(kMostExtends))) {
    std::string name = Take(item.String());
    if (!IsPolicyName(name)) {
      Reject(item, Quoted(name) +
                       " is no name of a policy: letters, digits, '.', '_' and '-', at "
                       "most 128, without directory and without .json");
    }
    policy_.extends.push_back(std::move(name));
  }
}

void Decoder::Compatibility(const JsonCursor& section) {
  if (!Check(section.OnlyOf(keys::kCompatibility))) return;
  if (section.Has("landlock")) {
    policy_.landlock_given = Choose(section.At("landlock"), keys::kLandlockUse);
    policy_.landlock = *policy_.landlock_given;
  }
  if (section.Has("minAbi")) {
    policy_.min_abi = static_cast<int>(Take(section.At("minAbi").Integer(1, kHighestMinAbi)));
  }
}

void Decoder::CapabilitySection(const JsonCursor& section) {
  Capabilities& capabilities = policy_.capabilities.emplace();
  capabilities.origin = OriginOf(section);
  if (!Check(section.OnlyOf(keys::kCapabilities))) return;
  if (section.Has("keep")) capabilities.keep = CapabilitiesOf(section.At("keep"));
  if (section.Has("ask")) {
    capabilities.ask = CapabilitiesOf(section.At("ask"));
    if (capabilities.ask == 0) Reject(section.At("ask"), "an empty list; name a capability");
  }
  if (section.Has("emulate")) Emulate(section.At("emulate"));
}

void Decoder::Emulate(const JsonCursor& section) {
  if (!Check(section.IsObject())) return;
  if (section.Keys().empty()) Reject(section, "empty; name a system call to emulate");
  for (const std::string& syscall : section.Keys()) {
    const JsonCursor entry = section.At(syscall);
    const auto* known = std::find_if(
        std::begin(keys::kEmulations), std::end(keys::kEmulations),
        [&](const keys::EmulationKeys& emulation) { return emulation.syscall == syscall; });
    if (known == std::end(keys::kEmulations)) {
      std::vector<std::string_view> names;
      for (const keys::EmulationKeys& emulation : keys::kEmulations) {
        names.push_back(emulation.syscall);
      }
      Reject(entry, OneOf(syscall, names));
      continue;
    }
    if (!Check(entry.OnlyOf(known->known))) continue;
    if (!known->mandatory.empty() && !entry.Has(known->mandatory)) {
      Reject(entry, "needs a list \"" + std::string(known->mandatory) + "\"");
      continue;
    }
    Emulation emulation;
    emulation.syscall = syscall;
    if (entry.Has("types")) emulation.types = Names(entry.At("types"), "file system type");
    if (entry.Has("options")) emulation.options = Names(entry.At("options"), "mount option");
    if (entry.Has("names")) emulation.names = Names(entry.At("names"), "attribute name");
    if (entry.Has("devices")) {
      emulation.devices = Names(entry.At("devices"), "device");
      for (const JsonCursor& item : Take(entry.At("devices").Items())) {
        const std::string problem = PathProblem(Take(item.String()));
        if (!problem.empty()) Reject(item, problem);
      }
    }
    if (entry.Has("policies")) {
      emulation.policies = Names(entry.At("policies"), "scheduling policy");
      for (const JsonCursor& item : Take(entry.At("policies").Items())) {
        const std::string word = Take(item.String());
        if (std::find(std::begin(keys::kSchedulers), std::end(keys::kSchedulers), word) ==
            std::end(keys::kSchedulers)) {
          Reject(item, OneOf(word, keys::kSchedulers));
        }
      }
    }
    if (entry.Has("maxPriority")) {
      emulation.max_priority = static_cast<int>(Take(entry.At("maxPriority").Integer(0, 99)));
    }
    policy_.capabilities->emulate.push_back(std::move(emulation));
  }
}

void Decoder::Syscalls(const JsonCursor& section) {
  if (!Check(section.OnlyOf(keys::kSyscalls)) || !section.Has("deny")) return;
  for (const JsonCursor& item : Take(section.At("deny").Items())) {
    std::string name = Take(item.String());
    if (!IsSyscallName(name)) {
      Reject(item, "unknown system call " + Quoted(name) + DidYouMean(NearestSyscallName(name)));
    }
    policy_.denied_syscalls.push_back(std::move(name));
  }
  std::sort(policy_.denied_syscalls.begin(), policy_.denied_syscalls.end());
  policy_.denied_syscalls.erase(
      std::unique(policy_.denied_syscalls.begin(), policy_.denied_syscalls.end()),
      policy_.denied_syscalls.end());
}

void Decoder::Scopes(const JsonCursor& list) {
  policy_.scopes = 0;
  for (const JsonCursor& item : Take(list.Items())) *policy_.scopes |= Choose(item, keys::kScopes);
}

void Decoder::LandlockLayers(const JsonCursor& list) {
  for (const JsonCursor& item : Take(list.Items(kMostLandlockLayers))) {
    LandlockConfig config = Take(DecodeLandlockConfig(item));
    config.origin = OriginOf(item);
    policy_.landlock_layers.push_back(std::move(config));
  }
}

void Decoder::ApprovalSection(const JsonCursor& section) {
  Approval& approval = policy_.approval.emplace();
  if (!Check(section.OnlyOf(keys::kApproval))) return;
  if (section.Has("timeout")) approval.timeout = Duration(section.At("timeout"));
  if (section.Has("rate")) {
    approval.rate = Take(section.At("rate").Number(0, 1e6));
    if (approval.rate == 0) Reject(section.At("rate"), "must be more than 0 questions a second");
  }
  if (section.Has("burst")) {
    approval.burst = static_cast<int>(Take(section.At("burst").Integer(1, 1000000)));
  }
}

// An annotation is written by whoever starts the container. It may take away from what the
// administrator gave, and nothing in it may weaken, ask on somebody's behalf, or name other
// documents.
void Decoder::CheckInline(const JsonCursor& root) {
  constexpr std::string_view kOnlyTakesAway = "an inline policy may only take away: ";
  const auto refuse = [&](const JsonCursor& where, std::string_view message) {
    Reject(where, std::string(kOnlyTakesAway) + std::string(message));
  };
  for (std::string_view key : {"extends", "compatibility", "selfRestrict", "approval"}) {
    if (root.Has(key)) {
      refuse(root.At(key), "\"" + std::string(key) +
                               "\" stands only in a policy of the administrator's directories");
    }
  }
  for (std::string_view key : {"paths", "network"}) {
    if (!root.Has(key)) continue;
    for (const JsonCursor& rule : Take(root.At(key).Items())) {
      if (rule.Has("ask")) refuse(rule.At("ask"), "say allow or deny");
    }
  }
  if (root.Has("capabilities")) {
    const JsonCursor capabilities = root.At("capabilities");
    for (std::string_view key : {"ask", "emulate"}) {
      if (capabilities.Has(key)) refuse(capabilities.At(key), "only \"keep\" is possible here");
    }
  }
  if (policy_.exec_sessions == ExecSessions::kUnconfined) {
    refuse(root.At("execSessions"), "say confined or refused");
  }
}

Result<Policy> Decoder::Decode(const JsonCursor& root, std::string_view name) {
  policy_.name = name;
  policy_.file = root.file();
  if (!Check(root.IsObject())) return Failure(*failure_);
  Version(root);
  if (!failure_) (void)Check(root.OnlyOf(keys::kPolicy));
  if (failure_) return Failure(*failure_);

  for (const std::string& key : root.Keys()) policy_.origins[key] = OriginOf(root.At(key));

  const auto section = [&root](std::string_view key) { return root.At(key); };
  if (root.Has("description")) {
    policy_.description = Take(section("description").String(kLongestDescription));
  }
  if (root.Has("extends")) Extends(section("extends"));
  if (root.Has("compatibility")) Compatibility(section("compatibility"));
  if (root.Has("paths")) {
    policy_.paths.emplace();
    for (const JsonCursor& rule : Take(section("paths").Items())) Path(rule);
  }
  if (root.Has("network")) {
    policy_.network.emplace();
    for (const JsonCursor& rule : Take(section("network").Items())) Network(rule);
  }
  if (root.Has("capabilities")) CapabilitySection(section("capabilities"));
  if (root.Has("syscalls")) Syscalls(section("syscalls"));
  if (root.Has("scopes")) Scopes(section("scopes"));
  if (root.Has("selfRestrict")) {
    policy_.self_restrict_allowed = Choose(section("selfRestrict"), keys::kSelfRestrict);
  }
  if (root.Has("landlock")) LandlockLayers(section("landlock"));
  if (root.Has("execSessions")) {
    policy_.exec_sessions = Choose(section("execSessions"), keys::kExecSessions);
  }
  if (root.Has("onViolation")) {
    policy_.on_violation = Choose(section("onViolation"), keys::kOnViolation);
  }
  if (root.Has("approval")) ApprovalSection(section("approval"));
  if (is_inline_ && !failure_) CheckInline(root);
  if (failure_) return Failure(*failure_);
  return std::move(policy_);
}

Result<Policy> DecodePolicy(std::string_view text, std::string_view name, std::string_view file) {
  const Result<Json> json = ParseJson(text, file, Comments::kAllowed);
  if (!json) return Failure(json.error());
  return DecodePolicy(JsonCursor(*json, std::string(file)), name);
}

Result<Policy> DecodePolicy(const JsonCursor& root, std::string_view name) {
  return Decoder(/*is_inline=*/false).Decode(root, name);
}

Result<Policy> DecodeInlinePolicy(std::string_view text, std::string_view annotation) {
  const std::string file = "annotation " + std::string(annotation);
  const Result<Json> json = ParseJson(text, file, Comments::kAllowed);
  if (!json) return Failure(json.error());
  return Decoder(/*is_inline=*/true).Decode(JsonCursor(*json, file), "inline");
}

}  // namespace landgate::policy
