// One tiny container, made to see what a runtime does. See ctl_check_runtimes.h.
#ifndef LANDGATE_AGENT_CTL_CTL_TRIAL_H_
#define LANDGATE_AGENT_CTL_CTL_TRIAL_H_

#include <string>

#include "agent/ctl/ctl_subprocess.h"
#include "base/result.h"
#include "policy/json_reader.h"

namespace landgate::ctl {

// A temporary bundle. The destructor removes it with everything in it.
class TrialBundle {
 public:
  // `launcher` is bind-mounted as /init, and not copied: an ordinary user may run and not read it.
  static Result<TrialBundle> Make(const std::string& launcher);
  TrialBundle(TrialBundle&& other) noexcept;
  TrialBundle& operator=(TrialBundle&&) = delete;
  ~TrialBundle();

  const std::string& directory() const { return directory_; }

  // Writes config.json for `/init --version`, with `seccomp` as linux.seccomp unless it is null,
  // runs it with `runtime` to its end and deletes what a failed start left. `before` stands between
  // the program and `run` (global flags).
  Result<Finished> Run(const std::string& runtime, const std::vector<std::string>& before,
                       const policy::Json& seccomp);

  struct Listened {
    Finished finished;
    bool received = false;  // a ContainerProcessState with a descriptor arrived
  };
  // The same with a listener: an obsolete call is notified, so nothing ever waits for an answer.
  Result<Listened> RunWithListener(const std::string& runtime, const policy::Json& flags);

 private:
  TrialBundle(std::string directory, std::string launcher)
      : directory_(std::move(directory)), launcher_(std::move(launcher)) {}

  std::string directory_;  // empty: moved from
  std::string launcher_;
  int runs_ = 0;
};

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_TRIAL_H_
