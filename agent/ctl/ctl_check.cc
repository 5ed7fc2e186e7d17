// `landgatectl check`: can this machine run containers under a policy, and what to do where it
// can't.
#include <unistd.h>

#include <CLI/App.hpp>
#include <memory>
#include <string>
#include <utility>

#include "agent/ctl/ctl_check_node.h"
#include "agent/ctl/ctl_check_runtimes.h"
#include "agent/ctl/ctl_command.h"
#include "agent/ctl/ctl_output.h"
#include "agent/ctl/ctl_report.h"
#include "base/paths.h"

namespace landgate::ctl {
namespace {

RuntimeTrials TrialsFor(const Result<node::Config>& config, const std::string& programs) {
  // With a broken configuration the trials go on with what lies beside us.
  if (!config) {
    std::string launcher = Join(Parent(programs), "libexec/landgate/landgate-init");
    if (access(launcher.c_str(), F_OK) < 0) launcher = Join(programs, "landgate-init");
    return {std::nullopt, launcher, programs};
  }
  return {config->runtime, config->init_path, programs};
}

int Check(const Invocation& invocation, bool json) {
  Result<std::string> programs = node::ProgramDirectory();
  if (!programs) return PrintError(programs.error());
  const Result<node::Config> config = invocation.Config();
  Report report;
  report.push_back(CheckKernel());
  report.push_back(CheckSurroundings());
  report.push_back(CheckNode(config));
  report.push_back(CheckRuntimes(TrialsFor(config, *programs)));
  report.push_back(CheckEngines());
  if (json) {
    PrintJson(ReportJson(report));
  } else {
    PrintReport(report);
  }
  return static_cast<int>(StatusOf(report));
}

}  // namespace

void AddCheckCommand(CLI::App& app, Invocation& invocation) {
  auto json = std::make_shared<bool>(false);
  CLI::App* check = app.add_subcommand(
      "check", "Find out whether containers can run under a policy here, and what to do if not");
  check->add_flag("--json", *json, "Print JSON");
  check->footer(
      "What it says works, it has tried: filters and mounts in a forked child, runtimes by "
      "starting\n"
      "containers of a few milliseconds. Nothing stays behind. Run it as the user who runs the "
      "engine.\n"
      "Exit status: 0 everything that a policy needs works, 3 something is missing (kernel, "
      "runtime,\n"
      "program), 1 a configuration needs mending.");
  check->callback([&invocation, json] {
    invocation.run = [&invocation, json] { return Check(invocation, *json); };
  });
}

}  // namespace landgate::ctl
