// landgatectl: the user's tool.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "agent/ctl/ctl_command.h"
#include "agent/ctl/ctl_output.h"

namespace landgate::ctl {
namespace {

constexpr const char* kExamples =
    R"(Examples:
  landgatectl check
      Can this machine run containers under a policy? What to do where it can't.
  landgatectl policy validate ./web.json
      Every mistake and every consequence worth knowing, with its place in the file.
  landgatectl policy explain web-service --path /etc/shadow --right read
      Who decides about this file, and what the workload would see.
  landgatectl policy compile web-service --root /srv/rootfs
      What the kernel would enforce in this container's root file system, rule by rule.
  landgatectl ps
      The containers that the agent serves, under which policies, and how much of them holds.
  landgatectl events --follow --denied
      What is denied, as it happens.

Exit status:
  0  done; `explain`: allowed
  1  refused: a document, the configuration, or `explain`: denied
  2  bad command line
  3  not possible on this machine; no agent)";

// The command that the user has got to, for the hint: "landgatectl policy explain".
std::string DeepestCommand(const CLI::App& app) {
  std::string name = app.get_name();
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    name += " " + at->get_name();
  }
  return name;
}

int Usage(const CLI::App& app, const std::string& message) {
  const int status =
      PrintError(BadUsage(message + "; try: " + DeepestCommand(app) + " --help").value());
  return status;
}

int Main(int argc, char** argv) {
  CLI::App app("Landgate's tool: checks this machine, explains policies, and shows containers.",
               "landgatectl");
  app.set_version_flag("--version", "landgatectl " LANDGATE_VERSION);
  app.fallthrough();
  app.footer(kExamples);
  Invocation invocation;
  app.add_option("--config", invocation.config_file,
                 "Node configuration (default: $LANDGATE_CONFIG, else an ordinary user's own in "
                 "$XDG_CONFIG_HOME/landgate, else /etc/landgate/config.json)")
      ->type_name("FILE");
  AddCheckCommand(app, invocation);
  AddPolicyCommands(app, invocation);
  AddContainerCommands(app, invocation);
  AddEventsCommand(app, invocation);
  // CLI11 speaks by exceptions; they end here. --help and --version are among them.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return FinishOutput(app.exit(error) == 0 ? 0 : 2);
    return Usage(app, error.what());
  }
  // Not require_subcommand: it would answer a misspelt command with "a command is required".
  if (!invocation.run) return Usage(app, "a command is required");
  return FinishOutput(invocation.run());
}

}  // namespace
}  // namespace landgate::ctl

int main(int argc, char** argv) { return landgate::ctl::Main(argc, argv); }
