#include "hook/runtime_command.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>

namespace landgate::hook {
namespace {

enum class Takes { kNothing, kValue };
struct Flag {
  std::string_view name;  // without dashes; one letter: a short flag
  Takes takes = Takes::kNothing;
};

// Of runc 1.0 to 1.3, crun 1.0 to 1.20 and youki 0.5. A name has the same shape in all of them.
constexpr Flag kGlobalFlags[] = {
    {"cgroup-manager", Takes::kValue},
    {"criu", Takes::kValue},
    {"debug"},
    {"help"},
    {"h"},
    {"?"},
    {"log", Takes::kValue},
    {"l", Takes::kValue},
    {"log-format", Takes::kValue},
    {"log-level", Takes::kValue},
    {"root", Takes::kValue},
    {"r", Takes::kValue},
    {"rootless", Takes::kValue},
    {"systemd-cgroup"},
    {"s"},
    {"usage"},
    {"version"},
    {"v"},
    {"V"},
    {"landgate-policy", Takes::kValue},
    {"landgate-config", Takes::kValue},
    {"landgate-help"},
    {"landgate-version"},
};

constexpr Flag kStartFlags[] = {
    // create, run, restore
    {"auto-dedup"},
    {"b", Takes::kValue},
    {"bundle", Takes::kValue},
    {"config", Takes::kValue},
    {"console-socket", Takes::kValue},
    {"d"},
    {"detach"},
    {"empty-ns", Takes::kValue},
    {"ext-unix-sk"},
    {"f", Takes::kValue},
    {"file-locks"},
    {"h"},
    {"help"},
    {"?"},
    {"image-path", Takes::kValue},
    {"keep"},
    {"lazy-pages"},
    {"lsm-mount-context", Takes::kValue},
    {"lsm-profile", Takes::kValue},
    {"manage-cgroups-mode", Takes::kValue},
    {"no-new-keyring"},
    {"no-pivot"},
    {"no-subreaper"},
    {"parent-path", Takes::kValue},
    {"pid-file", Takes::kValue},
    {"pidfd-socket", Takes::kValue},
    {"preserve-fds", Takes::kValue},
    {"shell-job"},
    {"tcp-close"},
    {"tcp-established"},
    {"usage"},
    {"work-path", Takes::kValue},
};

constexpr Flag kCheckpointFlags[] = {
    {"auto-dedup"},
    {"empty-ns", Takes::kValue},
    {"ext-unix-sk"},
    {"file-locks"},
    {"h"},
    {"help"},
    {"?"},
    {"image-path", Takes::kValue},
    {"lazy-pages"},
    {"leave-running"},
    {"manage-cgroups-mode", Takes::kValue},
    {"page-server", Takes::kValue},
    {"parent-path", Takes::kValue},
    {"pre-dump"},
    {"shell-job"},
    {"status-fd", Takes::kValue},
    {"tcp-established"},
    {"tcp-skip-in-flight"},
    {"usage"},
    {"work-path", Takes::kValue},
};

constexpr Flag kExecFlags[] = {
    {"additional-gids", Takes::kValue},
    {"g", Takes::kValue},
    {"apparmor", Takes::kValue},
    {"c", Takes::kValue},
    {"cap", Takes::kValue},
    {"cgroup", Takes::kValue},
    {"console-socket", Takes::kValue},
    {"cpu-affinity", Takes::kValue},
    {"cwd", Takes::kValue},
    {"d"},
    {"detach"},
    {"e", Takes::kValue},
    {"env", Takes::kValue},
    {"h"},
    {"help"},
    {"?"},
    {"ignore-paused"},
    {"no-new-privs"},
    {"no-subreaper"},
    {"p", Takes::kValue},
    {"pid-file", Takes::kValue},
    {"pidfd-socket", Takes::kValue},
    {"preserve-fds", Takes::kValue},
    {"process", Takes::kValue},
    {"process-label", Takes::kValue},
    {"t"},
    {"tty"},
    {"u", Takes::kValue},
    {"usage"},
    {"user", Takes::kValue},
};

struct Command {
  std::string_view name;
  std::span<const Flag> flags;
};
constexpr Command kCommands[] = {
    {"create", kStartFlags},          {"run", kStartFlags},
    {"restore", kStartFlags},         {"exec", kExecFlags},
    {"checkpoint", kCheckpointFlags},
};

constexpr std::string_view kOurs = "landgate-";  // how our own flags begin

const Flag* Find(std::span<const Flag> table, std::string_view name) {
  for (const Flag& flag : table) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

// One flag as it stood on the command line.
struct Seen {
  std::string_view name;
  std::optional<ArgumentValue> value;
};

// Reads flags from `position` on and leaves it at the first argument that is none.
class FlagReader {
 public:
  FlagReader(const std::vector<std::string>& arguments, std::span<const Flag> table,
             size_t position)
      : arguments_(arguments), table_(table), position_(position) {}

  size_t position() const { return position_; }

  // The flags of the next argument (a cluster has several); empty: no flags are left.
  Result<std::vector<Seen>> Next() {
    std::vector<Seen> none;
    if (position_ >= arguments_.size()) return none;
    const std::string_view argument = arguments_[position_];
    if (argument == "--") {
      ++position_;
      return none;
    }
    if (argument.size() < 2 || argument[0] != '-') return none;
    const size_t dashes = argument.starts_with("--") ? 2 : 1;
    const size_t equals = argument.find('=', dashes);
    const std::string_view name = argument.substr(
        dashes, equals == std::string_view::npos ? std::string_view::npos : equals - dashes);
    if (dashes == 2) return Long(name, equals);
    // Go's flags know no difference between one dash and two.
    if (name.size() > 1 && Find(table_, name)) {
      if (!name.starts_with(kOurs) && Find(table_, name.substr(0, 1))) {
        return BadUsage("flag " + std::string(argument) + ": runc reads it as --" +
                        std::string(name) + ", crun as -" + std::string(name.substr(0, 1)) +
                        "; write two dashes");
      }
      return Long(name, equals);
    }
    return Cluster(argument.substr(1));
  }

 private:
  Failure Unknown(std::string_view what) const {
    return BadUsage("unknown flag " + std::string(what) +
                    ": landgate-runtime can't tell whether it takes a value; write FLAG=VALUE");
  }

  // GNU's argp completes what begins only one name.
  bool Abbreviates(std::string_view name) const {
    return std::any_of(table_.begin(), table_.end(),
                       [name](const Flag& flag) { return flag.name.starts_with(name); });
  }

  Result<ArgumentValue> NextArgument(std::string_view flag) {
    if (position_ + 1 >= arguments_.size()) {
      return BadUsage("flag " + std::string(flag) + " needs a value");
    }
    return ArgumentValue{++position_, 0};
  }

  Result<std::vector<Seen>> Long(std::string_view name, size_t equals) {
    const Flag* flag = Find(table_, name);
    if (!flag && Abbreviates(name)) {
      return BadUsage("flag " + std::string(arguments_[position_]) +
                      ": crun may take it for a longer one; write the whole name");
    }
    Seen seen{name, std::nullopt};
    if (equals != std::string_view::npos) {
      seen.value = ArgumentValue{position_, equals + 1};
    } else if (!flag) {
      return Unknown(arguments_[position_]);
    } else if (flag->takes == Takes::kValue) {
      Result<ArgumentValue> value = NextArgument(arguments_[position_]);
      if (!value) return Forward(value);
      seen.value = *value;
    }
    ++position_;
    return std::vector<Seen>{seen};
  }

  Result<std::vector<Seen>> Cluster(std::string_view letters) {
    std::vector<Seen> all;
    for (size_t i = 0; i < letters.size(); ++i) {
      const Flag* flag = Find(table_, letters.substr(i, 1));
      if (!flag) return Unknown(arguments_[position_]);
      Seen seen{letters.substr(i, 1), std::nullopt};
      if (flag->takes == Takes::kNothing) {
        all.push_back(seen);
        continue;
      }
      if (i + 1 == letters.size()) {
        Result<ArgumentValue> value = NextArgument("-" + std::string(seen.name));
        if (!value) return Forward(value);
        seen.value = *value;
      } else if (letters[i + 1] == '=') {
        // runc would take what follows the sign, crun the sign as well.
        return BadUsage("flag " + arguments_[position_] + ": write the value as the next argument");
      } else {
        seen.value = ArgumentValue{position_, i + 2};
      }
      all.push_back(seen);
      break;
    }
    ++position_;
    return all;
  }

  const std::vector<std::string>& arguments_;
  std::span<const Flag> table_;
  size_t position_;
};

std::string ValueOf(const std::vector<std::string>& arguments, const Seen& seen) {
  return seen.value ? arguments[seen.value->index].substr(seen.value->offset) : "";
}

// Global flags; ours are taken out. Returns the index in `parsed.arguments` of the command.
Result<size_t> ReadGlobals(const std::vector<std::string>& arguments, RuntimeCommand& parsed) {
  FlagReader reader(arguments, kGlobalFlags, 0);
  while (true) {
    const size_t before = reader.position();
    Result<std::vector<Seen>> flags = reader.Next();
    if (!flags) return Forward(flags);
    bool ours = false;
    for (const Seen& seen : *flags) {
      const std::string value = ValueOf(arguments, seen);
      if (seen.name.starts_with(kOurs)) {
        ours = true;
        if (seen.name == "landgate-policy") {
          if (value.empty()) return BadUsage("--landgate-policy needs a policy's name");
          parsed.policy = value;
        } else if (seen.name == "landgate-config") {
          if (value.empty()) return BadUsage("--landgate-config needs a file's name");
          parsed.config = value;
        } else if (seen.name == "landgate-help") {
          parsed.help = true;
        } else if (seen.name == "landgate-version") {
          parsed.version = true;
        } else {
          return BadUsage("unknown flag --" + std::string(seen.name) +
                          "; see landgate-runtime --landgate-help");
        }
      } else if (seen.name == "root" || seen.name == "r") {
        if (parsed.root) return BadUsage("--root is given twice");
        parsed.root = value;
      } else if (seen.name == "log" || seen.name == "l") {
        parsed.log = value;
      } else if (seen.name == "log-format") {
        parsed.log_format = value;
      }
    }
    if (!ours) {
      for (size_t i = before; i < reader.position(); ++i) parsed.arguments.push_back(arguments[i]);
    }
    if (flags->empty()) break;
  }
  const size_t command = parsed.arguments.size();
  for (size_t i = reader.position(); i < arguments.size(); ++i) {
    parsed.arguments.push_back(arguments[i]);
  }
  return command;
}

}  // namespace

Result<RuntimeCommand> ParseRuntimeCommand(const std::vector<std::string>& arguments) {
  RuntimeCommand parsed;
  Result<size_t> at = ReadGlobals(arguments, parsed);
  if (!at) return Forward(at);
  if (*at == parsed.arguments.size()) return parsed;
  parsed.command = parsed.arguments[*at];

  const Command* command = nullptr;
  for (const Command& known : kCommands) {
    if (known.name == parsed.command) command = &known;
  }
  if (!command) return parsed;

  FlagReader reader(parsed.arguments, command->flags, *at + 1);
  while (true) {
    Result<std::vector<Seen>> flags = reader.Next();
    if (!flags) return Context(parsed.command, flags);
    if (flags->empty()) break;
    for (const Seen& seen : *flags) {
      const std::string value = ValueOf(parsed.arguments, seen);
      if (seen.name == "help" || seen.name == "h" || seen.name == "?" || seen.name == "usage") {
        // runc takes --help=false, and starts what this program would not have looked at.
        if (seen.value) {
          return BadUsage(parsed.command + ": --" + std::string(seen.name) + " takes no value");
        }
        parsed.asks_for_help = true;
      } else if (seen.name == "bundle" || seen.name == "b") {
        // Runtimes differ in which of two counts.
        if (parsed.bundle) return BadUsage(parsed.command + ": --bundle is given twice");
        parsed.bundle = value;
      } else if (seen.name == "process" || (seen.name == "p" && parsed.command == "exec")) {
        if (parsed.process) return BadUsage(parsed.command + ": --process is given twice");
        parsed.process = seen.value;
      } else if (seen.name == "config" || seen.name == "f") {
        // crun's way to another file than BUNDLE/config.json, which our hooks could not find.
        return BadUsage(parsed.command + ": --config is not supported; name a bundle");
      } else if (seen.name == "preserve-fds") {
        const auto [end, error] =
            std::from_chars(value.data(), value.data() + value.size(), parsed.preserve_fds);
        if (error != std::errc() || end != value.data() + value.size() || parsed.preserve_fds < 0) {
          return BadUsage(parsed.command + ": --preserve-fds " + value + ": not a number");
        }
      }
    }
  }
  if (reader.position() < parsed.arguments.size()) parsed.id = parsed.arguments[reader.position()];
  if (parsed.command != "exec" && reader.position() + 1 < parsed.arguments.size()) {
    // runc reads flags behind the id, crun doesn't: which bundle it is would be a guess.
    return BadUsage(parsed.command + ": \"" + parsed.arguments[reader.position() + 1] +
                    "\" follows the container's id; put flags before it");
  }
  if (parsed.command == "exec" && reader.position() + 1 < parsed.arguments.size()) {
    parsed.exec_command = reader.position() + 1;
  }
  return parsed;
}

RuntimeCommand UnderstoodGlobals(const std::vector<std::string>& arguments) {
  RuntimeCommand parsed;
  (void)ReadGlobals(arguments, parsed);  // the refusal is already known
  return parsed;
}

}  // namespace landgate::hook
