#include "agent/ctl/ctl_check_node.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/ctl_output.h"
#include "agent/ctl/ctl_policy_list.h"
#include "agent/ctl/ctl_subprocess.h"
#include "base/files.h"
#include "base/paths.h"
#include "node/policies.h"
#include "node/registration.h"

namespace landgate::ctl {
namespace {

using node::Config;

constexpr std::chrono::seconds kVersionTimeout{10};

std::string Octal(mode_t mode) {
  std::array<char, 8> text{};
  (void)snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode & 07777));
  return text.data();
}

Item CheckConfigFile(const Result<Config>& config) {
  Item item{"config", "Configuration", State::kOk, "", "", nullptr};
  if (!config) {
    item.state = State::kMisconfigured;
    item.detail = config.error().message;
    item.remedy = "mend that file; landgate's hooks refuse containers until it is valid";
  } else {
    item.detail = config->file.empty() ? "no file, built-in defaults" : config->file;
  }
  return item;
}

Item CheckLauncher(const Config& config) {
  Item item{"launcher", "Launcher", State::kOk, config.init_path, "", nullptr};
  struct stat st {};
  if (stat(config.init_path.c_str(), &st) != 0) {
    item.state = State::kMissing;
    item.detail += ": " + ErrnoText(errno);
    item.remedy = "install landgate-init, or name it by initPath in config.json";
    return item;
  }
  item.detail += ", mode " + Octal(st.st_mode);
  item.data = {{"path", config.init_path}, {"mode", Octal(st.st_mode)}, {"uid", st.st_uid}};
  if (!S_ISREG(st.st_mode) || (st.st_mode & S_IXOTH) == 0) {
    item.state = State::kMisconfigured;
    item.remedy = "containers run it as any user: chmod 0711 " + config.init_path;
    return item;
  }
  if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    item.state = State::kMisconfigured;
    item.remedy = "somebody else could replace it: chown root " + config.init_path +
                  "; chmod 0711 " + config.init_path;
    return item;
  }
  Result<Finished> version = RunProgram({config.init_path, "--version"}, kVersionTimeout);
  if (!version || !version->ok()) {
    item.state = State::kMissing;
    item.detail += ": " + (version ? version->LastLine() : version.error().message);
    item.remedy = "install the landgate-init of this version and architecture";
  } else if (version->out.find(LANDGATE_VERSION) == std::string::npos) {
    item.state = State::kMisconfigured;
    item.detail += ": " + version->LastLine() + ", but this is " LANDGATE_VERSION;
    item.remedy = "install programs of one version; a launcher refuses plans of another";
  }
  return item;
}

// The other programs, which engines call by the path in their own configuration.
Item CheckProgram(const std::string& directory, const std::string& name) {
  const std::string path = Join(directory, name);
  Item item{name, name, State::kOk, path, "", nullptr};
  if (access(path.c_str(), X_OK) != 0) {
    item.state = State::kMissing;
    item.detail += ": " + ErrnoText(errno);
    item.remedy = "install it beside landgatectl";
    return item;
  }
  // landgate-runtime hands --version to the runtime behind it, as a drop-in must.
  const bool runtime = name == "landgate-runtime";
  Result<Finished> version =
      RunProgram({path, runtime ? "--landgate-version" : "--version"}, kVersionTimeout);
  if (!version || !version->ok()) {
    item.state = State::kMissing;
    item.detail += ": " + (version ? version->LastLine() : version.error().message);
    item.remedy = "install the program of this version and architecture";
  } else if (version->out.find(LANDGATE_VERSION) == std::string::npos) {
    item.state = State::kMisconfigured;
    item.detail += ": " + version->LastLine() + ", but this is " LANDGATE_VERSION;
    item.remedy = "install programs of one version";
  }
  return item;
}

Item CheckPolicyDirectory(const std::string& directory, bool& any) {
  Item item{"policies." + directory, "Policies", State::kOk, directory, "", nullptr};
  struct stat st {};
  if (stat(directory.c_str(), &st) != 0) {
    item.state = errno == ENOENT ? State::kInfo : State::kMisconfigured;
    item.detail += errno == ENOENT ? ": not there" : ": " + ErrnoText(errno);
    if (item.state == State::kMisconfigured) item.remedy = "make it readable for this user";
    return item;
  }
  any = true;
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 || (st.st_uid != 0 && st.st_uid != geteuid())) {
    item.state = State::kMisconfigured;
    item.detail += ": belongs to uid " + std::to_string(st.st_uid) + ", mode " + Octal(st.st_mode);
    item.remedy = "others could replace policies, so none is read: chown root " + directory +
                  "; chmod go-w " + directory;
  }
  return item;
}

void CheckPolicies(const Config& config, std::vector<Item>& items) {
  bool any = false;
  for (const std::string& directory : config.policy_dirs)
    items.push_back(CheckPolicyDirectory(directory, any));
  const std::vector<ListedPolicy> listed = ListPolicies(config);
  size_t usable = 0;
  for (const ListedPolicy& entry : listed) {
    if (entry.problem.empty()) {
      ++usable;
      continue;
    }
    items.push_back({"policy." + entry.name, "Policy " + entry.name, State::kMisconfigured,
                     entry.problem, "see: landgatectl policy validate " + entry.file, nullptr});
  }
  items.push_back({"policies", "Usable policies", usable > 0 ? State::kOk : State::kWarning,
                   std::to_string(usable) + " of " + std::to_string(listed.size()),
                   usable > 0 ? ""
                              : (any ? "put NAME.json into one of these directories"
                                     : "make /etc/landgate/policies and put NAME.json into it"),
                   nullptr});
}

// What config.json names must be there: otherwise every container that it concerns is refused.
void CheckNamedPolicies(const Config& config, std::vector<Item>& items) {
  const auto check = [&](const std::string& place, const std::string& name) {
    if (Result<policy::Policy> loaded = node::LoadPolicy(config, name); !loaded)
      items.push_back({"config" + place, config.file + ": " + place, State::kMisconfigured,
                       loaded.error().message, "containers that this concerns are refused",
                       nullptr});
  };
  if (config.default_policy) check("/defaultPolicy", *config.default_policy);
  for (size_t i = 0; i < config.rules.size(); ++i)
    check("/rules/" + std::to_string(i) + "/policy", config.rules[i].policy);
}

Item CheckRunDirectory(const Config& config) {
  Item item{"run.directory", "Run directory", State::kOk, config.run_dir, "", nullptr};
  std::string existing = config.run_dir;
  struct stat st {};
  while (stat(existing.c_str(), &st) != 0) {
    if (errno != ENOENT || existing == "/") {
      item.state = State::kMisconfigured;
      item.detail += ": " + ErrnoText(errno);
      item.remedy = "name a usable directory by runDir in config.json";
      return item;
    }
    existing = Parent(existing);
  }
  if (!S_ISDIR(st.st_mode)) {
    item.state = State::kMisconfigured;
    item.detail += ": " + existing + " is not a directory";
    item.remedy = "move it away, or name another directory by runDir in config.json";
  } else if (access(existing.c_str(), W_OK | X_OK) != 0) {
    item.state = State::kMisconfigured;
    item.detail += ": " + existing + ": " + ErrnoText(errno);
    item.remedy = "make it writable for this user, or name another by runDir in config.json";
  } else if (existing == config.run_dir && ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
                                            (st.st_uid != 0 && st.st_uid != geteuid()))) {
    item.state = State::kMisconfigured;
    item.detail += ": belongs to uid " + std::to_string(st.st_uid) + ", mode " + Octal(st.st_mode);
    item.remedy = "others could write plans and records there: chmod go-w " + config.run_dir;
  } else if (existing != config.run_dir) {
    item.detail += ", made when the first container starts";
  }
  return item;
}

// Whether there is an agent, and what follows: it takes one to confine exec sessions in hook mode,
// and for audit mode.
Item CheckAgent(const Config& config) {
  Item item{"agent", "Agent", State::kOk, "answers on " + config.agent_socket, "", nullptr};
  const bool answers = node::AgentAnswers(config.agent_socket);
  item.data = {
      {"socket", config.agent_socket}, {"answers", answers}, {"required", config.require_agent}};
  if (answers) return item;
  const std::string start =
      config.rootless ? "systemctl --user start landgate-agent" : "systemctl start landgate-agent";
  item.state = config.require_agent ? State::kMissing : State::kInfo;
  if (access(config.agent_socket.c_str(), W_OK) != 0 && errno == EACCES) {
    item.state = State::kInfo;
    item.detail = config.agent_socket + ": not for this user to ask";
    item.remedy = "run check as the user who runs the hooks";
    return item;
  }
  item.detail = "none on " + config.agent_socket;
  item.detail += config.require_agent
                     ? ", and requireAgent is set: no container starts under a policy"
                     : ": policies hold all the same; podman exec and runc exec into containers "
                       "prepared by hooks are refused, and there is no audit mode";
  item.remedy = "start it (" + start + ", or landgate-agent in the foreground)";
  if (!config.require_agent) item.remedy = "to have them, " + item.remedy;
  return item;
}

// --- engines
// --------------------------------------------------------------------------------------

// Where the installation keeps an engine's example file; in a build tree there is none.
std::string Example(const std::string& name) {
  Result<std::string> programs = node::ProgramDirectory();
  if (!programs) return "";
  const std::string file = std::string(Parent(*programs)) + "/share/landgate/examples/" + name;
  return access(file.c_str(), R_OK) == 0 ? "; example: " + file : "";
}

std::string VersionLine(const std::string& program) {
  Result<Finished> version = RunProgram({program, "--version"}, kVersionTimeout);
  if (!version) return version.error().message;
  return version->out.substr(0, version->out.find('\n'));
}

struct CloseDirectory {
  void operator()(DIR* directory) const { (void)closedir(directory); }
};

std::vector<std::string> FilesIn(const std::string& directory) {
  std::vector<std::string> files;
  const std::unique_ptr<DIR, CloseDirectory> open(opendir(directory.c_str()));
  if (!open) return files;
  while (const dirent* entry = readdir(open.get())) {
    if (entry->d_name[0] != '.') files.push_back(directory + "/" + entry->d_name);
  }
  return files;
}

// podman 4.3 reads the first by default, and the second only where its configuration names it,
// whatever podman(1) says.
constexpr std::string_view kDefaultHooks = "/usr/share/containers/oci/hooks.d";
constexpr std::string_view kEtcHooks = "/etc/containers/oci/hooks.d";

bool IsNamedInContainersConf(std::string_view directory) {
  for (const char* file :
       {"/usr/share/containers/containers.conf", "/etc/containers/containers.conf"}) {
    Result<std::string> text = ReadFile(file);
    if (!text) continue;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      if (line.substr(0, line.find('#')).find(directory) != std::string::npos) return true;
    }
  }
  return false;
}

// hooks.d of podman and CRI-O (oci-hooks(5)): a file of ours says {"hook": {"path":
// …/landgate-hook}}.
Item CheckHooksDirectories() {
  Item item{"hooks.d", "hooks.d", State::kInfo, "no hook of landgate", "", nullptr};
  for (const std::string_view directory : {kEtcHooks, kDefaultHooks}) {
    for (const std::string& file : FilesIn(std::string(directory))) {
      if (!file.ends_with(".json")) continue;
      Result<std::string> text = ReadFile(file);
      if (!text || text->find("landgate-hook") == std::string::npos) continue;
      Result<policy::Json> document = policy::ParseJson(*text, file, policy::Comments::kRefused);
      const policy::Json* path = nullptr;
      if (document && document->is_object() && document->contains("hook") &&
          (*document)["hook"].is_object() && (*document)["hook"].contains("path"))
        path = &(*document)["hook"]["path"];
      const std::string* program = path ? path->get_ptr<const std::string*>() : nullptr;
      item.detail = file;
      if (program == nullptr) {
        item.state = State::kMisconfigured;
        item.detail += document ? ": no hook.path" : ": " + document.error().message;
        item.remedy = "install the file from landgate's packaging again";
        return item;
      }
      if (access(program->c_str(), X_OK) != 0) {
        item.state = State::kMisconfigured;
        item.detail += ": " + *program + ": " + ErrnoText(errno);
        item.remedy =
            "podman refuses to start containers whose hook is missing: name the installed "
            "landgate-hook there";
        return item;
      }
      item.state = State::kOk;
      item.remedy.clear();
      if (directory == kEtcHooks && !IsNamedInContainersConf(kEtcHooks)) {
        item.state = State::kWarning;
        item.remedy =
            "podman reads this directory only if hooks_dir in containers.conf names it: move the "
            "file to " +
            std::string(kDefaultHooks);
      }
    }
  }
  if (item.state == State::kInfo)
    item.remedy = "podman and CRI-O: put landgate's file into " + std::string(kDefaultHooks) +
                  ", or use landgate-runtime" + Example("hooks.d/landgate.json");
  return item;
}

// Whether an engine's configuration file names landgate-runtime at all; the file's syntax is the
// engine's business.
Item CheckRuntimeNamedIn(const std::string& id, const std::string& title,
                         const std::vector<std::string>& files, const std::string& remedy) {
  Item item{id, title, State::kInfo, "", "", nullptr};
  for (const std::string& file : files) {
    Result<std::string> text = ReadFile(file);
    if (!text || text->find("landgate-runtime") == std::string::npos) continue;
    item.state = State::kOk;
    item.detail = "landgate-runtime is named in " + file;
    return item;
  }
  item.detail = "landgate-runtime is not named in " + files.front();
  item.remedy = remedy;
  return item;
}

}  // namespace

Section CheckNode(const Result<Config>& config) {
  Section section{"Landgate " LANDGATE_VERSION, {}};
  section.items.push_back(CheckConfigFile(config));
  Result<std::string> programs = node::ProgramDirectory();
  if (programs) {
    section.items.push_back(CheckProgram(*programs, "landgate-hook"));
    section.items.push_back(CheckProgram(*programs, "landgate-runtime"));
    section.items.push_back(CheckProgram(*programs, "landgate-agent"));
  }
  if (!config) return section;
  section.items.push_back(CheckLauncher(*config));
  CheckPolicies(*config, section.items);
  CheckNamedPolicies(*config, section.items);
  section.items.push_back(CheckRunDirectory(*config));
  section.items.push_back(CheckAgent(*config));
  return section;
}

Section CheckEngines() {
  Section section{"Engines", {}};
  const Result<std::string> programs = node::ProgramDirectory();
  const std::string runtime = Join(programs ? *programs : "/usr/bin", "landgate-runtime");
  bool reads_hooks = false;
  for (const char* name : {"podman", "docker", "containerd", "ctr", "crio"}) {
    const std::optional<std::string> program = FindProgram(name);
    if (!program) continue;
    const std::string engine = name;
    section.items.push_back(
        {"engine." + engine, engine, State::kInfo, VersionLine(*program), "", nullptr});
    reads_hooks = reads_hooks || engine == "podman" || engine == "crio";
    if (engine == "docker") {
      section.items.push_back(
          CheckRuntimeNamedIn("docker.runtime", "Docker's runtimes", {"/etc/docker/daemon.json"},
                              "add {\"runtimes\": {\"landgate\": {\"path\": \"" + runtime +
                                  "\"}}} to daemon.json, "
                                  "then "
                                  "docker run --runtime landgate; Docker before 25 has no "
                                  "--annotation: name the policy by "
                                  "\"runtimeArgs\": [\"--landgate-policy\", NAME]" +
                                  Example("docker/daemon.json")));
    } else if (engine == "containerd") {
      section.items.push_back(CheckRuntimeNamedIn(
          "containerd.runtime", "containerd's runtime handlers", {"/etc/containerd/config.toml"},
          "add a runtime handler of type io.containerd.runc.v2 with BinaryName = "
          "\"" +
              runtime + "\" and pod_annotations = [\"io.landgate.*\"]" +
              Example("containerd/landgate.toml")));
    } else if (engine == "crio") {
      std::vector<std::string> files = {"/etc/crio/crio.conf"};
      for (std::string& file : FilesIn("/etc/crio/crio.conf.d")) files.push_back(std::move(file));
      section.items.push_back(CheckRuntimeNamedIn("crio.runtime", "CRI-O's runtime handlers", files,
                                                  "add a runtime handler with runtime_path = \"" +
                                                      runtime + "\", or use hooks.d" +
                                                      Example("crio/10-landgate.conf")));
    }
  }
  if (reads_hooks) section.items.push_back(CheckHooksDirectories());
  if (section.items.empty())
    section.items.push_back({"engines", "Engines", State::kInfo, "none found",
                             "plain runc and crun work too: landgate-hook inject, landgate-runtime",
                             nullptr});
  return section;
}

}  // namespace landgate::ctl
