// The frame of landgatectl: what every command shares.
#ifndef LANDGATE_AGENT_CTL_CTL_COMMAND_H_
#define LANDGATE_AGENT_CTL_CTL_COMMAND_H_

#include <CLI/App.hpp>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "node/config.h"

namespace landgate::ctl {

// Filled in while the command line is parsed. The chosen command is run afterwards, outside the
// parser, so that none of its errors meets CLI11's exceptions.
struct Invocation {
  std::optional<std::string> config_file;  // --config
  std::function<int()> run;                // of the chosen command; returns the exit status

  Result<node::Config> Config() const { return node::LoadConfig(config_file); }
};

void AddPolicyCommands(CLI::App& app, Invocation& invocation);     // policy validate, explain, …
void AddCheckCommand(CLI::App& app, Invocation& invocation);       // check
void AddContainerCommands(CLI::App& app, Invocation& invocation);  // ps, inspect
void AddEventsCommand(CLI::App& app, Invocation& invocation);      // events

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_COMMAND_H_
