// Serves one seccomp listener: its threads receive into slots of its region, handle, and answer.
//
// A thread per listener, woken synchronously on the caller's CPU, is what wins on latency
// (docs/performance.md has the numbers). A notification that is decided without the workload's
// memory is handled by the thread that received it. Before a thread does anything that the workload
// can make slow (reading its memory, looking at files), it makes sure that another thread of the
// listener is receiving; so a slow one never delays another process of the container, and one
// container never delays another. At most kMaxInFlightPerListener are in hand; the rest is denied
// at once. Threads beyond the first end when they are not needed.
#ifndef LANDGATE_AGENT_LISTENER_H_
#define LANDGATE_AGENT_LISTENER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "agent/area.h"
#include "agent/audit.h"
#include "agent/container.h"
#include "agent/notification.h"
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
};

class Listener;

// One notification in the hands of a handler.
struct Call {
  PendingNotification& notification;
  const struct seccomp_notif& request;
  Listener& listener;
  // Must be called before anything that the workload can make slow, at most once per call. False:
  // too many are in hand, or no thread could be made; the handler denies with EAGAIN, reason busy.
  bool MaySlow();
};

// Handles every notification of a listener. Reads, decides, answers `call.notification`. Run by
// several threads at once for different notifications.
using Handler = std::function<void(Call&)>;

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // Takes over a listener (new, or a predecessor's with its region; slots that are not zero are
  // handled first). `ended` is called once, from a thread of the listener, when its last process
  // has gone (POLLHUP) and no notification is in hand any more.
  static Result<std::shared_ptr<Listener>> Start(const Services& services, UniqueFd fd,
                                                 uint32_t region, ContainerPtr container,
                                                 Handler handler,
                                                 std::function<void(Listener&)> ended);
  ~Listener();
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

#endif  // LANDGATE_AGENT_LISTENER_H_
