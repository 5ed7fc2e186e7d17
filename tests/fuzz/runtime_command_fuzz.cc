// fuzz: hook
// The runtime's command line, arguments separated by line feeds: what is understood is handed on
// whole.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "hook/runtime_command.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> arguments;
  std::string current;
  bool ours = false;
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      ours = ours || current.find("landgate-") != std::string::npos;
      arguments.push_back(std::move(current));
      current.clear();
    } else {
      current += static_cast<char>(data[i]);
    }
  }
  const landgate::Result<landgate::hook::RuntimeCommand> command =
      landgate::hook::ParseRuntimeCommand(arguments);
  if (!command) return 0;
  if (!ours && command->arguments != arguments) abort();
  if (command->exec_command >= command->arguments.size() && command->exec_command != 0) abort();
  if (command->process &&
      (command->process->index >= command->arguments.size() ||
       command->process->offset > command->arguments[command->process->index].size())) {
    abort();
  }
  return 0;
}
