#include "agent/handlers/turn_watch.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <string>

#include "base/syscalls.h"
#include "sandbox/object.h"

namespace landgate::agent {
namespace {

using std::chrono::steady_clock;

// The launcher mostly runs within the first tenths of a millisecond.
constexpr std::chrono::microseconds kFirstPause{50};
constexpr std::chrono::microseconds kLastPause{1000};
// A process that is about to end has no exe any more, some time before its pidfd says so.
constexpr int kMostUnknown = 50;

// True where it has ended: every thread of it.
bool EndsWithin(BorrowedFd pidfd, std::chrono::microseconds pause) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  const timespec timeout{0, std::chrono::nanoseconds(pause).count()};
  return ppoll(&ended, 1, &timeout, nullptr) == 1;
}

}  // namespace

TurnEnd WatchTurn(const Turned& turned, std::chrono::milliseconds patience,
                  const std::function<bool()>& asked, std::string_view* why) {
  const std::string exe = "/proc/" + std::to_string(turned.process) + "/exe";
  const auto deadline = steady_clock::now() + patience;
  std::optional<sandbox::ObjectId> before = turned.before;
  bool launched = false;
  int unknown = 0;
  *why = "";
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLastPause)) {
    const Result<sandbox::ObjectId> now = sandbox::IdentifyFile(exe);
    // Asked after looking: whoever has been given its command line may run anything by now.
    if (asked()) return TurnEnd::kAsked;
    // Of this process and no later one of its number: it still lives.
    if (EndsWithin(turned.pidfd, std::chrono::microseconds(0))) return TurnEnd::kEnded;
    unknown = now ? 0 : unknown + 1;
    if (!now) {
      if (unknown == kMostUnknown) *why = "what it executes can't be told";
    } else if (*now == turned.launcher) {
      launched = true;
    } else if (launched || (before && *now != *before)) {
      *why = "it executes something that is not the launcher";
    } else {
      before = *now;
    }
    if (why->empty() && steady_clock::now() >= deadline) {
      *why = launched ? "the launcher does not ask for its command line"
                      : "it has not executed the launcher in time";
    }
    if (!why->empty()) {
      // ESRCH: it has ended meanwhile, which is as good.
      (void)PidfdSendSignal(turned.pidfd, SIGKILL);
      return TurnEnd::kKilled;
    }
    if (EndsWithin(turned.pidfd, pause)) return TurnEnd::kEnded;
  }
}

}  // namespace landgate::agent
