// landgate-hook: the OCI hook, and `inject` for bundles of plain runc. docs/hook.md is the manual.
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

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

constexpr std::string_view kHelp =
    R"(landgate-hook COMMAND [OPTION…]

The OCI hook of Landgate: Landlock and seccomp for ordinary containers.

  precreate        podman: config.json on stdin, the patched one on stdout
  inject           patch a bundle's config.json for plain runc
    --bundle DIR         the bundle's directory
  prestart         state on stdin: verify the patch, place masks and plan; part of the patch
    --front-end NAME     who patched: precreate, inject or runtime; without it nobody did, and
                         the launcher is mounted over the entrypoint (needs landgate-agent)
  createRuntime    the same as prestart
  poststop         state on stdin: remove what prestart left

  --policy NAME    a policy besides those that the node selects (all but poststop)
  --config FILE    the node's config.json
  --help           this text
  --version        the version
)";

struct Options {
  std::optional<std::string> config;
  std::string front_end = "prestart";
  std::string policy;
  std::string bundle;
};

Result<Request> MakeRequest(const Options& options) {
  const std::optional<FrontEnd> front_end = FrontEndByName(options.front_end);
  if (!front_end) {
    return BadUsage("--front-end " + options.front_end +
                    ": must be precreate, inject, runtime or prestart");
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

struct Stage {
  std::string_view name;
  Status (*run)(const Options&);
  bool takes_policy;
  bool takes_front_end;
  bool takes_bundle;
};
constexpr Stage kStages[] = {
    {"precreate", Precreate, true, false, false},
    {"prestart", RunPrestart, true, true, false},
    {"createRuntime", RunPrestart, true, true, false},
    {"poststop", RunPoststop, false, false, false},
    {"inject", Inject, true, false, true},
};

// What the option's value goes into; null: no such option here.
std::string* Value(const Stage* stage, std::string_view option, Options& options) {
  if (option == "--config") return &options.config.emplace();
  if (!stage) return nullptr;
  if (option == "--policy" && stage->takes_policy) return &options.policy;
  if (option == "--front-end" && stage->takes_front_end) return &options.front_end;
  if (option == "--bundle" && stage->takes_bundle) return &options.bundle;
  return nullptr;
}

Failure Usage(const std::string& what) { return BadUsage(what + "; see landgate-hook --help"); }

Status RunCommand(const std::vector<std::string_view>& arguments) {
  const Stage* stage = nullptr;
  Options options;
  std::set<std::string_view> seen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--help" || argument == "-h") return WriteAll(BorrowedFd(STDOUT_FILENO), kHelp);
    if (argument == "--version") {
      return WriteAll(BorrowedFd(STDOUT_FILENO), "landgate-hook " LANDGATE_VERSION "\n");
    }
    if (!argument.starts_with('-')) {
      if (stage) return Usage(std::string(argument) + ": one command, and options");
      for (const Stage& known : kStages) {
        if (known.name == argument) stage = &known;
      }
      if (!stage) return Usage(std::string(argument) + ": no such command");
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string_view option = argument.substr(0, equals);
    std::string* const value = Value(stage, option, options);
    if (!value) return Usage(std::string(option) + ": no such option here");
    if (!seen.insert(option).second) return Usage(std::string(option) + ": given twice");
    if (equals != std::string_view::npos) {
      *value = argument.substr(equals + 1);
    } else if (++i < arguments.size()) {
      *value = arguments[i];
    } else {
      return Usage(std::string(option) + ": its value is missing");
    }
  }
  if (!stage) return Usage("a command is missing");
  if (stage->takes_bundle && options.bundle.empty()) return Usage("--bundle DIR is missing");
  return stage->run(options);
}

int Main(int argc, char** argv) {
  const Status done = RunCommand({argv + std::min(argc, 1), argv + argc});
  return done ? static_cast<int>(ExitStatus::kDone) : Complain(done.error());
}

}  // namespace
}  // namespace landgate::hook

int main(int argc, char** argv) { _exit(landgate::hook::Main(argc, argv)); }  // nothing is buffered
