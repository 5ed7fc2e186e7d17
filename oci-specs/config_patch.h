// The spec-edit core: what every front end (precreate, inject, landgate-runtime) does to
// config.json.
//
// Lossless: keys keep their order, unknown fields of any spec version survive, numbers keep their
// text, an untouched document keeps its bytes. Patching twice equals patching once, so "is this
// config patched as it must be" is PatchConfig(c) == c. Pure; thread-safe.
#ifndef LANDGATE_OCI_SPECS_CONFIG_PATCH_H_
#define LANDGATE_OCI_SPECS_CONFIG_PATCH_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/capability_names.h"
#include "base/result.h"

namespace landgate::oci {

struct HookEntry {  // one entry of hooks.STAGE
  std::string path;
  std::vector<std::string> args;  // args[0] included
  std::vector<std::string> env;
};

// A seccomp listener in the engine's profile: notify rules and where the runtime sends the fd.
struct Listener {
  std::string path;
  std::string metadata;                      // listenerMetadata
  std::vector<std::string> notify_syscalls;  // unconditional SCMP_ACT_NOTIFY
};

// What to write. The caller decided everything; this layer knows no policies.
struct PatchRequest {
  // False: only watched, nothing is enforced. Listener and hooks are all that is written, and a
  // config.json that starts the launcher is refused.
  bool confine = true;
  std::string launcher_source;  // bind-mounted read-only on /dev/lg
  std::string plan_source;      // an empty file, bind-mounted on /dev/lg.plan; prestart covers it
  std::vector<HookEntry> prestart;
  std::vector<HookEntry> poststop;
  std::optional<CapabilitySet> keep;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::optional<Listener> listener;
};

struct Patched {
  std::string text;  // the new config.json; the input's bytes if nothing changed
  bool changed = false;
  std::vector<std::string>
      opened_syscalls;    // opened in the profile for the launcher, in fixed order
  int profile_errno = 1;  // what the profile answers to what it denies
};

// Refusals (each names the JSON pointer): no /dev mount of type tmpfs in `mounts`, a mount on or
// beneath /dev/lg or /dev/lg.plan that is not ours, no process.args, a seccomp listener of somebody
// else, a defaultAction of NOTIFY, a hook or mount of ours that differs from the request.
Result<Patched> PatchConfig(std::string_view config_json, std::string_view file,
                            const PatchRequest& request);

// What front ends need to know of a config.json.
struct ConfigView {
  std::map<std::string, std::string> annotations;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd;        // process.cwd; empty where it is not given
  std::string root_path;  // root.path as written
  std::string cgroups_path;
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> additional_gids;
  bool has_seccomp = false;
  std::string listener_path;  // linux.seccomp.listenerPath; empty: none
  bool patched = false;       // process.args[0] is /dev/lg
  bool has_start_container_hooks = false;
};
Result<ConfigView> ReadConfig(std::string_view config_json, std::string_view file);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_CONFIG_PATCH_H_
