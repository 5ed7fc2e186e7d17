// The agent's log: lines for the administrator on stderr. What happens to containers goes to the
// audit log (audit_log.h).
//
// Under systemd (JOURNAL_STREAM names stderr) a line begins with its priority, sd-daemon(3), and
// the journal adds the time; elsewhere it begins with time and level. Written synchronously, each
// line with one write; a line that can't be written is lost, and nothing waits for a reader that
// has gone (SIGPIPE is ignored). Text that comes from outside is made printable. Thread-safe.
#ifndef LANDGATE_AGENT_LOG_H_
#define LANDGATE_AGENT_LOG_H_

#include <spdlog/logger.h>

#include <memory>
#include <string>
#include <string_view>

namespace landgate::agent {

std::unique_ptr<spdlog::logger> MakeLog();

// As base/printable.h, and at most 512 bytes of it.
std::string Printable(std::string_view text);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_LOG_H_
