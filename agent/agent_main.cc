// landgate-agent: see docs/agent.md.
#include <CLI/CLI.hpp>
#include <cstdio>

int main(int argc, char** argv) {
  CLI::App app("Serves the seccomp listeners of containers that run under Landgate's policies.");
  app.set_version_flag("--version", "landgate-agent " LANDGATE_VERSION);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
