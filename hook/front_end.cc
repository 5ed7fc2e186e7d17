#include "hook/front_end.h"

#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/paths.h"
#include "node/policies.h"
#include "node/registration.h"
#include "oci-specs/seccomp_profile.h"

namespace landgate::hook {
namespace {

struct Name {
  FrontEnd front_end;
  std::string_view name;
};
constexpr std::array<Name, 4> kNames = {{{FrontEnd::kPrecreate, "precreate"},
                                         {FrontEnd::kInject, "inject"},
                                         {FrontEnd::kRuntime, "runtime"},
                                         {FrontEnd::kPrestart, "prestart"}}};

// FNV-1a: a short file name out of a long one. Nobody but the engine chooses what goes in.
std::string Digest(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (int shift = 60; shift >= 0; shift -= 4) hex += kDigits[(hash >> shift) & 15];
  return hex;
}

// The same for one container whenever it is asked, different for any two that start together.
std::string ExecSocket(const node::Config& config, const Request& request,
                       const oci::ConfigView& view) {
  const std::string key = request.front_end == FrontEnd::kPrecreate
                              ? view.cgroups_path + '\n' + view.root_path
                              : request.bundle;
  return Join(config.run_dir, "exec/" + Digest(key) + ".sock");
}

// Said here, because the runtime would only say that some mount failed.
Status CheckSources(const node::Config& config) {
  struct stat st;
  if (stat(config.init_path.c_str(), &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR)) {
    return Impossible(config.init_path +
                      ": the launcher is not there, or not executable; install it or set initPath "
                      "in config.json");
  }
  if (stat(config.plan_source.c_str(), &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != 0) {
    return Impossible(config.plan_source +
                      ": must be an empty file beside landgate-init; install it again");
  }
  return {};
}

Result<oci::HookEntry> MakeHook(const node::Config& config, std::string_view stage) {
  Result<std::string> programs = node::ProgramDirectory();
  if (!programs) return Forward(programs);
  oci::HookEntry hook;
  hook.path = Join(*programs, "landgate-hook");
  hook.args = {"landgate-hook", std::string(stage)};
  if (config.named) {
    hook.args.emplace_back("--config");
    hook.args.push_back(config.file);
  }
  if (config.rootless) {
    // Runtimes start hooks with an empty environment; the hook must find the same files.
    const node::UserDirectories user = node::FindUserDirectories();
    if (!user.config.empty()) hook.env.push_back("XDG_CONFIG_HOME=" + user.config);
    if (!user.runtime.empty()) hook.env.push_back("XDG_RUNTIME_DIR=" + user.runtime);
  }
  return hook;
}

// Which listeners may stand in config.json, the preferred one first.
std::vector<ListenerVariant> Acceptable(const node::Config& config, const Request& request,
                                        const Prepared& prepared) {
  if (prepared.pure) return {ListenerVariant::kNone};
  if (prepared.mode == oci::Mode::kAudit) return {ListenerVariant::kAgent};
  if (request.front_end == FrontEnd::kRuntime ||
      prepared.floor.exec_sessions == policy::ExecSessions::kUnconfined) {
    return {ListenerVariant::kNone};
  }
  if (prepared.floor.exec_sessions == policy::ExecSessions::kRefused) {
    return {ListenerVariant::kRefusal};
  }
  if (config.require_agent) return {ListenerVariant::kAgent};
  return {ListenerVariant::kAgent, ListenerVariant::kRefusal};
}

Result<ListenerVariant> ChooseListener(const node::Config& config, const Request& request,
                                       const Prepared& prepared) {
  const std::vector<ListenerVariant> acceptable = Acceptable(config, request, prepared);
  if (request.verify) {
    const bool agent = prepared.view.listener_path == config.agent_socket;
    const ListenerVariant present = prepared.view.listener_path.empty() ? ListenerVariant::kNone
                                    : agent                             ? ListenerVariant::kAgent
                                                                        : ListenerVariant::kRefusal;
    // What may not stand there differs from the patch with what may, and is refused for it.
    return std::find(acceptable.begin(), acceptable.end(), present) != acceptable.end()
               ? present
               : acceptable.front();
  }
  const bool choice = acceptable.size() > 1;
  const bool needed = config.require_agent || prepared.mode == oci::Mode::kAudit;
  if (!choice && !needed) return acceptable.front();
  if (node::AgentAnswers(config.agent_socket)) return acceptable.front();
  if (needed) {
    return Impossible("no agent answers on " + config.agent_socket + ", and " +
                      (prepared.mode == oci::Mode::kAudit
                           ? "the annotation io.landgate.mode asks for an audit, which takes one"
                           : config.file + ": /requireAgent asks for one") +
                      "; start landgate-agent");
  }
  return acceptable.back();
}

std::optional<oci::Listener> MakeListener(const node::Config& config, const Prepared& prepared) {
  switch (prepared.listener) {
    case ListenerVariant::kNone:
      break;
    case ListenerVariant::kRefusal:
      return oci::Listener{prepared.exec_socket, "", {oci::kExecRefusalSyscall}};
    case ListenerVariant::kAgent:
      return oci::Listener{
          config.agent_socket, oci::kAgentMetadata,
          prepared.mode == oci::Mode::kAudit ? oci::kAuditNotifications : oci::kExecNotifications};
  }
  return std::nullopt;
}

Result<oci::PatchRequest> MakePatch(const node::Config& config, const Request& request,
                                    const Prepared& prepared) {
  Result<oci::HookEntry> prestart = MakeHook(config, "prestart");
  if (!prestart) return Forward(prestart);
  prestart->args.emplace_back("--front-end");
  prestart->args.emplace_back(FrontEndName(request.front_end));
  if (!request.forced_policy.empty()) {
    prestart->args.emplace_back("--policy");
    prestart->args.push_back(request.forced_policy);
  }
  Result<oci::HookEntry> poststop = MakeHook(config, "poststop");
  if (!poststop) return Forward(poststop);

  oci::PatchRequest patch;
  patch.prestart = {std::move(*prestart)};
  patch.poststop = {std::move(*poststop)};
  patch.listener = MakeListener(config, prepared);
  patch.confine = prepared.mode == oci::Mode::kEnforce;
  if (!patch.confine) return patch;
  patch.launcher_source = config.init_path;
  patch.plan_source = config.plan_source;
  patch.keep = prepared.floor.keep;
  patch.masked_paths = prepared.floor.masked_paths;
  patch.readonly_paths = prepared.floor.readonly_paths;
  return patch;
}

}  // namespace

std::string_view FrontEndName(FrontEnd front_end) {
  for (const Name& entry : kNames) {
    if (entry.front_end == front_end) return entry.name;
  }
  return "";
}

std::string_view ListenerVariantName(ListenerVariant variant) {
  switch (variant) {
    case ListenerVariant::kNone:
      break;
    case ListenerVariant::kRefusal:
      return "refusal";
    case ListenerVariant::kAgent:
      return "agent";
  }
  return "none";
}

std::optional<FrontEnd> FrontEndByName(std::string_view name) {
  for (const Name& entry : kNames) {
    if (entry.name == name) return entry.front_end;
  }
  return std::nullopt;
}

Result<Prepared> Prepare(const node::Config& config, const Request& request, std::string_view text,
                         std::string_view file) {
  Prepared prepared;
  prepared.pure = request.front_end == FrontEnd::kPrestart;
  Result<oci::ConfigView> view = oci::ReadConfig(text, file);
  if (!view) return Forward(view);
  prepared.view = std::move(*view);
  Result<node::Selection> selection =
      node::SelectPolicies(config, prepared.view.annotations, request.forced_policy);
  if (!selection) return Forward(selection);
  prepared.policies = std::move(selection->policies);
  prepared.mode = selection->mode;
  if (prepared.policies.empty()) {
    if (prepared.view.patched) {
      return Refuse(std::string(file) +
                    ": /process/args: starts the launcher, but no policy is selected for this "
                    "container any more; name the policy again, or make the bundle anew");
    }
    if (!prepared.view.listener_path.empty() &&
        prepared.view.listener_path == config.agent_socket) {
      return Refuse(std::string(file) +
                    ": /linux/seccomp/listenerPath: is the agent's, but no policy is selected for "
                    "this container any more; name the policy again, or make the bundle anew");
    }
    prepared.patched.text = text;
    return prepared;
  }

  if (prepared.mode == oci::Mode::kEnforce) {
    if (Status ok = CheckSources(config); !ok) return Forward(ok);
    Result<sandbox::StaticFloor> floor = sandbox::CompileStatic(prepared.policies);
    if (!floor) return Forward(floor);
    prepared.floor = std::move(*floor);
  } else {
    prepared.floor.exec_sessions = policy::ExecSessions::kUnconfined;
  }
  Result<ListenerVariant> listener = ChooseListener(config, request, prepared);
  if (!listener) return Forward(listener);
  prepared.listener = *listener;
  if (prepared.listener == ListenerVariant::kRefusal) {
    prepared.exec_socket = ExecSocket(config, request, prepared.view);
  }
  Result<oci::PatchRequest> patch = MakePatch(config, request, prepared);
  if (!patch) return Forward(patch);
  Result<oci::Patched> patched = oci::PatchConfig(text, file, *patch);
  if (!patched) return Forward(patched);
  prepared.patched = std::move(*patched);
  return prepared;
}

}  // namespace landgate::hook
