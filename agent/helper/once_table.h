// What is done with the at-most-once records of one region (once.h): found, claimed, ended.
//
// All of it but the helper's two steps happens in the serving process under one lock per region,
// which the caller holds; a predecessor's locks died with it. Time and the life of processes come
// from outside, so that everything can be tested by property.
#ifndef LANDGATE_AGENT_HELPER_ONCE_TABLE_H_
#define LANDGATE_AGENT_HELPER_ONCE_TABLE_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "agent/notify/once.h"

namespace landgate::agent {

class OnceTable {
 public:
  // Whether the process or thread with that number and start time lives.
  using IsAliveFunction = std::function<bool(pid_t, uint64_t)>;

  // `used`: Region::once_used, which says whether the records need a look at all.
  OnceTable(std::span<OnceRecord, kOnceRecords> records, std::atomic<uint32_t>& used,
            uint64_t now_ns, const IsAliveFunction& is_alive)
      : records_(records), used_(used), now_(now_ns), is_alive_(is_alive) {}

  enum class Found {
    kNothing,  // may be claimed
    kOutcome,  // `value` is what the call is to be answered
    kInHand,   // a helper is about it: to be asked again when `word` has changed
  };
  struct Look {
    Found found = Found::kNothing;
    uint32_t record = 0;
    uint64_t word = 0;
    int32_t value = 0;
  };
  // What is known about this call. Records that are over are ended; an operation whose helper died
  // in the middle becomes the outcome -EIO, one whose helper died before it began is forgotten.
  Look Find(const CallKey& key);

  // A record for a call of which Find knew nothing. Where none is free, one that was answered gives
  // way, the oldest first, then one whose thread has ended. None: too many are in hand.
  std::optional<uint32_t> Claim(const CallKey& key, uint32_t claim, pid_t helper,
                                uint64_t helper_start);
  // The helper did not get it, or died before it began. False: it has begun.
  bool Cancel(uint32_t record, uint32_t claim);

  // The outcome `value` of that claim was sent; `arrived`: SEND said 0, which is no proof (once.h).
  // An outcome that had no effect is forgotten then: to try again is as good.
  void Answered(uint32_t record, uint32_t claim, int32_t value, bool arrived);

  // The thread has made another call: ends what is recorded of its calls, but not those from
  // further up in the stack, which a signal handler may be about to go back to.
  void EndOthers(int32_t thread, uint64_t stack_pointer, const CallKey* but = nullptr);

  // The helper's steps. Any process; no lock.
  static bool Start(OnceRecord& record, uint32_t claim);
  static void Finish(OnceRecord& record, uint32_t claim, int32_t value);
  // Waits until the record's word is no longer `word`, or some time has passed.
  static void WaitForChange(OnceRecord& record, uint64_t word, uint64_t at_most_ns);

 private:
  bool IsOver(const OnceRecord& record, uint64_t word) const;
  void NoteTime(OnceRecord& record, uint64_t word);

  std::span<OnceRecord, kOnceRecords> records_;
  std::atomic<uint32_t>& used_;
  const uint64_t now_;
  const IsAliveFunction& is_alive_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_ONCE_TABLE_H_
