// Errors where engines look for them: `--log FILE` in the format of runc's logger (containerd and
// podman take their message from its last JSON line), and stderr.
#ifndef LANDGATE_HOOK_RUNTIME_LOG_H_
#define LANDGATE_HOOK_RUNTIME_LOG_H_

#include <time.h>

#include <optional>
#include <string>
#include <string_view>

namespace landgate::hook {

// One line, newline included. `json`: {"level":"error","msg":…,"time":…}; else time=… level=…
// msg=….
std::string LogLine(std::string_view message, bool json, time_t now);

// `log` as on the command line: a path, or crun's file:PATH; crun's other targets (syslog:,
// journald:) get nothing. A log that can't be written is left alone: stderr has the message.
void ReportRuntimeError(std::string_view message, const std::optional<std::string>& log,
                        const std::optional<std::string>& log_format);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_RUNTIME_LOG_H_
