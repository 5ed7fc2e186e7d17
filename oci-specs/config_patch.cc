#include "oci-specs/config_patch.h"

#include <algorithm>
#include <limits>

#include "base/paths.h"
#include "oci-specs/json_text.h"
#include "oci-specs/launch_prefix.h"
#include "oci-specs/seccomp_profile.h"

namespace landgate::oci {
namespace {

constexpr std::string_view kHookName = "landgate-hook";  // args[0] of every hook of ours

// A member that is an object or absent; null counts as absent, as Go's decoder has it.
Result<JsonNode*> OptionalMember(const JsonText& document, JsonNode& object, std::string_view key,
                                 std::string_view pointer, JsonNode::Kind kind) {
  JsonNode* member = object.Find(key);
  if (member == nullptr || member->IsNull()) return nullptr;
  if (member->kind() != kind) {
    return document.Fail(
        std::string(pointer) + "/" + std::string(key),
        kind == JsonNode::Kind::kObject ? "must be an object" : "must be an array");
  }
  return member;
}

// The same, made where it is absent.
Result<JsonNode*> Member(JsonText& document, JsonNode& object, std::string_view key,
                         std::string_view pointer, JsonNode::Kind kind) {
  Result<JsonNode*> member = OptionalMember(document, object, key, pointer, kind);
  if (!member || *member != nullptr) return member;
  document.Set(object, key, kind == JsonNode::Kind::kObject ? document.Object() : document.Array());
  return object.Find(key);
}

Status CheckRoot(const JsonText& document, const JsonNode& root) {
  if (!root.IsObject()) return document.Fail("/", "must be an object");
  return RefuseLookalikes(document, root, "",
                          {"process", "root", "mounts", "hooks", "linux", "annotations"});
}

// --- mounts ----------------------------------------------------------------------------------

JsonNode BindMount(JsonText& document, std::string_view destination, const std::string& source,
                   bool noexec) {
  // private: what prestart later puts upon the plan must not travel to the host.
  std::vector<std::string> options = {"bind", "private", "ro", "nosuid", "nodev"};
  if (noexec) options.emplace_back("noexec");
  JsonNode mount = document.Object();
  document.Set(mount, "destination", document.String(destination));
  document.Set(mount, "type", document.String("bind"));
  document.Set(mount, "source", document.String(source));
  document.Set(mount, "options", document.Strings(options));
  return mount;
}

bool HasOption(const JsonNode& mount, std::string_view option) {
  const JsonNode* options = mount.Find("options");
  return options != nullptr &&
         std::any_of(options->children().begin(), options->children().end(),
                     [option](const JsonNode& item) { return item.Is(option); });
}

// Runtimes take a relative destination as one beneath /; runc cleans ".." from the text, crun walks
// it, so it has no one meaning.
Result<std::string> Destination(const JsonText& document, const JsonNode& mount,
                                const std::string& place) {
  if (!mount.IsObject()) return document.Fail(place, "must be an object");
  if (Status ok =
          RefuseLookalikes(document, mount, place, {"destination", "type", "source", "options"});
      !ok) {
    return Forward(ok);
  }
  const JsonNode* destination = mount.Find("destination");
  if (destination == nullptr || !destination->IsString()) {
    return document.Fail(place + "/destination", "must be a string");
  }
  const std::string path = Clean("/" + destination->String());
  const std::vector<std::string_view> parts = Components(path);
  if (path.find('\0') != std::string::npos ||
      std::find(parts.begin(), parts.end(), "..") != parts.end()) {
    return document.Fail(place + "/destination", "must have no \"..\" and no NUL");
  }
  return path;
}

// Runtimes bind whatever the type says where the options say so.
bool IsTmpfs(const JsonNode& mount) {
  const JsonNode* type = mount.Find("type");
  return type != nullptr && type->Is("tmpfs") && !HasOption(mount, "bind") &&
         !HasOption(mount, "rbind") && !HasOption(mount, "remount");
}

struct MountTable {
  std::vector<std::string> destinations;
  size_t dev = std::numeric_limits<size_t>::max();  // index of the tmpfs on /dev
};

Result<MountTable> ReadMounts(const JsonText& document, const JsonNode* mounts, bool patched) {
  constexpr std::string_view kNoDev =
      "a mount of type tmpfs on /dev is needed: launcher and plan are mounted in it, where nothing "
      "can be renamed; give the container the /dev that the engine makes by default";
  if (mounts == nullptr) return document.Fail("/mounts", kNoDev);
  MountTable table;
  bool has_dev = false;
  for (size_t i = 0; i < mounts->children().size(); ++i) {
    const JsonNode& mount = mounts->children()[i];
    const std::string place = "/mounts/" + std::to_string(i);
    Result<std::string> destination = Destination(document, mount, place);
    if (!destination) return Forward(destination);
    const std::string& path = *destination;
    const bool at_ours = path == kLauncherPath || path == kPlanPath;
    if (path == "/dev" || path == "/") {
      if (has_dev) return document.Fail(place, "would cover /dev and the launcher in it");
      if (path == "/dev" && !IsTmpfs(mount)) return document.Fail(place, kNoDev);
      if (path == "/dev") {
        has_dev = true;
        table.dev = i;
      }
    } else if (IsBeneath(path, kLauncherPath) || IsBeneath(path, kPlanPath) ||
               (at_ours && !patched)) {
      return document.Fail(
          place, path +
                     " is where the launcher and its plan are; mount elsewhere, or make the "
                     "bundle anew if it was patched and process.args changed");
    }
    table.destinations.push_back(path);
  }
  if (!has_dev) return document.Fail("/mounts", kNoDev);
  return table;
}

// Exactly one mount of ours on each destination, behind /dev: the wanted one. What stands in the
// right place is replaced there, so that patches over patches keep one order.
void PlaceMount(JsonText& document, JsonNode& mounts, const MountTable& table,
                std::string_view destination, JsonNode wanted) {
  bool placed = false;
  std::vector<size_t> superfluous;
  for (size_t i = 0; i < table.destinations.size(); ++i) {
    if (table.destinations[i] != destination) continue;
    if (placed || i < table.dev) {
      superfluous.push_back(i);
      continue;
    }
    placed = true;
    if (!mounts.children()[i].SameAs(wanted)) document.Replace(mounts, i, wanted);
  }
  for (; !superfluous.empty(); superfluous.pop_back()) {
    document.RemoveItem(mounts, superfluous.back());
  }
  if (!placed) document.Append(mounts, std::move(wanted));
}

Status PatchMounts(JsonText& document, JsonNode& root, const PatchRequest& request, bool patched) {
  Result<JsonNode*> mounts = OptionalMember(document, root, "mounts", "", JsonNode::Kind::kArray);
  if (!mounts) return Forward(mounts);
  Result<MountTable> table = ReadMounts(document, *mounts, patched);
  if (!table) return Forward(table);
  JsonNode launcher = BindMount(document, kLauncherPath, request.launcher_source, false);
  JsonNode plan = BindMount(document, kPlanPath, request.plan_source, true);
  PlaceMount(document, **mounts, *table, kLauncherPath, std::move(launcher));
  // The first call may have moved entries; destinations are read anew.
  table = ReadMounts(document, *mounts, true);
  if (!table) return Forward(table);
  PlaceMount(document, **mounts, *table, kPlanPath, std::move(plan));
  return {};
}

// --- hooks -----------------------------------------------------------------------------------

JsonNode Hook(JsonText& document, const HookEntry& entry) {
  JsonNode hook = document.Object();
  document.Set(hook, "path", document.String(entry.path));
  document.Set(hook, "args", document.Strings(entry.args));
  if (!entry.env.empty()) document.Set(hook, "env", document.Strings(entry.env));
  return hook;
}

bool IsOurHook(const JsonNode& hook) {
  const JsonNode* args = hook.Find("args");
  return args != nullptr && !args->children().empty() && args->children()[0].Is(kHookName);
}

Status PatchStage(JsonText& document, JsonNode& root, std::string_view stage,
                  const std::vector<HookEntry>& wanted) {
  Result<JsonNode*> hooks = OptionalMember(document, root, "hooks", "", JsonNode::Kind::kObject);
  if (!hooks) return Forward(hooks);
  JsonNode* present = nullptr;
  if (*hooks != nullptr) {
    if (Status ok = RefuseLookalikes(document, **hooks, "/hooks",
                                     {"prestart", "createRuntime", "createContainer",
                                      "startContainer", "poststart", "poststop"});
        !ok) {
      return ok;
    }
    Result<JsonNode*> list =
        OptionalMember(document, **hooks, stage, "/hooks", JsonNode::Kind::kArray);
    if (!list) return Forward(list);
    present = *list;
  }
  const std::string place = "/hooks/" + std::string(stage);
  std::vector<size_t> ours;
  if (present != nullptr) {
    for (size_t i = 0; i < present->children().size(); ++i) {
      const JsonNode& hook = present->children()[i];
      const std::string hook_place = place + "/" + std::to_string(i);
      if (!hook.IsObject()) return document.Fail(hook_place, "must be an object");
      if (Status ok =
              RefuseLookalikes(document, hook, hook_place, {"path", "args", "env", "timeout"});
          !ok) {
        return ok;
      }
      if (IsOurHook(hook)) ours.push_back(i);
    }
  }
  std::vector<JsonNode> entries;
  for (const HookEntry& entry : wanted) entries.push_back(Hook(document, entry));
  const bool same =
      ours.size() == entries.size() && std::equal(ours.begin(), ours.end(), entries.begin(),
                                                  [present](size_t i, const JsonNode& entry) {
                                                    return present->children()[i].SameAs(entry);
                                                  });
  if (same) return {};
  while (!ours.empty()) {
    document.RemoveItem(*present, ours.back());
    ours.pop_back();
  }
  if (entries.empty()) return {};
  hooks = Member(document, root, "hooks", "", JsonNode::Kind::kObject);
  if (!hooks) return Forward(hooks);
  Result<JsonNode*> list = Member(document, **hooks, stage, "/hooks", JsonNode::Kind::kArray);
  if (!list) return Forward(list);
  for (JsonNode& entry : entries) document.Append(**list, std::move(entry));
  return {};
}

// --- linux -----------------------------------------------------------------------------------

Status AddPaths(JsonText& document, JsonNode& linux_section, std::string_view key,
                const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    Result<JsonNode*> list = Member(document, linux_section, key, "/linux", JsonNode::Kind::kArray);
    if (!list) return Forward(list);
    const auto& present = (*list)->children();
    if (std::none_of(present.begin(), present.end(),
                     [&path](const JsonNode& item) { return item.Is(path); })) {
      document.Append(**list, document.String(path));
    }
  }
  return {};
}

void SetString(JsonText& document, JsonNode& object, std::string_view key,
               const std::string& value) {
  const JsonNode* present = object.Find(key);
  if (present == nullptr || !present->Is(value)) {
    document.Set(object, key, document.String(value));
  }
}

bool IsEmptyOrAbsent(const JsonNode* value) {
  return value == nullptr || value->IsNull() || value->Is("");
}

// Takes back what an earlier patch notified and this one does not. First of all, so that what it
// had taken out of the engine's entries stands there again when they are judged.
void RemoveSuperfluousNotify(JsonText& document, JsonNode& seccomp,
                             const std::optional<Listener>& wanted) {
  if (!FindNotifyEntries(seccomp).ours) return;
  RemoveNotify(document, seccomp, wanted ? wanted->notify_syscalls : std::vector<std::string>());
  if (!wanted) {
    document.Remove(seccomp, "listenerPath");
    document.Remove(seccomp, "listenerMetadata");
  }
}

// `was_ours`: an earlier patch made the listener that is there.
Status PatchListener(JsonText& document, JsonNode& seccomp, const PatchRequest& request,
                     bool was_ours) {
  if (FindNotifyEntries(seccomp).foreign ||
      (!was_ours && !IsEmptyOrAbsent(seccomp.Find("listenerPath")))) {
    return document.Fail(
        "/linux/seccomp",
        std::string("has a listener of somebody else, and the kernel allows one; take it out") +
            (request.confine ? ", start the container with landgate-runtime, or set execSessions "
                               "to unconfined"
                             : " to watch the container in audit mode"));
  }
  const Listener& wanted = *request.listener;
  std::vector<std::string> obsolete;
  std::vector<std::string> used;
  for (const std::string& name : wanted.notify_syscalls) {
    const bool is_obsolete = std::find(kObsoleteSyscalls.begin(), kObsoleteSyscalls.end(), name) !=
                             kObsoleteSyscalls.end();
    (is_obsolete ? obsolete : used).push_back(name);
  }
  if (Status ok = AddObsoleteNotify(document, seccomp, obsolete); !ok) return ok;
  if (Status ok = AddNotify(document, seccomp, used); !ok) return ok;
  SetString(document, seccomp, "listenerPath", wanted.path);
  if (wanted.metadata.empty()) {
    document.Remove(seccomp, "listenerMetadata");
  } else {
    SetString(document, seccomp, "listenerMetadata", wanted.metadata);
  }
  return {};
}

Status PatchSeccomp(JsonText& document, JsonNode& linux_section, const PatchRequest& request,
                    Patched& patched) {
  JsonNode* seccomp = linux_section.Find("seccomp");
  if (seccomp == nullptr || seccomp->IsNull()) {
    if (!request.listener) return {};
    document.Set(linux_section, "seccomp", AllowAllProfile(document));
    seccomp = linux_section.Find("seccomp");
  }
  if (Status ok = CheckProfile(document, *seccomp); !ok) return ok;
  if (seccomp->Find("defaultAction")->Is("SCMP_ACT_NOTIFY")) {
    return document.Fail("/linux/seccomp/defaultAction",
                         "SCMP_ACT_NOTIFY can't be the default: runtimes hang or refuse it");
  }
  const bool was_ours = FindNotifyEntries(*seccomp).ours;
  RemoveSuperfluousNotify(document, *seccomp, request.listener);
  if (request.confine) {
    Result<ProfileChange> change = OpenForLauncher(document, *seccomp, !request.listener);
    if (!change) return Forward(change);
    patched.opened_syscalls = std::move(change->opened);
    patched.profile_errno = change->profile_errno;
  }
  if (!request.listener) return {};
  return PatchListener(document, *seccomp, request, was_ours);
}

Status PatchLinux(JsonText& document, JsonNode& root, const PatchRequest& request,
                  Patched& patched) {
  const bool needed =
      !request.masked_paths.empty() || !request.readonly_paths.empty() || request.listener;
  Result<JsonNode*> section =
      needed ? Member(document, root, "linux", "", JsonNode::Kind::kObject)
             : OptionalMember(document, root, "linux", "", JsonNode::Kind::kObject);
  if (!section) return Forward(section);
  if (*section == nullptr) return {};
  JsonNode& linux_section = **section;
  if (Status ok = RefuseLookalikes(document, linux_section, "/linux",
                                   {"seccomp", "maskedPaths", "readonlyPaths", "namespaces",
                                    "cgroupsPath", "rootfsPropagation"});
      !ok) {
    return ok;
  }
  if (Status ok = AddPaths(document, linux_section, "maskedPaths", request.masked_paths); !ok) {
    return ok;
  }
  if (Status ok = AddPaths(document, linux_section, "readonlyPaths", request.readonly_paths); !ok) {
    return ok;
  }
  return PatchSeccomp(document, linux_section, request, patched);
}

Status PatchRequestStrings(const JsonText& document, const PatchRequest& request) {
  if (request.confine && (request.launcher_source.empty() || request.launcher_source[0] != '/' ||
                          request.plan_source.empty() || request.plan_source[0] != '/')) {
    return document.Fail("/mounts", "launcher and plan must be given as absolute paths");
  }
  for (const auto* stage : {&request.prestart, &request.poststop}) {
    for (const HookEntry& entry : *stage) {
      if (entry.args.empty() || entry.args[0] != kHookName) {
        return document.Fail("/hooks", "args[0] of a hook of ours must be landgate-hook");
      }
    }
  }
  return {};
}

// --- reading ---------------------------------------------------------------------------------

const JsonNode* MemberOf(const JsonNode* object, std::string_view key) {
  return object == nullptr ? nullptr : object->Find(key);
}

// A string, or "" where it is absent or null.
Result<std::string> StringMember(const JsonText& document, const JsonNode* object,
                                 std::string_view key, std::string_view pointer) {
  const JsonNode* value = MemberOf(object, key);
  if (value == nullptr || value->IsNull()) return std::string();
  if (!value->IsString()) return document.Fail(pointer, "must be a string");
  std::string text = value->String();
  if (text.find('\0') != std::string::npos) return document.Fail(pointer, "can't hold a NUL");
  return text;
}

Result<uint32_t> Id(const JsonText& document, const JsonNode* value, std::string_view pointer) {
  if (value == nullptr || value->IsNull()) return uint32_t{0};
  const std::optional<uint64_t> id = value->Unsigned();
  if (!id || *id > std::numeric_limits<uint32_t>::max()) {
    return document.Fail(pointer, "must be a number from 0 to 4294967295");
  }
  return static_cast<uint32_t>(*id);
}

Status ReadAnnotationMap(const JsonText& document, const JsonNode* annotations, ConfigView& view) {
  if (annotations == nullptr || annotations->IsNull()) return {};
  if (!annotations->IsObject()) return document.Fail("/annotations", "must be an object");
  for (const JsonNode& child : annotations->children()) {
    if (!child.IsString()) return document.Fail("/annotations/" + child.Key(), "must be a string");
    view.annotations.emplace(child.Key(), child.String());
  }
  return {};
}

Status ReadStrings(const JsonText& document, const JsonNode* list, const std::string& pointer,
                   std::vector<std::string>& into) {
  if (list == nullptr || list->IsNull()) return {};
  if (!list->IsArray()) return document.Fail(pointer, "must be an array");
  for (const JsonNode& item : list->children()) {
    if (!item.IsString()) return document.Fail(pointer, "must hold strings alone");
    into.push_back(item.String());
  }
  return {};
}

Status ReadProcess(const JsonText& document, const JsonNode* process, ConfigView& view) {
  if (process == nullptr || process->IsNull()) return {};
  if (!process->IsObject()) return document.Fail("/process", "must be an object");
  if (Status ok = RefuseLookalikes(document, *process, "/process", {"args", "user", "cwd", "env"});
      !ok) {
    return ok;
  }
  if (Status ok = ReadStrings(document, process->Find("args"), "/process/args", view.args); !ok) {
    return ok;
  }
  if (Status ok = ReadStrings(document, process->Find("env"), "/process/env", view.env); !ok) {
    return ok;
  }
  Result<std::string> cwd = StringMember(document, process, "cwd", "/process/cwd");
  if (!cwd) return Forward(cwd);
  view.cwd = std::move(*cwd);
  view.patched = !view.args.empty() && view.args[0] == kLauncherPath;
  const JsonNode* user = process->Find("user");
  if (user == nullptr || user->IsNull()) return {};
  if (!user->IsObject()) return document.Fail("/process/user", "must be an object");
  if (Status ok =
          RefuseLookalikes(document, *user, "/process/user", {"uid", "gid", "additionalGids"});
      !ok) {
    return ok;
  }
  Result<uint32_t> uid = Id(document, user->Find("uid"), "/process/user/uid");
  if (!uid) return Forward(uid);
  Result<uint32_t> gid = Id(document, user->Find("gid"), "/process/user/gid");
  if (!gid) return Forward(gid);
  view.uid = *uid;
  view.gid = *gid;
  const JsonNode* groups = user->Find("additionalGids");
  if (groups == nullptr || groups->IsNull()) return {};
  if (!groups->IsArray()) return document.Fail("/process/user/additionalGids", "must be an array");
  for (const JsonNode& group : groups->children()) {
    Result<uint32_t> id = Id(document, &group, "/process/user/additionalGids");
    if (!id) return Forward(id);
    view.additional_gids.push_back(*id);
  }
  return {};
}

Status ReadLinux(const JsonText& document, const JsonNode* section, ConfigView& view) {
  if (section == nullptr || section->IsNull()) return {};
  if (!section->IsObject()) return document.Fail("/linux", "must be an object");
  if (Status ok =
          RefuseLookalikes(document, *section, "/linux", {"namespaces", "cgroupsPath", "seccomp"});
      !ok) {
    return ok;
  }
  Result<std::string> cgroups_path =
      StringMember(document, section, "cgroupsPath", "/linux/cgroupsPath");
  if (!cgroups_path) return Forward(cgroups_path);
  view.cgroups_path = std::move(*cgroups_path);
  const JsonNode* seccomp = section->Find("seccomp");
  view.has_seccomp = seccomp != nullptr && !seccomp->IsNull();
  if (!view.has_seccomp) return {};
  Result<std::string> listener =
      StringMember(document, seccomp, "listenerPath", "/linux/seccomp/listenerPath");
  if (!listener) return Forward(listener);
  view.listener_path = std::move(*listener);
  return {};
}

}  // namespace

Result<Patched> PatchConfig(std::string_view config_json, std::string_view file,
                            const PatchRequest& request) {
  Result<JsonText> document = JsonText::Parse(config_json, file);
  if (!document) return Forward(document);
  JsonNode& root = document->root();
  if (Status ok = CheckRoot(*document, root); !ok) return Forward(ok);
  if (Status ok = PatchRequestStrings(*document, request); !ok) return Forward(ok);
  JsonNode* process = root.Find("process");
  if (process == nullptr || !process->IsObject()) {
    return document->Fail("/process", "must be an object");
  }
  if (Status ok = RefuseLookalikes(*document, *process, "/process", {"args", "capabilities"});
      !ok) {
    return Forward(ok);
  }
  const bool patched_before = HasLauncher(*process, "start");
  if (!request.confine && patched_before) {
    return document->Fail("/process/args",
                          "starts the launcher, so config.json was prepared for a policy that is "
                          "enforced; make the bundle anew to watch the container only");
  }
  if (request.confine) {
    if (Status ok = PutLauncherInFront(*document, *process, "/process", "start"); !ok) {
      return Forward(ok);
    }
  }
  if (request.keep) {
    if (Status ok = ReduceCapabilities(*document, *process, "/process", *request.keep); !ok) {
      return Forward(ok);
    }
  }
  Patched patched;
  for (Status ok :
       {request.confine ? PatchMounts(*document, root, request, patched_before) : Status(),
        PatchStage(*document, root, "prestart", request.prestart),
        PatchStage(*document, root, "poststop", request.poststop),
        PatchLinux(*document, root, request, patched)}) {
    if (!ok) return Forward(ok);
  }
  patched.text = document->Write();
  patched.changed = document->edited();
  return patched;
}

Result<ConfigView> ReadConfig(std::string_view config_json, std::string_view file) {
  Result<JsonText> document = JsonText::Parse(config_json, file);
  if (!document) return Forward(document);
  const JsonNode& root = document->root();
  if (Status ok = CheckRoot(*document, root); !ok) return Forward(ok);
  ConfigView view;
  for (Status ok : {ReadAnnotationMap(*document, root.Find("annotations"), view),
                    ReadProcess(*document, root.Find("process"), view),
                    ReadLinux(*document, root.Find("linux"), view)}) {
    if (!ok) return Forward(ok);
  }
  Result<std::string> root_path = StringMember(*document, root.Find("root"), "path", "/root/path");
  if (!root_path) return Forward(root_path);
  view.root_path = std::move(*root_path);
  const JsonNode* start_container = MemberOf(root.Find("hooks"), "startContainer");
  view.has_start_container_hooks =
      start_container != nullptr && !start_container->children().empty();
  return view;
}

}  // namespace landgate::oci
