// landgate-agent: see docs/agent.md.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <optional>
#include <string>

#include "agent/helper/helper.h"
#include "agent/holder/holder.h"
#include "agent/log.h"
#include "agent/server/server.h"
#include "node/config.h"

namespace landgate::agent {
namespace {

constexpr const char* kMore =
    R"(Without a command: serve.

Signals:
  TERM, INT  stops; containers wait for the next agent, and nothing of them fails
  HUP        opens the audit log again

Exit status:
  0  stopped by a signal
  1  refused: the configuration, or files that others can write
  2  bad command line
  3  not possible here: kernel, another agent)";

constexpr const char* kMoreOfHold =
    R"(The serving process starts one by itself where none answers.

Signals:
  TERM, INT  stops as soon as nothing is kept for a container
  KILL       stops at once: without a serving process, what containers are notified for fails

Exit status:
  0  stopped
  1  refused: the configuration
  2  bad command line
  3  not possible here: kernel, another holder)";

int PrintError(const Error& error) {
  (void)fprintf(stderr, "landgate-agent: %s\n", error.message.c_str());
  return static_cast<int>(error.status);
}

int ServeMain(const std::optional<std::string>& config_file) {
  const Result<node::Config> config = node::LoadConfig(config_file);
  if (!config) return PrintError(config.error());
  const auto log = MakeLog();
  const Status served = Serve(*config, *log);
  return served ? 0 : PrintError(served.error());
}

int Main(int argc, char** argv) {
  CLI::App app("Serves the seccomp listeners of containers that run under Landgate's policies.",
               "landgate-agent");
  app.set_version_flag("--version", "landgate-agent " LANDGATE_VERSION);
  app.fallthrough();
  app.footer(kMore);
  std::optional<std::string> config_file;
  app.add_option("--config", config_file,
                 "Node configuration (default: $LANDGATE_CONFIG, else an ordinary user's own in "
                 "$XDG_CONFIG_HOME/landgate, else /etc/landgate/config.json)")
      ->type_name("FILE");
  app.add_subcommand("serve", "Serve; the default");
  CLI::App* hold = app.add_subcommand(
      "hold", "Keep the descriptors of the serving process, so that containers outlive it");
  hold->footer(kMoreOfHold);
  HoldOptions options;
  hold->add_option("--socket", options.socket_path,
                   "Where the serving process connects (default: holder.sock in runDir)")
      ->type_name("PATH");
  hold->add_flag("--stay", options.stay, "Never end by itself: for a service of its own");
  hold->add_flag("--background", options.background)->group("");
  CLI::App* helper = app.add_subcommand("helper", "Internal");
  helper->group("");
  // CLI11 speaks by exceptions; they end here. --help and --version are among them.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error) == 0 ? 0 : 2;
    return PrintError(BadUsage(std::string(error.what()) + "; try: landgate-agent --help").value());
  }
  if (helper->parsed()) return HelperMain(HelperOperations());
  if (!hold->parsed()) return ServeMain(config_file);
  if (options.socket_path.empty()) {
    const Result<node::Config> config = node::LoadConfig(config_file);
    if (!config) return PrintError(config.error());
    options.socket_path = config->holder_socket;
  }
  return HoldMain(options);
}

}  // namespace
}  // namespace landgate::agent

int main(int argc, char** argv) { return landgate::agent::Main(argc, argv); }
