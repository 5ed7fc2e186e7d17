#include "agent/helper/once_perform.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "agent/helper/once_table.h"
#include "agent/limits.h"
#include "agent/notify/process_stat.h"

namespace landgate::agent {
namespace {

using Clock = std::chrono::steady_clock;

// Between two looks at a record that somebody else's helper is about.
constexpr uint64_t kLookNs = 5'000'000;

// Helpers that die between getting a request and beginning it: nobody kills that many by accident.
constexpr int kMostClaims = 4;

// While a woken thread waits for a processor.
constexpr int kYields = 20;
constexpr std::chrono::microseconds kPause{50};

uint64_t NowNs() {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);  // can't fail
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Begins somewhere else in every process, so that a claim of this one is not taken for a
// predecessor's whose helper still lives.
uint32_t NextClaim() {
  static std::atomic<uint32_t> last{static_cast<uint32_t>(NowNs() >> 10)};
  return ++last & 0xffffff;
}

const OnceTable::IsAliveFunction kIsAlive = [](pid_t id, uint64_t start) {
  return IsAlive(id, start);
};

// FNV-1a, 64 bits.
uint64_t Hash(std::span<const std::byte> bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash ^= std::to_integer<uint64_t>(byte);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace

std::optional<CallKey> MakeCallKey(const PendingNotification& notification,
                                   std::span<const std::byte> contents) {
  const struct seccomp_notif& request = notification.request();
  const auto thread = static_cast<pid_t>(request.pid);
  // struct seccomp_data has no stack pointer. A thread that was woken can't be asked: it leaves
  // this notification as soon as it gets a processor, or sleeps again (a descriptor was installed,
  // or signals wait until after the answer). To deny meanwhile would be an answer that it may get.
  std::optional<uint64_t> stack_pointer = ReadStackPointer(thread);
  const auto deadline = Clock::now() + kMemoryDeadline;
  for (int again = 0; !stack_pointer; ++again) {
    if (!notification.StillValid() || Clock::now() >= deadline) return std::nullopt;
    if (again < kYields) {
      (void)sched_yield();  // can't fail
    } else {
      std::this_thread::sleep_for(kPause);
    }
    stack_pointer = ReadStackPointer(thread);
  }
  const std::optional<ProcessStat> stat = ReadProcessStat(thread);
  if (!stat) return std::nullopt;
  CallKey key;
  key.thread = thread;
  key.thread_start = stat->start;
  key.syscall = request.data.nr;
  std::ranges::copy(request.data.args, key.arguments);
  key.instruction_pointer = request.data.instruction_pointer;
  key.stack_pointer = *stack_pointer;
  key.content_hash = Hash(contents);
  return key;
}

Once::Outcome Once::Perform(uint32_t region, const CallKey& key, const HelperRequest& request,
                            const std::function<bool()>& still_valid,
                            std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  Region& shared = area_.At(region);
  std::unique_ptr<HelperPool::Lease> lease;
  for (int claims = 0; claims < kMostClaims;) {
    Outcome outcome{.place = {.region = region}};
    OnceTable::Look look;
    {
      const std::lock_guard lock(LockOf(region));
      // Asked with the lock: while this notification is valid, its thread has not left the call, so
      // no later notification of the same call was handled. An older one, that waited here while
      // the thread came again, must not perform what a later one has performed.
      if (!still_valid()) {
        outcome.kind = Outcome::kGone;
        return outcome;
      }
      OnceTable table(shared.once, shared.once_used, NowNs(), kIsAlive);
      table.EndOthers(key.thread, key.stack_pointer, &key);
      look = table.Find(key);
      if (look.found == OnceTable::Found::kNothing && lease != nullptr) {
        const uint32_t claim = NextClaim();
        const auto record = table.Claim(key, claim, lease->pid(), lease->start_time());
        if (!record) return outcome;  // busy
        outcome.place = {region, *record, claim};
        ++claims;
      }
    }
    if (look.found == OnceTable::Found::kOutcome) {
      outcome.kind = Outcome::kPerformed;
      outcome.value = look.value;
      outcome.place = {region, look.record, OnceClaimOf(look.word)};
      return outcome;
    }
    if (look.found == OnceTable::Found::kInHand) {
      if (Clock::now() >= deadline) {
        outcome.kind = Outcome::kTimeout;
        return outcome;
      }
      OnceTable::WaitForChange(shared.once[look.record], look.word, kLookNs);
      continue;
    }
    if (lease == nullptr) {
      Result<std::unique_ptr<HelperPool::Lease>> acquired = helpers_.Acquire(request.owner);
      if (!acquired) return outcome;  // busy
      lease = *std::move(acquired);
      continue;
    }
    const bool sent = lease->Send(request, &outcome.place).has_value();
    HelperResult result;
    HelperPool::Lease::Event event = HelperPool::Lease::Event::kDied;
    if (sent) {
      event = lease->Wait(
          std::max(std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()),
                   std::chrono::milliseconds(0)),
          still_valid, &result);
    }
    if (event == HelperPool::Lease::Event::kAnswered && result.performed) {
      outcome.kind = Outcome::kPerformed;
      outcome.value = static_cast<int32_t>(result.value);
      return outcome;
    }
    if (event == HelperPool::Lease::Event::kStopped) {
      outcome.kind = Outcome::kGone;
      return outcome;
    }
    const bool not_begun = Cancel(outcome.place);
    if (event == HelperPool::Lease::Event::kTimeout) {
      outcome.kind = not_begun ? Outcome::kBusy : Outcome::kTimeout;
      return outcome;
    }
    if (!sent && lease->Alive()) return outcome;  // the request can't be sent to any helper
    lease.reset();  // it died, before it began or after: the record tells
  }
  return Outcome{.place = {.region = region}};
}

bool Once::Cancel(const OncePlace& place) {
  Region& shared = area_.At(place.region);
  const std::lock_guard lock(LockOf(place.region));
  return OnceTable(shared.once, shared.once_used, NowNs(), kIsAlive)
      .Cancel(place.record, place.claim);
}

void Once::Note(const Outcome& outcome, Answered answered) {
  if (outcome.kind != Outcome::kPerformed) return;
  Region& shared = area_.At(outcome.place.region);
  const std::lock_guard lock(LockOf(outcome.place.region));
  OnceTable(shared.once, shared.once_used, NowNs(), kIsAlive)
      .Answered(outcome.place.record, outcome.place.claim, outcome.value,
                answered == Answered::kDelivered);
}

Answered Once::Answer(PendingNotification&& notification, const Outcome& outcome) {
  Answered answered = Answered::kGone;
  switch (outcome.kind) {
    case Outcome::kPerformed:
      answered = outcome.value >= 0 ? std::move(notification).Return(outcome.value)
                                    : std::move(notification).Deny(-outcome.value);
      break;
    case Outcome::kGone:
      return std::move(notification).Deny(EINTR);  // nobody hears it
    case Outcome::kBusy:
      return std::move(notification).Deny(EAGAIN);
    case Outcome::kTimeout:
      return std::move(notification).Deny(ETIMEDOUT);
  }
  Note(outcome, answered);
  return answered;
}

void Once::Other(uint32_t region, const struct seccomp_notif& request) {
  Region& shared = area_.At(region);
  if (shared.once_used.load(std::memory_order_relaxed) == 0) return;
  const auto thread = static_cast<pid_t>(request.pid);
  // Unknown: the thread has left this call already, and may be on its way back to the one before.
  const std::optional<uint64_t> stack_pointer = ReadStackPointer(thread);
  if (!stack_pointer) return;
  const std::lock_guard lock(LockOf(region));
  OnceTable(shared.once, shared.once_used, NowNs(), kIsAlive).EndOthers(thread, *stack_pointer);
}

}  // namespace landgate::agent
