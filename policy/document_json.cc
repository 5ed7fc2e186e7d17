#include "policy/document_json.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/paths.h"
#include "policy/destination.h"
#include "policy/document_keys.h"
#include "policy/glob.h"
#include "policy/json_reader.h"
#include "policy/landlock_config_json.h"
#include "policy/nearest.h"
#include "policy/syscall_table.h"

namespace landgate::policy {
namespace {

constexpr int64_t kVersion = 1;
constexpr int64_t kHighestMinAbi = 1000;  // no kernel has it; a bound against slips
constexpr size_t kLongestDescription = 4096;
constexpr size_t kLongestPath = 4096;
constexpr size_t kLongestName = 1024;
constexpr size_t kMostExtends = 32;
constexpr size_t kMostLandlockLayers =
    14;  // the kernel takes 16 a process; one is the policy's own
constexpr std::chrono::milliseconds kLongestDuration = std::chrono::hours(24);

// Decodes one document. Accessors remember the first failure and go on with an empty value, so that
// the body reads like the document; whatever was decoded after a failure is thrown away.
class Decoder {
 public:
  explicit Decoder(bool is_inline) : is_inline_(is_inline) {}

  Result<Policy> Decode(const JsonCursor& root, std::string_view name);

 private:
  // --- remembering the first failure
  void Note(Error error) {
    if (!failure_) failure_ = std::move(error);
  }
  void Reject(const JsonCursor& where, std::string_view message) {
    Note(where.Fail(message).value());
  }
  bool Check(Status status) {
    if (status) return true;
    Note(std::move(status).error());
    return false;
  }
  template <class T>
  T Take(Result<T> result) {
    if (result) return std::move(*result);
    Note(std::move(result).error());
    return T{};
  }

  // --- values
  bool Flag(const JsonCursor& object, std::string_view key) {
    return object.Has(key) && Take(object.At(key).Bool());
  }
  // A list that must not be empty, of strings.
  std::vector<std::string> Names(const JsonCursor& list, std::string_view what);
  template <class T, size_t N>
  T Choose(const JsonCursor& cursor, const keys::Choice<T> (&choices)[N]);
  std::chrono::milliseconds Duration(const JsonCursor& cursor);
  Rights RightsOf(const JsonCursor& list, bool* names_unix);
  CapabilitySet CapabilitiesOf(const JsonCursor& list);
  // The rule's effect, and where its list stands. False where none or several are given.
  bool EffectOf(const JsonCursor& rule, Effect* effect, std::string_view* key);

  // --- sections, one each
  void Version(const JsonCursor& root);
  void Extends(const JsonCursor& list);
  void Compatibility(const JsonCursor& section);
  void Path(const JsonCursor& rule);
  void Target(const JsonCursor& path, PathKind kind, PathRule& into);
  void Verify(const JsonCursor& section, PathRule& into);
  void CheckOptions(const JsonCursor& rule, const PathRule& decoded);
  void Network(const JsonCursor& rule);
  void CapabilitySection(const JsonCursor& section);
  void Emulate(const JsonCursor& section);
  void Syscalls(const JsonCursor& section);
  void Scopes(const JsonCursor& list);
  void LandlockLayers(const JsonCursor& list);
  void ApprovalSection(const JsonCursor& section);
  void CheckInline(const JsonCursor& root);

  const bool is_inline_;
  Policy policy_;
  std::optional<Error> failure_;
};

Origin OriginOf(const JsonCursor& cursor) { return {cursor.file(), cursor.pointer()}; }

template <class T, size_t N>
std::vector<std::string_view> WordsOf(const keys::Choice<T> (&choices)[N]) {
  std::vector<std::string_view> words;
  for (const keys::Choice<T>& choice : choices) words.push_back(choice.word);
  return words;
}

std::string OneOf(std::string_view word, keys::Words words) {
  std::string text = Quoted(word) + " is none of:";
  for (std::string_view known : words) text += " " + std::string(known);
  return text + DidYouMean(Nearest(word, words));
}

template <class T, size_t N>
T Decoder::Choose(const JsonCursor& cursor, const keys::Choice<T> (&choices)[N]) {
  const Result<std::string> word = cursor.String();
  if (!word) {
    Note(word.error());
    return T{};
  }
  for (const keys::Choice<T>& choice : choices) {
    if (choice.word == *word) return choice.value;
  }
  Reject(cursor, OneOf(*word, WordsOf(choices)));
  return T{};
}

std::vector<std::string> Decoder::Names(const JsonCursor& list, std::string_view what) {
  std::vector<std::string> names;
  const auto items = Take(list.Items());
  if (items.empty()) Reject(list, "an empty list; name at least one " + std::string(what));
  for (const JsonCursor& item : items) {
    names.push_back(Take(item.String(kLongestName)));
    if (names.back().empty()) Reject(item, "an empty string; expected a " + std::string(what));
  }
  return names;
}

// "250ms", "30s", "5m".
std::chrono::milliseconds Decoder::Duration(const JsonCursor& cursor) {
  constexpr std::string_view kExpected = "expected a duration such as \"250ms\", \"30s\" or \"5m\"";
  const std::string text = Take(cursor.String(32));
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view unit = std::string_view(text).substr(digits);
  const int64_t factor = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60000 : 0;
  if (digits == 0 || digits > 9 || factor == 0) {
    Reject(cursor, kExpected);
    return {};
  }
  int64_t number = 0;
  for (char c : text.substr(0, digits)) number = number * 10 + (c - '0');
  const std::chrono::milliseconds duration(number * factor);
  if (duration <= std::chrono::milliseconds(0) || duration > kLongestDuration) {
    Reject(cursor, "out of range: a duration is more than 0 and at most 1440m");
  }
  return duration;
}

Rights Decoder::RightsOf(const JsonCursor& list, bool* names_unix) {
  Rights rights = 0;
  const auto items = Take(list.Items());
  if (items.empty()) Reject(list, "an empty list; name at least one right");
  for (const JsonCursor& item : items) {
    if (item.value().is_number()) {
      const Rights mask = Take(item.Unsigned());
      if (mask == 0) Reject(item, "a bit mask of rights is a positive integer");
      *names_unix = *names_unix || (mask & kUnix) != 0;
      rights |= mask;
      continue;
    }
    const std::string name = Take(item.String());
    const std::optional<Rights> named = RightsByName(name);
    if (!named) {
      const std::string_view nearest = Nearest(name, RightSpellings());
      Reject(item, "unknown right " + Quoted(name) +
                       (nearest.empty() ? "; expected a group (read, execute, write, create, "
                                          "remove, modify, device, ioctl, unix, all), a Landlock "
                                          "name such as read_file, or the bit mask as a number"
                                        : DidYouMean(nearest)));
      continue;
    }
    *names_unix = *names_unix || *named == kUnix;
    rights |= *named;
  }
  return rights;
}

// NET_BIND is CAP_NET_BIND_SERVICE, however many letters are missing.
std::string_view OnlyOneThatBeginsWith(std::string_view start,
                                       std::span<const std::string_view> names) {
  std::string_view found;
  for (std::string_view name : names) {
    if (!name.starts_with(start)) continue;
    if (!found.empty()) return "";
    found = name;
  }
  return found;
}

CapabilitySet Decoder::CapabilitiesOf(const JsonCursor& list) {
  static const std::vector<std::string> all = CapabilityNames(kAllCapabilities);
  static const std::vector<std::string_view> known(all.begin(), all.end());
  CapabilitySet set = 0;
  for (const JsonCursor& item : Take(list.Items())) {
    const std::string name = Take(item.String());
    if (const std::optional<int> number = CapabilityNumber(name)) {
      set |= CapabilitySet{1} << *number;
      continue;
    }
    std::string_view nearest = OnlyOneThatBeginsWith("CAP_" + name, known);
    if (nearest.empty()) nearest = Nearest("CAP_" + name, known);
    if (nearest.empty()) nearest = Nearest(name, known);
    Reject(item, "unknown capability " + Quoted(name) + DidYouMean(nearest));
  }
  return set;
}

bool Decoder::EffectOf(const JsonCursor& rule, Effect* effect, std::string_view* key) {
  int given = 0;
  for (const keys::Choice<Effect>& choice : keys::kEffects) {
    if (!rule.Has(choice.word)) continue;
    ++given;
    *effect = choice.value;
    *key = choice.word;
  }
  if (given != 1) {
    Reject(rule, given == 0
                     ? "a rule needs one of allow, deny, ask"
                     : "a rule takes exactly one of allow, deny, ask; make it several rules");
  }
  return given == 1;
}

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

bool IsPolicyName(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 128 || !alphanumeric(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
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

// Why a path can't stand in a policy; empty where it can.
std::string PathProblem(const std::string& path) {
  if (path.empty()) return "an empty path";
  if (path.front() != '/') {
    return Quoted(path) + " is relative; paths are those of the container and begin with /";
  }
  if (IsCleanAbsolute(path)) return "";
  for (std::string_view part : Components(path)) {
    if (part == "..") {
      return Quoted(path) + " contains \"..\"; write the path that is meant";
    }
  }
  return Quoted(path) + " is not in its shortest form; write " + Quoted(Clean(path));
}

void Decoder::Target(const JsonCursor& path, PathKind kind, PathRule& into) {
  std::string text = Take(path.String(kLongestPath));
  if (kind == PathKind::kGlob) {
    if (const Status status = CheckGlob(text); !status) {
      Reject(path, status.error().message);
      return;
    }
  } else if (const std::string problem = PathProblem(text); !problem.empty()) {
    Reject(path, problem);
    return;
  } else if (kind == PathKind::kFile && text == "/") {
    Reject(path, "\"/\" is a directory; say beneath");
    return;
  }
  into.targets.push_back({kind, std::move(text)});
}

void Decoder::Verify(const JsonCursor& section, PathRule& into) {
  if (!Check(section.OnlyOf(keys::kVerify))) return;
  if (!section.Has("sha256")) {
    Reject(section, "verify needs a list \"sha256\"");
    return;
  }
  const JsonCursor list = section.At("sha256");
  const auto items = Take(list.Items());
  if (items.empty()) Reject(list, "an empty list; name at least one SHA-256");
  for (const JsonCursor& item : items) {
    std::string digest = Take(item.String());
    for (char& c : digest) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
      Reject(item, "expected the 64 hexadecimal digits of a SHA-256");
    }
    into.verify_sha256.push_back(std::move(digest));
  }
}

bool HasKind(const PathRule& rule, PathKind kind) {
  return std::any_of(rule.targets.begin(), rule.targets.end(),
                     [kind](const PathTarget& target) { return target.kind == kind; });
}

// Options that would mean nothing where they stand are errors: whoever wrote them relies on them.
void Decoder::CheckOptions(const JsonCursor& rule, const PathRule& decoded) {
  const bool allow = decoded.effect == Effect::kAllow, deny = decoded.effect == Effect::kDeny;
  if (allow && HasKind(decoded, PathKind::kGlob)) {
    Reject(rule.At("glob"),
           "allow takes no globs: what they match changes with every new file; allow the "
           "directory with beneath");
  }
  if (rule.Has("required") && !allow) {
    Reject(rule.At("required"),
           "only an allow rule takes it: it says that the container's user must be able to reach "
           "the path");
  }
  if (rule.Has("runtime") && allow) {
    Reject(rule.At("runtime"), "only deny and ask take it; allow beneath covers new files anyway");
  }
  if (rule.Has("hardlinks") && !deny) Reject(rule.At("hardlinks"), "only a deny rule takes it");
  if (rule.Has("mask")) {
    const JsonCursor mask = rule.At("mask");
    constexpr Rights kWholeObject = kAll & ~kUnix;
    if (!deny || HasKind(decoded, PathKind::kBeneath) || decoded.runtime ||
        (decoded.rights & kWholeObject) != kWholeObject) {
      Reject(mask,
             "only a rule that denies all on files takes it (deny [\"all\"] with file or "
             "glob, without runtime)");
    }
  }
  if (rule.Has("verify")) {
    if (!allow || HasKind(decoded, PathKind::kBeneath) || (decoded.rights & ~kRead) != 0) {
      Reject(rule.At("verify"),
             "only a rule that allows reading of files takes it (allow "
             "[\"read\"] with file)");
    }
  }
}

void Decoder::Path(const JsonCursor& rule) {
  PathRule decoded;
  std::string_view effect_key;
  if (!Check(rule.OnlyOf(keys::kPathRule)) || !EffectOf(rule, &decoded.effect, &effect_key)) return;
  decoded.origin = OriginOf(rule);
  decoded.rights = RightsOf(rule.At(effect_key), &decoded.names_unix);
  for (const keys::Choice<PathKind>& kind : keys::kTargets) {
    if (!rule.Has(kind.word)) continue;
    const JsonCursor list = rule.At(kind.word);
    const auto items = Take(list.Items());
    if (items.empty()) Reject(list, "an empty list; name at least one path");
    for (const JsonCursor& item : items) Target(item, kind.value, decoded);
  }
  if (!rule.Has("beneath") && !rule.Has("file") && !rule.Has("glob")) {
    Reject(rule, decoded.effect == Effect::kAllow
                     ? "a rule needs at least one of beneath, file"
                     : "a rule needs at least one of beneath, file, glob");
  }
  decoded.optional = Flag(rule, "optional");
  decoded.required = Flag(rule, "required");
  decoded.runtime = Flag(rule, "runtime");
  decoded.final = Flag(rule, "final");
  if (rule.Has("hardlinks")) {
    decoded.accept_hardlinks = Choose(rule.At("hardlinks"), keys::kHardlinks);
  }
  if (rule.Has("mask")) decoded.mask = Choose(rule.At("mask"), keys::kMask);
  if (rule.Has("verify")) Verify(rule.At("verify"), decoded);
  CheckOptions(rule, decoded);
  policy_.paths->push_back(std::move(decoded));
}

void Decoder::Network(const JsonCursor& rule) {
  NetworkRule decoded;
  std::string_view effect_key;
  if (!Check(rule.OnlyOf(keys::kNetworkRule)) || !EffectOf(rule, &decoded.effect, &effect_key))
    return;
  decoded.origin = OriginOf(rule);
  const JsonCursor operations = rule.At(effect_key);
  const auto items = Take(operations.Items());
  if (items.empty()) Reject(operations, "an empty list; say connect, bind, or both");
  for (const JsonCursor& item : items) {
    const std::string word = Take(item.String());
    decoded.connect = decoded.connect || word == "connect";
    decoded.bind = decoded.bind || word == "bind";
    if (std::find(std::begin(keys::kOperations), std::end(keys::kOperations), word) ==
        std::end(keys::kOperations)) {
      Reject(item, OneOf(word, keys::kOperations));
    }
  }
  if (!rule.Has("to")) {
    Reject(rule, "a network rule needs a list \"to\"");
    return;
  }
  const JsonCursor to = rule.At("to");
  const auto destinations = Take(to.Items());
  if (destinations.empty()) Reject(to, "an empty list; name at least one destination");
  for (const JsonCursor& item : destinations) {
    const Result<std::string> text = item.String(kLongestPath);
    if (!text) {
      Note(text.error());
      continue;
    }
    Result<Destination> destination = ParseDestination(*text);
    if (!destination) {
      Reject(item, destination.error().message);
      continue;
    }
    for (const Operation operation : {Operation::kConnect, Operation::kBind}) {
      if (!(operation == Operation::kConnect ? decoded.connect : decoded.bind)) continue;
      if (const Status fits = CheckDestinationFor(operation, *destination); !fits) {
        Reject(item, fits.error().message);
      }
    }
    decoded.to.push_back(std::move(*destination));
  }
  decoded.optional = Flag(rule, "optional");
  decoded.final = Flag(rule, "final");
  policy_.network->push_back(std::move(decoded));
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

}  // namespace

Result<Policy> DecodePolicy(std::string_view text, std::string_view name, std::string_view file) {
  const Result<Json> json = ParseJson(text, file, Comments::kAllowed);
  if (!json) return Failure(json.error());
  return Decoder(/*is_inline=*/false).Decode(JsonCursor(*json, std::string(file)), name);
}

Result<Policy> DecodeInlinePolicy(std::string_view text, std::string_view annotation) {
  const std::string file = "annotation " + std::string(annotation);
  const Result<Json> json = ParseJson(text, file, Comments::kAllowed);
  if (!json) return Failure(json.error());
  return Decoder(/*is_inline=*/true).Decode(JsonCursor(*json, file), "inline");
}

}  // namespace landgate::policy
