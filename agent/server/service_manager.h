// systemd, where it started the agent: sd_notify(3). Everything does nothing elsewhere.
// Thread-safe.
#ifndef LANDGATE_AGENT_SERVER_SERVICE_MANAGER_H_
#define LANDGATE_AGENT_SERVER_SERVICE_MANAGER_H_

#include <chrono>
#include <optional>
#include <string>

namespace landgate::agent {

void TellReady(const std::string& status);  // READY=1
void TellStatus(const std::string& status);
void TellStopping();
void TellReloading();  // followed by TellReady
void FeedWatchdog();
// How often FeedWatchdog is to be called (half of WatchdogSec=); none: nobody waits for it.
std::optional<std::chrono::microseconds> WatchdogInterval();

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_SERVICE_MANAGER_H_
