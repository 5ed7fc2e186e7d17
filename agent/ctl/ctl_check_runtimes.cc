#include "agent/ctl/ctl_check_runtimes.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "agent/ctl/ctl_subprocess.h"
#include "agent/ctl/ctl_trial.h"
#include "base/files.h"
#include "base/paths.h"

namespace landgate::ctl {
namespace {

using policy::Json;

constexpr std::chrono::seconds kAnswerTimeout{10};
constexpr int kNotExecutable = 126;  // the launcher's, when the policy doesn't let /init run

// The launcher lies in the trial's root file system as its only program; this policy lets it run …
constexpr const char* kAllowing =
    R"({"landgate": 1, "compatibility": {"minAbi": 1},
        "paths": [{"allow": ["read", "execute"], "beneath": ["/"]}]})";
// … and this one doesn't.
constexpr const char* kDenying =
    R"({"landgate": 1, "compatibility": {"minAbi": 1},
        "paths": [{"allow": ["read"], "beneath": ["/"]}]})";

std::string FirstLines(const std::string& program) {
  Result<Finished> version = RunProgram({program, "--version"}, kAnswerTimeout);
  if (!version) return version.error().message;
  return version->out.substr(0, version->out.find('\n'));
}

// What `features` (runc 1.1, crun 1.8.6) says about notification; a runtime without it is only
// tried.
std::string ClaimsOf(const std::string& program) {
  Result<Finished> answer = RunProgram({program, "features"}, kAnswerTimeout);
  if (!answer || !answer->ok()) return "";
  Result<Json> features = policy::ParseJson(answer->out, "features", policy::Comments::kRefused);
  if (!features || !features->is_object()) return "";
  const auto* linux_features = features->contains("linux") ? &(*features)["linux"] : nullptr;
  if (linux_features == nullptr || !linux_features->is_object() ||
      !linux_features->contains("seccomp"))
    return "";
  const Json& seccomp = (*linux_features)["seccomp"];
  if (!seccomp.is_object() || !seccomp.contains("actions") || !seccomp["actions"].is_array())
    return "";
  const bool notify =
      std::any_of(seccomp["actions"].begin(), seccomp["actions"].end(), [](const Json& action) {
        const auto* name = action.get_ptr<const std::string*>();
        return name != nullptr && *name == "SCMP_ACT_NOTIFY";
      });
  return notify ? "features names SCMP_ACT_NOTIFY" : "features lacks SCMP_ACT_NOTIFY";
}

// What a runtime said, without the logging library's frame: time="…" level=error msg="THIS".
std::string Said(const Finished& run) {
  std::string line = run.LastLine();
  const std::string key = "msg=\"";
  const size_t start = line.find(key);
  if (start == std::string::npos || line.back() != '"') return line;
  return line.substr(start + key.size(), line.size() - start - key.size() - 1);
}

// What to do about the usual reasons for which a runtime can't start anything.
std::string StartRemedy(const std::string& said) {
  if (said.find("hybrid") != std::string::npos || said.find("cgroup") != std::string::npos)
    return "this runtime can't use this machine's cgroup layout: boot with "
           "systemd.unified_cgroup_hierarchy=1, or unmount /sys/fs/cgroup/unified";
  if (said.find("ermission denied") != std::string::npos ||
      said.find("not permitted") != std::string::npos)
    return "run check as root; inside a container it needs CAP_SYS_ADMIN and an unmasked /proc";
  return "the runtime itself can't start a container; see its message";
}

class Trials {
 public:
  Trials(std::string name, std::string program, bool must_work, const RuntimeTrials& options)
      : name_(std::move(name)),
        program_(std::move(program)),
        bad_(must_work ? State::kMissing : State::kWarning),
        options_(options) {}

  // Whether everything that a policy needs works with this runtime.
  bool Run(std::vector<Item>& items) {
    items.push_back(Of("", program_, State::kInfo, FirstLines(program_)));
    Result<TrialBundle> bundle = TrialBundle::Make(options_.launcher);
    if (!bundle) {
      items.push_back(Of("start", "trial", bad_, bundle.error().message,
                         "the trials need landgate-init and a directory they can write (TMPDIR)"));
      return false;
    }
    items.push_back(Start(*bundle));
    if (items.back().state != State::kOk) return false;
    items.push_back(Listener(*bundle));
    bool works = items.back().state == State::kOk;
    if (works) items.push_back(Flags(*bundle));
    items.push_back(Floor(*bundle));
    return works && items.back().state == State::kOk;
  }

 private:
  Item Of(const std::string& part, const std::string& title, State state, std::string detail,
          std::string remedy = "") const {
    return {"runtime." + name_ + (part.empty() ? "" : "." + part),
            part.empty() ? title : name_ + ": " + title,
            state,
            std::move(detail),
            std::move(remedy),
            nullptr};
  }

  Item Start(TrialBundle& bundle) const {
    Result<Finished> run = bundle.Run(program_, {}, nullptr);
    const std::string said = run ? Said(*run) : run.error().message;
    if (!run || !run->ok()) return Of("start", "starts a container", bad_, said, StartRemedy(said));
    return Of("start", "starts a container", State::kOk, "tried");
  }

  Item Listener(TrialBundle& bundle) const {
    const std::string claims = ClaimsOf(program_);
    Result<TrialBundle::Listened> run = bundle.RunWithListener(program_, nullptr);
    const std::string remedy =
        "needs runc 1.1 or newer, or crun, built with libseccomp 2.5; without it hooks need "
        "\"execSessions\": \"unconfined\" in the policy";
    if (!run) return Of("listener", "sends a seccomp listener", bad_, run.error().message, remedy);
    if (!run->finished.ok())
      return Of("listener", "sends a seccomp listener", bad_, Said(run->finished), remedy);
    if (!run->received)
      return Of("listener", "sends a seccomp listener", bad_,
                "linux.seccomp.listenerPath was ignored", remedy);
    return Of("listener", "sends a seccomp listener", State::kOk,
              "tried" + (claims.empty() ? "" : "; " + claims));
  }

  // Only an agent would profit; said because it is asked for when runtimes are compared.
  Item Flags(TrialBundle& bundle) const {
    Result<TrialBundle::Listened> run =
        bundle.RunWithListener(program_, Json::array({"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}));
    const bool taken = run && run->finished.ok() && run->received;
    return Of("flags", "takes SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", State::kInfo,
              taken ? "yes, tried" : "no: " + (run ? Said(run->finished) : run.error().message));
  }

  // The whole way: a patched bundle, the prestart hook, the plan, the launcher. Once with a policy
  // that lets the container's program run and once with one that doesn't.
  Item Floor(TrialBundle& bundle) const {
    const std::string title = "runs a container under a policy";
    const std::string wrapper = Join(options_.program_directory, "landgate-runtime");
    const std::string remedy =
        "see the message; landgate-hook and landgate-runtime must be installed";
    if (access(wrapper.c_str(), X_OK) != 0)
      return Of("floor", title, bad_, wrapper + " is not there", "install landgate-runtime");
    if (Status prepared = Prepare(bundle); !prepared)
      return Of("floor", title, bad_, prepared.error().message, remedy);
    const std::string config = bundle.directory() + "/landgate.json";
    const auto run = [&](const char* policy) {
      return bundle.Run(wrapper, {"--landgate-config", config, "--landgate-policy", policy},
                        nullptr);
    };
    Result<Finished> allowed = run("allowing");
    if (!allowed || !allowed->ok())
      return Of("floor", title, bad_, allowed ? Said(*allowed) : allowed.error().message, remedy);
    Result<Finished> denied = run("denying");
    if (!denied) return Of("floor", title, bad_, denied.error().message, remedy);
    if (denied->status != kNotExecutable)
      return Of("floor", title, bad_,
                "a program that the policy does not let run gave: " + Said(*denied),
                "do not rely on policies here; report this");
    return Of("floor", title, State::kOk, "tried: what it allows runs, what it denies does not");
  }

  // A node of its own, so that the trial says what the machine can do and not what this node's
  // policies let it do.
  Status Prepare(const TrialBundle& bundle) const {
    const std::string& directory = bundle.directory();
    if (Status made = MakeDirectories(directory + "/policies", 0755); !made) return made;
    if (Status written =
            WriteFileAtomically(directory + "/policies/allowing.json", kAllowing, 0644);
        !written)
      return written;
    if (Status written = WriteFileAtomically(directory + "/policies/denying.json", kDenying, 0644);
        !written)
      return written;
    const Json config = {{"policyDirs", {directory + "/policies"}},
                         {"runDir", directory + "/run"},
                         {"initPath", options_.launcher},
                         {"runtime", program_}};
    return WriteFileAtomically(directory + "/landgate.json", config.dump(), 0644);
  }

  std::string name_;
  std::string program_;
  State bad_;
  const RuntimeTrials& options_;
};

}  // namespace

Section CheckRuntimes(const RuntimeTrials& trials) {
  Section section{"Runtimes", {}};
  std::vector<std::string> names{"runc", "crun", "youki"};
  if (trials.configured) {
    // Once: /usr/sbin/runc is likely to be the runc of PATH, and items are told apart by this name.
    const std::string& configured = *trials.configured;
    std::erase(names, configured[0] == '/' ? Basename(configured) : std::string_view(configured));
    names.insert(names.begin(), configured);
  }
  bool any = false;
  for (const std::string& name : names) {
    const bool configured = trials.configured == name;
    const bool absolute = name[0] == '/';
    const std::string short_name(absolute ? Basename(name) : std::string_view(name));
    std::optional<std::string> program = absolute ? name : FindProgram(name);
    if (program && access(program->c_str(), X_OK) != 0) program.reset();
    if (!program) {
      if (configured)
        section.items.push_back({"runtime." + short_name, name, State::kMisconfigured, "not found",
                                 "config.json names it as `runtime`: install it, or name another",
                                 nullptr});
      continue;
    }
    any = Trials(short_name, *program, configured, trials).Run(section.items) || any;
  }
  if (!any && !trials.configured)
    section.items.push_back(
        {"runtimes", "A runtime that can hold a policy", State::kMissing,
         section.items.empty() ? "neither runc nor crun is installed" : "none of these",
         section.items.empty() ? "install runc (1.1 or newer) or crun" : "see the warnings above",
         nullptr});
  return section;
}

}  // namespace landgate::ctl
