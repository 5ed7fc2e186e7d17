// The command line of runc and crun, as far as landgate-runtime must understand it: global flags,
// the command, the bundle, the container's id, and of `exec` the process document or where the
// command begins. Everything else is handed on byte for byte. Pure; thread-safe.
//
// Both styles are read: runc's (Go flags: --bundle X, --bundle=X) and crun's (GNU: -b X, -bX,
// clusters such as -td). Refused, because what runs would be a guess: a flag that no table names
// without a `=` (is the next argument its value, or the command?), abbreviations (--bundl: crun
// completes them), a long name behind one dash that begins with a short flag (-bundle: crun reads
// -b undle), a value for --help (runc takes --help=false), and flags behind the id of create, run,
// restore and checkpoint (runc reads them, crun doesn't). `exec` stops at the id in both.
#ifndef LANDGATE_HOOK_RUNTIME_COMMAND_H_
#define LANDGATE_HOOK_RUNTIME_COMMAND_H_

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace landgate::hook {

// Where in `arguments` a flag's value stands: arguments[index] from `offset` on.
struct ArgumentValue {
  size_t index = 0;
  size_t offset = 0;
};

struct RuntimeCommand {
  // Ours, accepted in front of every command because engines hand their runtime arguments to all
  // of them; taken out of `arguments`.
  std::optional<std::string> policy;  // --landgate-policy NAME
  std::optional<std::string> config;  // --landgate-config FILE
  bool help = false;                  // --landgate-help
  bool version = false;               // --landgate-version

  std::vector<std::string> arguments;  // argv[1…] for the real runtime

  std::string command;  // empty: none (`runc --version`)
  std::optional<std::string> root;
  std::optional<std::string> log;
  std::optional<std::string> log_format;

  // Of create, run, exec, restore and checkpoint only.
  bool asks_for_help = false;            // --help of the command: nothing will be started
  std::optional<std::string> bundle;     // create, run, restore
  std::string id;                        // empty: not given, the real runtime complains
  std::optional<ArgumentValue> process;  // exec --process FILE
  size_t exec_command =
      0;  // exec in its flags form: index in `arguments` of what is to run; 0: none
  int preserve_fds = 0;
};

// `arguments` is argv without argv[0]. Errors are ExitStatus::kUsage.
Result<RuntimeCommand> ParseRuntimeCommand(const std::vector<std::string>& arguments);

// Of a command line that was refused: the global flags before the one that was not understood, so
// that the refusal reaches the engine's log.
RuntimeCommand UnderstoodGlobals(const std::vector<std::string>& arguments);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_RUNTIME_COMMAND_H_
