#include "node/config.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>

#include "base/files.h"
#include "base/paths.h"
#include "policy/destination.h"
#include "policy/json_reader.h"

namespace landgate::node {
namespace {

using policy::JsonCursor;

// Beside landgate-init, wherever that lies.
constexpr std::string_view kPlanSourceName = "landgate-plan";

// The same launcher once more, for rootless engines.
constexpr std::string_view kRootlessSuffix = "-rootless";

// Bounds against slips: a log file that is rotated with every line, or one that never is.
constexpr int64_t kLeastAuditBytes = int64_t{64} << 10;
constexpr int64_t kMostAuditBytes = int64_t{1} << 40;
constexpr int64_t kMostAuditFiles = 1000;

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

// The uid that this process has outside its user namespace, whose files it sees as its own.
uid_t HostUid() {
  const Result<std::string> map = ReadFile("/proc/self/uid_map", 1 << 16);
  unsigned inside = 0;
  unsigned outside = 0;
  // NOLINTNEXTLINE(cert-err34-c): the kernel's own text, whose numbers fit
  if (map && sscanf(map->c_str(), "%u %u", &inside, &outside) == 2 && inside == 0 &&
      geteuid() == 0) {
    return outside;
  }
  return geteuid();
}

// By fgetpwent, because getpwuid would load NSS modules into a static program.
std::string HomeOf(uid_t uid) {
  const std::unique_ptr<FILE, int (*)(FILE*)> passwd(fopen("/etc/passwd", "re"), fclose);
  if (!passwd) return "";
  while (const struct passwd* entry = fgetpwent(passwd.get())) {
    if (entry->pw_uid == uid) return entry->pw_dir;
  }
  return "";
}

Result<std::string> AbsolutePath(const JsonCursor& at) {
  Result<std::string> text = at.String(PATH_MAX);
  if (!text) return text;
  if (!IsCleanAbsolute(*text)) {
    return at.Fail("\"" + *text + "\" is not an absolute path without . and .. in it");
  }
  return text;
}

Result<std::vector<std::string>> AbsolutePaths(const JsonCursor& at) {
  Result<std::vector<JsonCursor>> items = at.Items(1000);
  if (!items) return Forward(items);
  std::vector<std::string> paths;
  for (const JsonCursor& item : *items) {
    Result<std::string> path = AbsolutePath(item);
    if (!path) return Forward(path);
    paths.push_back(std::move(*path));
  }
  return paths;
}

Result<std::string> PolicyName(const JsonCursor& at) {
  Result<std::string> name = at.String();
  if (!name) return name;
  if (!IsPolicyName(*name)) {
    return at.Fail("\"" + *name + "\" can't be a policy's name: letters, digits, . _ - only");
  }
  return name;
}

Result<std::map<std::string, std::string>> Globs(const JsonCursor& at) {
  if (Status ok = at.IsObject(); !ok) return Forward(ok);
  std::map<std::string, std::string> globs;
  for (const std::string& key : at.Keys()) {
    Result<std::string> glob = at.At(key).String();
    if (!glob) return Forward(glob);
    globs[key] = std::move(*glob);
  }
  return globs;
}

Result<SelectionRule> DecodeRule(const JsonCursor& at) {
  if (Status ok = at.Only({"match", "policy", "replaceDefault"}); !ok) return Forward(ok);
  SelectionRule rule;
  if (!at.Has("policy")) return at.Fail("`policy` is missing: the policy that the rule chooses");
  Result<std::string> name = PolicyName(at.At("policy"));
  if (!name) return Forward(name);
  rule.policy = std::move(*name);
  if (at.Has("match")) {
    const JsonCursor match = at.At("match");
    if (Status ok = match.Only({"annotations", "labels"}); !ok) return Forward(ok);
    for (auto [key, globs] :
         {std::pair{"annotations", &rule.annotations}, {"labels", &rule.labels}}) {
      if (!match.Has(key)) continue;
      Result<std::map<std::string, std::string>> decoded = Globs(match.At(key));
      if (!decoded) return Forward(decoded);
      *globs = std::move(*decoded);
    }
  }
  if (at.Has("replaceDefault")) {
    Result<bool> replace = at.At("replaceDefault").Bool();
    if (!replace) return Forward(replace);
    rule.replace_default = *replace;
  }
  return rule;
}

// Runtimes connect to the path as it stands here, and the kernel takes no longer one.
Result<std::string> SocketPath(const JsonCursor& at) {
  Result<std::string> path = AbsolutePath(at);
  if (!path) return path;
  if (path->size() >= sizeof(sockaddr_un::sun_path)) {
    return at.Fail("a socket's path has at most " +
                   std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
  }
  return path;
}

Status DecodeMetrics(const JsonCursor& at, Config& config) {
  if (Status ok = at.Only({"listen"}); !ok) return ok;
  if (!at.Has("listen")) return at.Fail("`listen` is missing: the address, \"127.0.0.1:9464\"");
  const JsonCursor listen = at.At("listen");
  Result<std::string> text = listen.String();
  if (!text) return Forward(text);
  const Result<policy::Endpoint> endpoint = policy::ParseEndpoint(*text);
  if (!endpoint || endpoint->transport != policy::Transport::kTcp || text->starts_with("tcp:") ||
      endpoint->port == 0) {
    return listen.Fail("must be an IP address and a port, such as \"127.0.0.1:9464\"");
  }
  config.metrics_listen = std::move(*text);
  return {};
}

Status DecodeAudit(const JsonCursor& at, Config& config) {
  if (Status ok = at.Only({"file", "maxBytes", "keep"}); !ok) return ok;
  if (at.Has("file")) {
    Result<std::string> file = AbsolutePath(at.At("file"));
    if (!file) return Forward(file);
    config.audit.file = std::move(*file);
  }
  if (at.Has("maxBytes")) {
    Result<int64_t> bytes = at.At("maxBytes").Integer(kLeastAuditBytes, kMostAuditBytes);
    if (!bytes) return Forward(bytes);
    config.audit.max_bytes = static_cast<uint64_t>(*bytes);
  }
  if (at.Has("keep")) {
    Result<int64_t> keep = at.At("keep").Integer(0, kMostAuditFiles);
    if (!keep) return Forward(keep);
    config.audit.keep = static_cast<int>(*keep);
  }
  return {};
}

Status DecodeAgentKeys(const JsonCursor& root, Config& config) {
  // A key that nobody reads would promise something.
  if (root.Has("approval")) {
    return root.At("approval")
        .Fail("not supported in this build: nobody can be asked; remove the key");
  }
  for (auto [key, path] : {std::pair{"agentSocket", &config.agent_socket},
                           {"controlSocket", &config.control_socket}}) {
    if (!root.Has(key)) continue;
    Result<std::string> decoded = SocketPath(root.At(key));
    if (!decoded) return Forward(decoded);
    *path = std::move(*decoded);
  }
  if (!config.agent_socket.empty() && config.agent_socket == config.control_socket) {
    return root.At(root.Has("controlSocket") ? "controlSocket" : "agentSocket")
        .Fail("agentSocket and controlSocket are two sockets");
  }
  if (root.Has("requireAgent")) {
    Result<bool> required = root.At("requireAgent").Bool();
    if (!required) return Forward(required);
    config.require_agent = *required;
  }
  if (root.Has("metrics")) {
    if (Status ok = DecodeMetrics(root.At("metrics"), config); !ok) return ok;
  }
  if (root.Has("audit")) return DecodeAudit(root.At("audit"), config);
  return {};
}

// What config.json may name and otherwise lies in the run directory, wherever that is.
void PlaceSockets(Config& config) {
  if (config.run_dir.empty()) return;
  config.holder_socket = Join(config.run_dir, "holder.sock");
  if (config.agent_socket.empty()) config.agent_socket = Join(config.run_dir, "agent.sock");
  if (config.control_socket.empty()) config.control_socket = Join(config.run_dir, "control.sock");
}

Result<Config> Defaults() {
  Config config;
  config.rootless = geteuid() != 0 || InRootlessUserNamespace();
  Result<std::string> programs = ProgramDirectory();
  if (!programs) return Forward(programs);
  const std::string prefix(Parent(*programs));
  config.init_path = Join(prefix, "libexec/landgate/landgate-init");
  if (access(config.init_path.c_str(), F_OK) < 0) {
    config.init_path = Join(*programs, "landgate-init");
  }
  if (config.rootless && access(config.init_path.c_str(), R_OK) < 0) {
    // Not readable, so no process that runs it can be looked into but by the host's root; and a
    // rootless agent must recognise it.
    const std::string readable = config.init_path + std::string(kRootlessSuffix);
    if (access(readable.c_str(), R_OK) == 0) config.init_path = readable;
  }
  config.plan_source = Join(Parent(config.init_path), kPlanSourceName);
  config.run_dir = "/run/landgate";
  config.audit.file = "/var/log/landgate/audit.jsonl";
  if (config.rootless) {
    const UserDirectories user = FindUserDirectories();
    if (!user.config.empty()) {
      config.policy_dirs.push_back(Join(user.config, "landgate/policies"));
    }
    config.run_dir = user.runtime.empty() ? "" : Join(user.runtime, "landgate");
    config.audit.file = user.state.empty() ? "" : Join(user.state, "landgate/audit.jsonl");
  }
  config.policy_dirs.emplace_back("/etc/landgate/policies");
  config.policy_dirs.push_back(Join(prefix, "share/landgate/policies"));
  if (prefix != "/usr") config.policy_dirs.emplace_back("/usr/share/landgate/policies");
  return config;
}

// Hooks run in another directory than the front end that names the file to them.
Result<std::string> Absolute(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  const std::unique_ptr<char, void (*)(void*)> cwd(getcwd(nullptr, 0), free);
  if (!cwd) return SystemError("getcwd", errno);
  return Clean(std::string(cwd.get()) + "/" + path);
}

}  // namespace

bool IsPolicyName(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 128 || !alphanumeric(name[0])) return false;
  for (const char c : name) {
    if (!alphanumeric(c) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

UserDirectories FindUserDirectories() {
  UserDirectories user;
  const uid_t uid = HostUid();
  user.config = Environment("XDG_CONFIG_HOME");
  user.state = Environment("XDG_STATE_HOME");
  if (user.config.empty() || user.state.empty()) {
    std::string home = Environment("HOME");
    if (home.empty()) home = HomeOf(uid);
    if (!home.empty() && user.config.empty()) user.config = Clean(home + "/.config");
    if (!home.empty() && user.state.empty()) user.state = Clean(home + "/.local/state");
  }
  user.runtime = Environment("XDG_RUNTIME_DIR");
  if (user.runtime.empty()) {
    const std::string usual = "/run/user/" + std::to_string(uid);
    if (access(usual.c_str(), W_OK) == 0) user.runtime = usual;
  }
  return user;
}

Result<std::string> ProgramDirectory() {
  std::string path(PATH_MAX, '\0');
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length < 0) return SystemError("/proc/self/exe", errno);
  path.resize(static_cast<size_t>(length));
  return std::string(Parent(path));
}

Result<Config> DecodeConfig(std::string_view text, std::string_view file, Config defaults) {
  Result<policy::Json> json = policy::ParseJson(text, file, policy::Comments::kAllowed);
  if (!json) return Forward(json);
  const JsonCursor root(*json, std::string(file));
  if (Status ok = root.Only({"agentSocket", "controlSocket", "policyDirs", "defaultPolicy", "rules",
                             "inlinePolicies", "protected", "requireAgent", "initPath", "runDir",
                             "runtime", "metrics", "audit", "approval"});
      !ok) {
    return Forward(ok);
  }
  Config config = std::move(defaults);
  config.file = file;
  if (Status ok = DecodeAgentKeys(root, config); !ok) return Forward(ok);
  if (root.Has("policyDirs")) {
    Result<std::vector<std::string>> dirs = AbsolutePaths(root.At("policyDirs"));
    if (!dirs) return Forward(dirs);
    if (dirs->empty()) return root.At("policyDirs").Fail("needs at least one directory");
    config.policy_dirs = std::move(*dirs);
  }
  if (root.Has("defaultPolicy")) {
    Result<std::string> name = PolicyName(root.At("defaultPolicy"));
    if (!name) return Forward(name);
    config.default_policy = std::move(*name);
  }
  if (root.Has("rules")) {
    Result<std::vector<JsonCursor>> items = root.At("rules").Items(1000);
    if (!items) return Forward(items);
    for (const JsonCursor& item : *items) {
      Result<SelectionRule> rule = DecodeRule(item);
      if (!rule) return Forward(rule);
      config.rules.push_back(std::move(*rule));
    }
  }
  if (root.Has("inlinePolicies")) {
    const JsonCursor at = root.At("inlinePolicies");
    Result<std::string> value = at.String();
    if (!value) return Forward(value);
    if (*value == "deny") {
      config.inline_policies = InlinePolicies::kDeny;
    } else if (*value == "restrict-only") {
      config.inline_policies = InlinePolicies::kRestrictOnly;
    } else {
      return at.Fail("\"" + *value + "\" must be \"restrict-only\" or \"deny\"");
    }
  }
  if (root.Has("protected")) {
    const JsonCursor at = root.At("protected");
    Result<std::vector<std::string>> paths = AbsolutePaths(at);
    if (!paths) return Forward(paths);
    for (const std::string& path : *paths) {
      if (path == "/") return at.Fail("\"/\" would deny the whole container");
    }
    config.protected_paths = std::move(*paths);
  }
  if (root.Has("initPath")) {
    Result<std::string> path = AbsolutePath(root.At("initPath"));
    if (!path) return Forward(path);
    config.init_path = std::move(*path);
    config.plan_source = Join(Parent(config.init_path), kPlanSourceName);
  }
  if (root.Has("runDir")) {
    Result<std::string> path = AbsolutePath(root.At("runDir"));
    if (!path) return Forward(path);
    config.run_dir = std::move(*path);
  }
  if (root.Has("runtime")) {
    const JsonCursor at = root.At("runtime");
    Result<std::string> runtime = at.String(PATH_MAX);
    if (!runtime) return Forward(runtime);
    const bool has_slash = runtime->find('/') != std::string::npos;
    if (runtime->empty() || (has_slash && !IsCleanAbsolute(*runtime))) {
      return at.Fail("must be an absolute path, or a program's name to be found on PATH");
    }
    config.runtime = std::move(*runtime);
  }
  PlaceSockets(config);
  return config;
}

Result<Config> LoadConfig(const std::optional<std::string>& given) {
  Result<Config> defaults = Defaults();
  if (!defaults) return defaults;

  std::vector<std::string> candidates;
  const std::string named = given ? *given : Environment("LANDGATE_CONFIG");
  if (given && given->empty()) return BadUsage("--config: needs a file's name");
  if (!named.empty()) {
    Result<std::string> path = Absolute(named);
    if (!path) return Forward(path);
    candidates.push_back(std::move(*path));
    defaults->named = true;
  } else {
    if (defaults->rootless) {
      const std::string user = FindUserDirectories().config;
      if (!user.empty()) candidates.push_back(Join(user, "landgate/config.json"));
    }
    candidates.emplace_back("/etc/landgate/config.json");
  }

  Config config = std::move(*defaults);
  for (const std::string& file : candidates) {
    Result<std::string> text = ReadTrustedFile(file, geteuid());
    if (!text) {
      if (text.error().error_number == ENOENT && !config.named) continue;
      return Context("configuration", text);
    }
    Result<Config> decoded = DecodeConfig(*text, file, std::move(config));
    if (!decoded) return decoded;
    config = std::move(*decoded);
    break;
  }
  if (config.run_dir.empty()) {
    return Refuse(
        "neither XDG_RUNTIME_DIR nor /run/user/UID is there: set XDG_RUNTIME_DIR, or `runDir` in "
        "config.json");
  }
  PlaceSockets(config);
  return config;
}

}  // namespace landgate::node
