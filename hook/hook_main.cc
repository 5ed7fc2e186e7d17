// landgate-hook: the OCI hook, and `inject` for bundles of plain runc. docs/hook.md is the manual.
#include <stdio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/files.h"
#include "hook/bundle.h"
#include "hook/complaint.h"
#include "hook/exec_refusal.h"
#include "hook/front_end.h"
#include "hook/poststop.h"
#include "hook/prestart.h"
#include "hook/record.h"
#include "node/config.h"

namespace landgate::hook {
namespace {

struct Options {
  std::optional<std::string> config;
  std::string front_end = "inject";
  std::string policy;
  std::string bundle;
};

Result<Request> MakeRequest(const Options& options) {
  const std::optional<FrontEnd> front_end = FrontEndByName(options.front_end);
  if (!front_end) {
    return BadUsage("--front-end " + options.front_end + ": must be precreate, inject or runtime");
  }
  return Request{*front_end, options.policy, ""};
}

// config.json on stdin, the patched one on stdout: all of it, or nothing and a failure.
Status Precreate(const Options& options) {
  Result<node::Config> config = node::LoadConfig(options.config);
  if (!config) return Forward(config);
  Result<std::string> text = ReadAll(BorrowedFd(STDIN_FILENO));
  if (!text) return Context("config.json on stdin", text);
  Result<Prepared> prepared =
      Prepare(*config, Request{FrontEnd::kPrecreate, options.policy, ""}, *text, "config.json");
  if (!prepared) return Forward(prepared);
  if (!prepared->exec_socket.empty()) {
    // The acceptor for this container's start would let in an exec session of that one, too.
    if (const auto other = FindByExecSocket(config->run_dir, prepared->exec_socket, "")) {
      return Refuse("container " + other->id +
                    " has the same root and control group, and its exec sessions could not be "
                    "refused while this one starts; give each its own, use landgate-runtime, or "
                    "set execSessions to unconfined");
    }
    if (Result<std::string> dir = MakeRunDirectory(config->run_dir, "exec"); !dir) {
      return Forward(dir);
    }
    if (Status ok = StartExecRefusal(prepared->exec_socket, kExecRefusalPatience); !ok) return ok;
  }
  return WriteAll(BorrowedFd(STDOUT_FILENO), prepared->patched.text);
}

Status RunPrestart(const Options& options) {
  Result<std::string> state = ReadAll(BorrowedFd(STDIN_FILENO));
  if (!state) return Context("state on stdin", state);
  Result<node::Config> config = node::LoadConfig(options.config);
  if (!config) return Forward(config);
  Result<Request> request = MakeRequest(options);
  if (!request) return Forward(request);
  return Prestart(*config, *request, *state);
}

Status RunPoststop(const Options& options) {
  Result<std::string> state = ReadAll(BorrowedFd(STDIN_FILENO));
  if (!state) return Context("state on stdin", state);
  Result<node::Config> config = node::LoadConfig(options.config);
  if (!config) return Forward(config);
  return Poststop(*config, *state);
}

Status Inject(const Options& options) {
  Result<node::Config> config = node::LoadConfig(options.config);
  if (!config) return Forward(config);
  Result<std::string> bundle = ResolveBundle(options.bundle);
  if (!bundle) return Forward(bundle);
  Result<Prepared> prepared =
      PatchBundle(*config, Request{FrontEnd::kInject, options.policy, *bundle});
  if (!prepared) return Forward(prepared);
  if (prepared->policies.empty()) {
    fprintf(stderr, "landgate-hook: %s: no policy is selected for this bundle; nothing changed\n",
            bundle->c_str());
  } else if (!prepared->exec_socket.empty()) {
    fprintf(
        stderr,
        "landgate-hook: %s: exec sessions will be refused, which works with runc only; for crun, "
        "and for confined exec sessions, use landgate-runtime, or set \"execSessions\": "
        "\"unconfined\" in the policy\n",
        bundle->c_str());
  }
  return {};
}

int Exit(const Status& done) {
  if (done) return static_cast<int>(ExitStatus::kDone);
  return Complain(done.error());
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("The OCI hook of Landgate: Landlock and seccomp for ordinary containers.",
               "landgate-hook");
  app.set_version_flag("--version", "landgate-hook " LANDGATE_VERSION);
  app.add_option("--config", options.config, "the node's config.json")->type_name("FILE");
  app.require_subcommand(1);
  app.fallthrough();

  CLI::App* precreate =
      app.add_subcommand("precreate", "podman: config.json on stdin, the patched one on stdout");
  CLI::App* prestart = app.add_subcommand(
      "prestart", "state on stdin: verify the patch, place masks and plan; part of the patch");
  CLI::App* create_runtime = app.add_subcommand("createRuntime", "the same as prestart");
  CLI::App* poststop = app.add_subcommand("poststop", "state on stdin: remove what prestart left");
  CLI::App* inject = app.add_subcommand("inject", "patch a bundle's config.json for plain runc");
  for (CLI::App* stage : {prestart, create_runtime}) {
    stage->add_option("--front-end", options.front_end, "who patched: precreate, inject or runtime")
        ->type_name("NAME");
  }
  for (CLI::App* stage : {precreate, prestart, create_runtime, inject}) {
    stage->add_option("--policy", options.policy, "a policy besides those that the node selects")
        ->type_name("NAME");
  }
  inject->add_option("--bundle", options.bundle, "the bundle's directory")
      ->type_name("DIR")
      ->required();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fprintf(stderr, "landgate-hook: %s; see landgate-hook --help\n", error.what());
    return static_cast<int>(ExitStatus::kUsage);
  }
  if (precreate->parsed()) return Exit(Precreate(options));
  if (poststop->parsed()) return Exit(RunPoststop(options));
  if (inject->parsed()) return Exit(Inject(options));
  return Exit(RunPrestart(options));
}

}  // namespace
}  // namespace landgate::hook

int main(int argc, char** argv) { return landgate::hook::Main(argc, argv); }
