// An operation with a side effect, performed by a helper on behalf of one system call, at most once
// however often that call is notified (once.h).
//
//   const std::optional<CallKey> key = MakeCallKey(notification, what_was_copied);
//   if (!key) return;  // the caller has left: nobody hears the answer
//   const Once::Outcome outcome =
//       once.Perform(region, *key, {.operation = "mkdir", …}, notification, timeout);
//   (void)once.Answer(std::move(notification), outcome);
//
// From every thread of a listener that received a notification; it may wait for as long as the
// operation takes, so Call::MaySlow comes first. Thread-safe.
#ifndef LANDGATE_AGENT_HELPER_ONCE_PERFORM_H_
#define LANDGATE_AGENT_HELPER_ONCE_PERFORM_H_

#include <linux/seccomp.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>

#include "agent/helper/helper_pool.h"
#include "agent/notify/area.h"
#include "agent/notify/notification.h"
#include "agent/notify/once.h"

namespace landgate::agent {

// `contents`: what was copied of the caller's memory, and what its descriptors stand for. Nothing:
// the caller has left this notification, or this process may not trace it. The hash
// is the same in every process, for the sake of a successor; a workload that finds two calls with
// one hash is told the outcome of the first for the second, which only it suffers from.
std::optional<CallKey> MakeCallKey(const PendingNotification& notification,
                                   std::span<const std::byte> contents);

class Once {
 public:
  // Both outlive this. `helpers` must have been given the area's memfd.
  Once(Area& area, HelperPool& helpers) : area_(area), helpers_(helpers) {}
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  struct Outcome {
    enum Kind {
      kPerformed,  // `value`: >= 0, or -errno; -EIO also where nobody knows whether it happened
      kGone,       // the notification is not valid any more; the record waits for the same call
      kBusy,       // not performed: too many operations in hand, or no helper could be made
      kTimeout,    // has begun and goes on without anybody waiting for it
    } kind = kBusy;
    int32_t value = 0;
    OncePlace place;
  };
  // Performs it, or finds out what became of it. `still_valid` tells whether the notification is.
  Outcome Perform(uint32_t region, const CallKey& key, const HelperRequest& request,
                  const std::function<bool()>& still_valid, std::chrono::milliseconds timeout);
  Outcome Perform(uint32_t region, const CallKey& key, const HelperRequest& request,
                  const PendingNotification& notification, std::chrono::milliseconds timeout) {
    return Perform(
        region, key, request, [&] { return notification.StillValid(); }, timeout);
  }

  // Answers with the outcome; kBusy is EAGAIN, kTimeout ETIMEDOUT.
  Answered Answer(PendingNotification&& notification, const Outcome& outcome);
  // For whoever answers himself: what SEND said.
  void Note(const Outcome& outcome, Answered answered);

  // Every other notification of a listener that performs operations is to be told here: a thread
  // that makes another call has done with the one before. Costs one load while nothing is recorded.
  void Other(uint32_t region, const struct seccomp_notif& request);

 private:
  bool Cancel(const OncePlace& place);
  std::mutex& LockOf(uint32_t region) { return locks_[region % locks_.size()]; }

  Area& area_;
  HelperPool& helpers_;
  std::array<std::mutex, 64> locks_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_ONCE_PERFORM_H_
