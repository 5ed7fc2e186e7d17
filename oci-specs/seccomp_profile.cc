#include "oci-specs/seccomp_profile.h"

#include <algorithm>
#include <optional>

namespace landgate::oci {
namespace {

constexpr std::string_view kPointer = "/linux/seccomp";
constexpr std::string_view kAllow = "SCMP_ACT_ALLOW";
constexpr std::string_view kNotify = "SCMP_ACT_NOTIFY";

bool Contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// LOG lets the call run and logs it.
bool Allows(std::string_view action) { return action == kAllow || action == "SCMP_ACT_LOG"; }

std::string StringAt(const JsonNode& object, std::string_view key) {
  const JsonNode* value = object.Find(key);
  return value == nullptr ? "" : value->String();
}

// What ERRNO and TRACE answer; EPERM is the specification's default.
uint64_t ErrnoAt(const JsonNode& object, std::string_view key) {
  const JsonNode* value = object.Find(key);
  return value == nullptr ? 1 : value->Unsigned().value_or(1);
}

bool HasErrno(std::string_view action) {
  return action == "SCMP_ACT_ERRNO" || action == "SCMP_ACT_TRACE";
}

bool IsConditional(const JsonNode& entry) {
  const JsonNode* arguments = entry.Find("args");
  return arguments != nullptr && !arguments->children().empty();
}

bool Names(const JsonNode& entry, std::string_view name) {
  const JsonNode* names = entry.Find("names");
  return names != nullptr && std::any_of(names->children().begin(), names->children().end(),
                                         [name](const JsonNode& item) { return item.Is(name); });
}

// The mark of our entries: the first name once more at the end.
bool IsMarked(const JsonNode& entry) {
  const JsonNode* names = entry.Find("names");
  return names != nullptr && names->children().size() > 1 &&
         names->children().front().SameAs(names->children().back());
}

std::vector<std::string> MarkedNames(const JsonNode& entry) {
  std::vector<std::string> names;
  for (const JsonNode& item : entry.Find("names")->children()) names.push_back(item.String());
  names.pop_back();
  return names;
}

bool IsOurAllow(const JsonNode& entry) {
  if (!IsMarked(entry) || IsConditional(entry) || StringAt(entry, "action") != kAllow) return false;
  const std::vector<std::string> names = MarkedNames(entry);
  return std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return Contains(kLauncherSyscalls, name) || name == kExecRefusalSyscall;
  });
}

bool IsOurNotify(const JsonNode& entry) {
  return IsMarked(entry) && StringAt(entry, "action") == kNotify;
}

bool IsOurs(const JsonNode& entry) { return IsOurAllow(entry) || IsOurNotify(entry); }

JsonNode Entry(JsonText& document, std::vector<std::string> names, std::string_view action,
               bool marked, const JsonNode* arguments = nullptr) {
  if (marked) names.push_back(names.front());
  JsonNode entry = document.Object();
  document.Set(entry, "names", document.Strings(names));
  document.Set(entry, "action", document.String(action));
  if (arguments != nullptr) document.Set(entry, "args", *arguments);
  return entry;
}

// `syscalls`, made where it is absent or null.
JsonNode& Entries(JsonText& document, JsonNode& seccomp) {
  JsonNode* entries = seccomp.Find("syscalls");
  if (entries == nullptr || entries->IsNull()) {
    document.Set(seccomp, "syscalls", document.Array());
    entries = seccomp.Find("syscalls");
  }
  return *entries;
}

const std::vector<JsonNode>& EntriesOf(const JsonNode& seccomp) {
  static const std::vector<JsonNode> kNone;
  const JsonNode* entries = seccomp.Find("syscalls");
  return entries == nullptr ? kNone : entries->children();
}

enum class Judgement {
  kAllowed,
  kDenied,
  kAllowedByArguments,
  kDeniedByArguments,
  kNotified,  // by somebody else
};

// What the engine's own entries say of a call, as libseccomp merges them.
Judgement Judge(const JsonNode& seccomp, std::string_view name) {
  const std::string fallback = StringAt(seccomp, "defaultAction");
  const uint64_t fallback_errno = ErrnoAt(seccomp, "defaultErrnoRet");
  std::optional<std::string> unconditional;
  bool notified = false;
  bool allowed_somehow = false;
  bool denied_somehow = false;
  for (const JsonNode& entry : EntriesOf(seccomp)) {
    if (IsOurs(entry) || !Names(entry, name)) continue;
    const std::string action = StringAt(entry, "action");
    const bool same_errno = !HasErrno(action) || ErrnoAt(entry, "errnoRet") == fallback_errno;
    if (action == fallback && same_errno) continue;  // runtimes skip it
    if (!IsConditional(entry)) {
      unconditional = action;
    } else if (action == kNotify) {
      notified = true;
    } else if (Allows(action)) {
      allowed_somehow = true;
    } else {
      denied_somehow = true;
    }
  }
  if (unconditional) {
    if (*unconditional == kNotify) return Judgement::kNotified;
    return Allows(*unconditional) ? Judgement::kAllowed : Judgement::kDenied;
  }
  if (notified) return Judgement::kNotified;
  if (Allows(fallback)) {
    return denied_somehow ? Judgement::kDeniedByArguments : Judgement::kAllowed;
  }
  if (!allowed_somehow) return Judgement::kDenied;
  // Conditions for and against may overlap; which one the kernel meets first is libseccomp's
  // choice.
  return denied_somehow ? Judgement::kDeniedByArguments : Judgement::kAllowedByArguments;
}

// What a call that is not allowed is answered with: by the engine's last unconditional entry, else
// by default. KILL, KILL_PROCESS, KILL_THREAD and TRAP end the caller.
bool Kills(const JsonNode& seccomp, std::string_view name) {
  std::string action = StringAt(seccomp, "defaultAction");
  for (const JsonNode& entry : EntriesOf(seccomp)) {
    if (!IsOurs(entry) && Names(entry, name) && !IsConditional(entry)) {
      action = StringAt(entry, "action");
    }
  }
  return action.starts_with("SCMP_ACT_KILL") || action == "SCMP_ACT_TRAP";
}

// Takes names out of the engine's entries, and entries out that name nothing any more.
void TakeOut(JsonText& document, JsonNode& seccomp, const std::vector<std::string>& taken) {
  JsonNode* entries = seccomp.Find("syscalls");
  if (entries == nullptr) return;
  for (size_t i = entries->children().size(); i-- > 0;) {
    JsonNode& entry = entries->children()[i];
    if (IsOurs(entry)) continue;
    JsonNode* names = entry.Find("names");
    if (names == nullptr) continue;
    for (size_t j = names->children().size(); j-- > 0;) {
      if (Contains(taken, names->children()[j].String())) document.RemoveItem(*names, j);
    }
    if (names->children().empty()) document.RemoveItem(*entries, i);
  }
}

// Names of unconditional notify entries of ours.
std::vector<std::string> Notified(const JsonNode& seccomp, bool conditional) {
  std::vector<std::string> notified;
  for (const JsonNode& entry : EntriesOf(seccomp)) {
    if (!IsOurNotify(entry) || IsConditional(entry) != conditional) continue;
    for (std::string& name : MarkedNames(entry)) notified.push_back(std::move(name));
  }
  return notified;
}

// One unconditional notify entry with what ours named before and `added`, in front of all others.
void WriteNotify(JsonText& document, JsonNode& seccomp, const std::vector<std::string>& added) {
  std::vector<std::string> names = Notified(seccomp, false);
  names.insert(names.end(), added.begin(), added.end());
  TakeOut(document, seccomp, added);
  JsonNode& entries = Entries(document, seccomp);
  for (size_t i = entries.children().size(); i-- > 0;) {
    const JsonNode& entry = entries.children()[i];
    if (IsOurNotify(entry) && !IsConditional(entry)) document.RemoveItem(entries, i);
  }
  document.Insert(entries, 0, Entry(document, names, kNotify, true));
}

// Turns every "allowed by arguments" of `name` into "notified by the same arguments".
void NotifyByArguments(JsonText& document, JsonNode& seccomp, const std::string& name) {
  std::vector<JsonNode> conditions;
  for (const JsonNode& entry : EntriesOf(seccomp)) {
    if (!IsOurs(entry) && Names(entry, name) && Allows(StringAt(entry, "action"))) {
      conditions.push_back(*entry.Find("args"));
    }
  }
  TakeOut(document, seccomp, {name});
  JsonNode& entries = Entries(document, seccomp);
  for (const JsonNode& condition : conditions) {
    document.Insert(entries, 0, Entry(document, {name}, kNotify, true, &condition));
  }
}

std::string At(std::string_view suffix) { return std::string(kPointer) + std::string(suffix); }

}  // namespace

const std::vector<std::string> kLauncherSyscalls = {"landlock_create_ruleset",
                                                    "landlock_add_rule",
                                                    "landlock_restrict_self",
                                                    "prctl",
                                                    "capset",
                                                    "capget",
                                                    "seccomp",
                                                    "openat2",
                                                    "statx"};

const std::vector<std::string> kObsoleteSyscalls = {
    "nfsservctl",      "uselib",       "sysfs",    "_sysctl",       "create_module",
    "get_kernel_syms", "query_module", "getpmsg",  "putpmsg",       "tuxcall",
    "afs_syscall",     "vserver",      "security", "lookup_dcookie"};

const std::vector<std::string> kExecNotifications = {kExecRefusalSyscall, "execve", "execveat"};

const std::vector<std::string> kAuditNotifications = {
    "open",      "openat", "openat2", "creat",   "truncate",  "execve",   "execveat", "connect",
    "bind",      "mkdir",  "mkdirat", "rmdir",   "unlink",    "unlinkat", "rename",   "renameat",
    "renameat2", "link",   "linkat",  "symlink", "symlinkat", "mknod",    "mknodat"};

Status CheckProfile(const JsonText& document, const JsonNode& seccomp) {
  if (!seccomp.IsObject()) return document.Fail(kPointer, "must be an object");
  if (Status ok = RefuseLookalikes(document, seccomp, kPointer,
                                   {"defaultAction", "defaultErrnoRet", "architectures", "flags",
                                    "syscalls", "listenerPath", "listenerMetadata"});
      !ok) {
    return ok;
  }
  const JsonNode* fallback = seccomp.Find("defaultAction");
  if (fallback == nullptr || !fallback->IsString()) {
    return document.Fail(At("/defaultAction"), "must be a string");
  }
  const JsonNode* entries = seccomp.Find("syscalls");
  if (entries == nullptr || entries->IsNull()) return {};
  if (!entries->IsArray()) return document.Fail(At("/syscalls"), "must be an array");
  size_t index = 0;
  for (const JsonNode& entry : entries->children()) {
    const std::string place = At("/syscalls/" + std::to_string(index++));
    if (!entry.IsObject()) return document.Fail(place, "must be an object");
    if (Status ok =
            RefuseLookalikes(document, entry, place, {"names", "action", "errnoRet", "args"});
        !ok) {
      return ok;
    }
    const JsonNode* action = entry.Find("action");
    if (action == nullptr || !action->IsString()) {
      return document.Fail(place + "/action", "must be a string");
    }
    const JsonNode* names = entry.Find("names");
    if (names == nullptr || !names->IsArray() ||
        !std::all_of(names->children().begin(), names->children().end(),
                     [](const JsonNode& name) { return name.IsString(); })) {
      return document.Fail(place + "/names", "must be an array of strings");
    }
    const JsonNode* arguments = entry.Find("args");
    if (arguments != nullptr && !arguments->IsNull() && !arguments->IsArray()) {
      return document.Fail(place + "/args", "must be an array");
    }
  }
  return {};
}

Result<ProfileChange> OpenForLauncher(JsonText& document, JsonNode& seccomp,
                                      bool without_listener) {
  if (Status ok = CheckProfile(document, seccomp); !ok) return Forward(ok);
  std::vector<std::string> present;  // by an earlier patch
  size_t entries_of_ours = 0;
  for (const JsonNode& entry : EntriesOf(seccomp)) {
    if (!IsOurAllow(entry)) continue;
    ++entries_of_ours;
    for (std::string& name : MarkedNames(entry)) present.push_back(std::move(name));
  }
  ProfileChange change;
  for (const std::string& name : kLauncherSyscalls) {
    if (Contains(present, name) || Judge(seccomp, name) == Judgement::kDenied) {
      change.opened.push_back(name);
    }
  }
  if (without_listener &&
      (Contains(present, kExecRefusalSyscall) || Kills(seccomp, kExecRefusalSyscall))) {
    change.opened.emplace_back(kExecRefusalSyscall);
  }
  if (HasErrno(StringAt(seccomp, "defaultAction"))) {
    const uint64_t answer = ErrnoAt(seccomp, "defaultErrnoRet");
    if (answer > 4095) return document.Fail(At("/defaultErrnoRet"), "is no errno");
    change.profile_errno = static_cast<int>(answer);
  }
  if (change.opened.empty()) return change;
  TakeOut(document, seccomp, change.opened);
  if (entries_of_ours == 1 && present == change.opened) return change;
  JsonNode& entries = Entries(document, seccomp);
  for (size_t i = entries.children().size(); i-- > 0;) {
    if (IsOurAllow(entries.children()[i])) document.RemoveItem(entries, i);
  }
  document.Append(entries, Entry(document, change.opened, kAllow, true));
  return change;
}

Status AddNotify(JsonText& document, JsonNode& seccomp, const std::vector<std::string>& names) {
  if (Status ok = CheckProfile(document, seccomp); !ok) return ok;
  std::vector<std::string> unconditional;
  for (const std::string& name : names) {
    if (Contains(Notified(seccomp, false), name) || Contains(Notified(seccomp, true), name)) {
      continue;
    }
    const auto& entries = EntriesOf(seccomp);
    if (std::any_of(entries.begin(), entries.end(), [&name](const JsonNode& entry) {
          return IsOurAllow(entry) && Names(entry, name);
        })) {
      continue;  // denied by the engine, open for the launcher alone
    }
    switch (Judge(seccomp, name)) {
      case Judgement::kAllowed:
        unconditional.push_back(name);
        break;
      case Judgement::kDenied:
        break;
      case Judgement::kAllowedByArguments:
        NotifyByArguments(document, seccomp, name);
        break;
      case Judgement::kDeniedByArguments:
        return document.Fail(At("/syscalls"),
                             "the profile denies " + name +
                                 " by its arguments, which a notify rule would undo; deny or allow "
                                 "the whole call");
      case Judgement::kNotified:
        return document.Fail(At("/syscalls"), name + " has a listener of somebody else");
    }
  }
  if (!unconditional.empty()) WriteNotify(document, seccomp, unconditional);
  return {};
}

Status AddObsoleteNotify(JsonText& document, JsonNode& seccomp,
                         const std::vector<std::string>& names) {
  if (Status ok = CheckProfile(document, seccomp); !ok) return ok;
  std::vector<std::string> added;
  for (const std::string& name : names) {
    if (!Contains(kObsoleteSyscalls, name)) {
      return document.Fail(At("/syscalls"), name + " is in use; it can't stand for a listener");
    }
    if (!Contains(Notified(seccomp, false), name)) added.push_back(name);
  }
  if (!added.empty()) WriteNotify(document, seccomp, added);
  return {};
}

void RemoveNotify(JsonText& document, JsonNode& seccomp, const std::vector<std::string>& keep) {
  JsonNode* entries = seccomp.Find("syscalls");
  if (entries == nullptr) return;
  const bool allowed_by_default = Allows(StringAt(seccomp, "defaultAction"));
  for (size_t i = entries->children().size(); i-- > 0;) {
    if (!IsOurNotify(entries->children()[i])) continue;
    const JsonNode entry = entries->children()[i];
    std::vector<std::string> kept;
    std::vector<std::string> restored;
    for (const std::string& name : MarkedNames(entry)) {
      if (Contains(keep, name)) {
        kept.push_back(name);
      } else if (!Contains(kObsoleteSyscalls, name) && !allowed_by_default) {
        restored.push_back(name);
      }
    }
    if (kept == MarkedNames(entry)) continue;
    document.RemoveItem(*entries, i);
    const JsonNode* arguments = IsConditional(entry) ? entry.Find("args") : nullptr;
    if (!restored.empty()) {
      document.Insert(*entries, i, Entry(document, restored, kAllow, false, arguments));
    }
    if (!kept.empty()) {
      document.Insert(*entries, i, Entry(document, kept, kNotify, true, arguments));
    }
  }
}

NotifyEntries FindNotifyEntries(const JsonNode& seccomp) {
  NotifyEntries found;
  found.foreign = StringAt(seccomp, "defaultAction") == kNotify;
  for (const JsonNode& entry : EntriesOf(seccomp)) {
    if (StringAt(entry, "action") != kNotify) continue;
    (IsOurNotify(entry) ? found.ours : found.foreign) = true;
  }
  return found;
}

JsonNode AllowAllProfile(JsonText& document) {
#if defined(__x86_64__)
  const std::vector<std::string> architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
                                                  "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
  const std::vector<std::string> architectures = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#else
  const std::vector<std::string> architectures;  // the runtime adds the native one
#endif
  JsonNode profile = document.Object();
  document.Set(profile, "defaultAction", document.String(kAllow));
  if (!architectures.empty()) {
    document.Set(profile, "architectures", document.Strings(architectures));
  }
  document.Set(profile, "syscalls", document.Array());
  return profile;
}

}  // namespace landgate::oci
