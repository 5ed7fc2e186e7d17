// The node's configuration: config.json, where things lie, and what no policy can change.
// docs/config.md is the reference. Read once at start; thread-safe afterwards.
#ifndef LANDGATE_NODE_CONFIG_H_
#define LANDGATE_NODE_CONFIG_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace landgate::node {

enum class InlinePolicies { kRestrictOnly, kDeny };

struct SelectionRule {                             // config `rules`: first match wins
  std::map<std::string, std::string> annotations;  // KEY → GLOB
  std::map<std::string, std::string> labels;
  std::string policy;
  bool replace_default = false;
};

struct AuditLog {    // config `audit`
  std::string file;  // /var/log/landgate/audit.jsonl, rootless in XDG_STATE_HOME
  uint64_t max_bytes = uint64_t{64} << 20;  // of one file; then it is rotated
  int keep = 4;                             // rotated files that stay: FILE.1 is the newest
};

struct Config {
  std::string file;       // what was read, absolute; empty: no file, built-in defaults
  bool named = false;     // by --config or LANDGATE_CONFIG: hooks must be told
  bool rootless = false;  // an ordinary user, or a user namespace without the host's root
  std::vector<std::string> policy_dirs;
  std::optional<std::string> default_policy;
  std::vector<SelectionRule> rules;
  InlinePolicies inline_policies = InlinePolicies::kRestrictOnly;
  std::vector<std::string> protected_paths;
  std::string init_path;    // landgate-init; found relative to the running program
  std::string plan_source;  // the empty file under /dev/lg.plan; beside landgate-init
  std::string run_dir;      // /run/landgate, rootless $XDG_RUNTIME_DIR/landgate
  std::optional<std::string> runtime;

  // Of the agent. Runtimes and hooks connect to the first, people's programs to the second, and
  // what keeps listeners across a restart of the agent listens on the third.
  std::string agent_socket;    // RUNDIR/agent.sock
  std::string control_socket;  // RUNDIR/control.sock
  std::string holder_socket;   // RUNDIR/holder.sock
  bool require_agent = false;  // no container starts under a policy unless the agent answers
  std::optional<std::string> metrics_listen;  // "127.0.0.1:9464"; absent: on the control socket
  AuditLog audit;
};

// Search order of the file: `given` (--config), LANDGATE_CONFIG, rootless
// $XDG_CONFIG_HOME/landgate/config.json, /etc/landgate/config.json; only the last two may be
// missing. Must be owned by root or the effective user and not be writable by others
// (ReadTrustedFile). `approval` is refused as not supported in this build.
Result<Config> LoadConfig(const std::optional<std::string>& given);

// Pure part, for tests and fuzzing: `text` decoded over `defaults`.
Result<Config> DecodeConfig(std::string_view text, std::string_view file, Config defaults);

// Directory of the running program (/proc/self/exe), from which others are found:
// BIN/../libexec/landgate/landgate-init when installed, BIN/landgate-init in a build tree.
Result<std::string> ProgramDirectory();

// What a policy's name looks like: [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
bool IsPolicyName(std::string_view name);

// The user's own directories as the XDG base directory specification names them. Engines start
// hooks with an empty environment, so what it lacks comes from /etc/passwd and the host's uid;
// empty where that can't be told either.
struct UserDirectories {
  std::string config;   // $XDG_CONFIG_HOME, $HOME/.config
  std::string runtime;  // $XDG_RUNTIME_DIR, /run/user/UID
  std::string state;    // $XDG_STATE_HOME, $HOME/.local/state
};
UserDirectories FindUserDirectories();

}  // namespace landgate::node

#endif  // LANDGATE_NODE_CONFIG_H_
