// landgate-runtime: an OCI runtime in front of runc or crun. docs/runtime.md is the manual.
//
// create, run → patch the bundle; exec → patch the process; checkpoint, restore of a container
// under a policy → refused. Then the real runtime takes this program's place, with the same
// arguments.
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/paths.h"
#include "hook/bundle.h"
#include "hook/exec_session.h"
#include "hook/front_end.h"
#include "hook/real_runtime.h"
#include "hook/record.h"
#include "hook/runtime_command.h"
#include "hook/runtime_log.h"
#include "node/config.h"
#include "oci-specs/state.h"

namespace landgate::hook {
namespace {

constexpr char kHelp[] =
    R"(landgate-runtime [--landgate-policy NAME] [--landgate-config FILE] RUNTIME-ARGUMENTS…

An OCI runtime in front of runc or crun: containers that the node's configuration, an annotation
(io.landgate.policy) or --landgate-policy gives a policy run under it. Everything else goes to the
real runtime untouched, --help and --version included.

  --landgate-policy NAME   a policy for every container that is created through this command line
  --landgate-config FILE   the node's configuration instead of /etc/landgate/config.json
  --landgate-help          this text
  --landgate-version       the version of landgate-runtime

The real runtime is `runtime` of the configuration, else LANDGATE_RUNTIME, else runc, else crun.
)";

Status RefuseRestore(const node::Config& config, const Request& request, const std::string& file) {
  Result<std::string> text = ReadFile(file);
  if (!text) return Forward(text);
  Result<Prepared> prepared = Prepare(config, request, *text, file);
  if (!prepared) return Forward(prepared);
  if (prepared->policies.empty()) return {};
  return Refuse("restore: not supported for a container under a policy; start it anew");
}

// Patches the bundle of create and run. A bundle without config.json is left to the runtime to
// complain about.
Status PrepareBundle(const node::Config& config, const RuntimeCommand& command) {
  Result<std::string> bundle = ResolveBundle(command.bundle.value_or("."));
  if (!bundle) return Forward(bundle);
  const std::string file = Join(*bundle, "config.json");
  if (access(file.c_str(), F_OK) < 0 && errno == ENOENT) return {};
  const Request request{FrontEnd::kRuntime, command.policy.value_or(""), *bundle};
  if (command.command == "restore") return RefuseRestore(config, request, file);
  Result<Prepared> prepared = PatchBundle(config, request);
  if (!prepared) return Forward(prepared);
  // A container of this id that is gone may have left a record, which would be taken for this
  // one's. One that runs keeps its record.
  if (prepared->policies.empty() && oci::IsContainerId(command.id)) {
    return RemoveStale(config.run_dir, command.id);
  }
  return {};
}

// What the real runtime is to be started with.
Result<ConfinedExec> PrepareExec(const node::Config& config, const std::string& runtime,
                                 const RuntimeCommand& command) {
  Result<std::optional<Record>> record = FindRecord(config, runtime, command);
  if (!record) return Forward(record);
  if (!*record || (*record)->exec_sessions == policy::ExecSessions::kUnconfined) {
    return ConfinedExec{command.arguments, UniqueFd()};
  }
  if ((*record)->exec_sessions == policy::ExecSessions::kRefused) {
    return Refuse("exec: the policy of container " + command.id +
                  " refuses exec sessions (execSessions)");
  }
  if (Status ok = VerifyLauncher(**record); !ok) return Forward(ok);
  return ConfineExec(command, (*record)->keep);
}

Status Act(const RuntimeCommand& command) {
  Result<node::Config> config = node::LoadConfig(command.config);
  if (!config) return Forward(config);
  Result<std::string> runtime = FindRealRuntime(*config);
  if (!runtime) return Forward(runtime);
  ConfinedExec exec{command.arguments, UniqueFd()};
  if (!command.asks_for_help && !command.id.empty()) {
    const std::string& name = command.command;
    if (name == "create" || name == "run" || name == "restore") {
      if (Status ok = PrepareBundle(*config, command); !ok) return ok;
    } else if (name == "exec") {
      Result<ConfinedExec> prepared = PrepareExec(*config, *runtime, command);
      if (!prepared) return Forward(prepared);
      exec = std::move(*prepared);
    } else if (name == "checkpoint") {
      Result<std::optional<Record>> record = FindRecord(*config, *runtime, command);
      if (!record) return Forward(record);
      if (*record) return Refuse("checkpoint: not supported for a container under a policy");
    }
  }
  return ExecRealRuntime(*runtime, exec.arguments);
}

int Fail(const Error& error, const RuntimeCommand& command) {
  ReportRuntimeError("landgate-runtime: " + error.message, command.log, command.log_format);
  return static_cast<int>(error.status);
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  Result<RuntimeCommand> command = ParseRuntimeCommand(arguments);
  if (!command) return Fail(command.error(), UnderstoodGlobals(arguments));
  if (command->help) {
    fputs(kHelp, stdout);
    return 0;
  }
  if (command->version) {
    puts("landgate-runtime " LANDGATE_VERSION);
    return 0;
  }
  const Status failed = Act(*command);
  return Fail(failed.error(), *command);
}

}  // namespace
}  // namespace landgate::hook

int main(int argc, char** argv) { return landgate::hook::Main(argc, argv); }
