// Serves one seccomp listener: its threads receive into slots of its region, handle, and answer.
//
// A thread per listener, woken synchronously on the caller's CPU, is what wins on latency
// (docs/performance.md has the numbers). A notification that is decided without the workload's
// memory is handled by the thread that received it. Before a thread does anything that the workload
// can make slow (reading its memory, looking at files), it says so, and if it is then held up for
// more than a millisecond another thread receives in its place (receivers.h); so a slow one never
// delays another process of the container, and one container never delays another. At most
// kMaxInFlightPerListener are in hand; what would be slow beyond them is denied at once. A read of
// memory that takes longer than kMemoryDeadline is answered on behalf of the thread that is stuck
// in it: EACCES, in audit mode CONTINUE. The thread comes back when the memory does, at the latest
// when its owner ends; until then it holds its slot and counts as in hand.
//
// The listener's last process gone, its threads end, whatever the kernel: nothing spins.
#ifndef LANDGATE_AGENT_NOTIFY_LISTENER_H_
#define LANDGATE_AGENT_NOTIFY_LISTENER_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "agent/audit.h"
#include "agent/container.h"
#include "agent/notify/area.h"
#include "agent/notify/notification.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class Holder;  // holder_client.h
struct Metrics;

// What every listener may use. Outlives all of them.
struct Services {
  Area* area = nullptr;
  Holder* holder = nullptr;  // null in tests without one
  AuditSink* audit = nullptr;
  Metrics* metrics = nullptr;
  // Receive only after poll(2), as kernels need it where a blocked receive doesn't end with the
  // last process. False: as ReceiveEndsWithLastProcess finds it.
  bool always_poll = false;
};

class Listener;

// One notification in the hands of a handler.
struct Call {
  PendingNotification& notification;
  const struct seccomp_notif& request;
  Listener& listener;
  // Must be called before anything that the workload can make slow, on the thread that runs the
  // handler; more than once per call does no harm. False: too many are in hand, or no thread could
  // be made; the handler denies with EAGAIN, reason busy. The functions of memory.h call it by
  // themselves where a handler forgot, and fail with kForbidden.
  bool MaySlow();
};

// Handles every notification of a listener. Reads, decides, answers `call.notification`; what it
// leaves unanswered and has not moved elsewhere is denied, also when it throws. A notification may
// be moved out and answered later by any thread; it stays in hand until then. Run by several
// threads at once for different notifications. Region::denied is counted by the listener (every
// denial that was delivered, but ENOSYS), Region::asked by who asks.
using Handler = std::function<void(Call&)>;

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // Takes over a listener (new, or a predecessor's with its region; slots that are not zero are
  // handled first, if their callers still wait). `container` is null where none is registered.
  // `ended` is called once, from a thread of the listener or of whoever answered last, when its
  // last process has gone (POLLHUP) and no notification is in hand any more; it frees the region.
  // It serves until then, whether or not somebody keeps the pointer. Errors: Impossible on a kernel
  // whose notifications don't fit; otherwise no thread could be made.
  static Result<std::shared_ptr<Listener>> Start(const Services& services, UniqueFd fd,
                                                 uint32_t region, ContainerPtr container,
                                                 Handler handler,
                                                 std::function<void(Listener&)> ended);
  ~Listener();
  // Receives no more and lets `ended` be; what is in hand is still answered. True: all threads have
  // ended within `patience`, and none will touch the region. A process that ends need not call it:
  // its successor replays what was in hand.
  bool Stop(std::chrono::milliseconds patience);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  BorrowedFd fd() const;
  Region& region();
  uint32_t region_index() const;
  uint64_t key() const;  // in the holder
  Container& container();
  const Services& services() const;
  Phase phase();
  void Advance(Phase to);  // one-way; a smaller one is ignored

 private:
  struct Impl;
  explicit Listener(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  friend struct Call;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_LISTENER_H_
