#include "agent/server/service_manager.h"

#include <systemd/sd-daemon.h>
#include <time.h>

namespace landgate::agent {
namespace {

// A manager that can't be reached is its own problem; the agent serves on.
void Tell(const std::string& state) { (void)sd_notify(0, state.c_str()); }

}  // namespace

void TellReady(const std::string& status) { Tell("READY=1\nSTATUS=" + status); }

void TellStatus(const std::string& status) { Tell("STATUS=" + status); }

void TellStopping() { Tell("STOPPING=1"); }

void TellReloading() {
  // systemd 253 pairs RELOADING with the time at which it was sent.
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  Tell("RELOADING=1\nMONOTONIC_USEC=" +
       std::to_string(int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000));
}

void FeedWatchdog() { Tell("WATCHDOG=1"); }

std::optional<std::chrono::microseconds> WatchdogInterval() {
  uint64_t period = 0;
  if (sd_watchdog_enabled(0, &period) <= 0) return std::nullopt;
  return std::chrono::microseconds(period / 2);
}

}  // namespace landgate::agent
