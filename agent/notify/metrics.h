// What the agent counts. Relaxed atomics only: a snapshot of several may be off by what happened
// meanwhile. Readers add up the shards; docs/control-api.md has the names under which they are
// shown.
#ifndef LANDGATE_AGENT_NOTIFY_METRICS_H_
#define LANDGATE_AGENT_NOTIFY_METRICS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace landgate::agent {

// Upper bounds of the buckets of the time from receiving a notification to its answer, in
// nanoseconds; what is longer than the last counts in a bucket of its own (+Inf).
inline constexpr std::array<uint64_t, 19> kLatencyBounds = {
    500,        1'000,       2'000,       3'000,         5'000,         10'000,    20'000,
    50'000,     100'000,     200'000,     500'000,       1'000'000,     2'000'000, 5'000'000,
    20'000'000, 100'000'000, 500'000'000, 2'000'000'000, 10'000'000'000};

struct Metrics {
  using Counter = std::atomic<uint64_t>;

  // Listeners are spread over shards, so that two processors don't fight for one cache line.
  struct alignas(64) Shard {
    Counter received{0};     // notifications, replayed ones too
    Counter continued{0};    // answered CONTINUE
    Counter denied{0};       // answered with an errno, whoever decided so
    Counter returned{0};     // answered with a value
    Counter returned_fd{0};  // answered with a descriptor
    Counter gone{0};         // of all answers: the caller was not waiting any more
    Counter latency_sum{0};  // nanoseconds
    std::array<Counter, kLatencyBounds.size() + 1> latency{};  // not cumulative

    // Rare ones
    Counter busy{0};             // denied: too many in hand (kMaxInFlightPerListener)
    Counter expired{0};          // denied: reading the caller's memory took longer than allowed
    Counter invisible{0};        // denied: pid 0, the caller is not in the agent's pid namespace
    Counter failed{0};           // denied: the handler failed (out of memory)
    Counter replayed{0};         // left by a predecessor and handled again
    Counter replayed_stale{0};   // left by a predecessor, and its caller was gone
    Counter stood_in{0};         // another thread went on receiving while one was held up
    Counter threads_started{0};  // threads that began to serve a listener
    Counter receive_errors{0};   // of the receive ioctl, but ENOENT and EINTR

    void Answered(uint64_t nanoseconds) {
      size_t bucket = 0;
      while (bucket < kLatencyBounds.size() && nanoseconds > kLatencyBounds[bucket]) ++bucket;
      Add(latency[bucket]);
      Add(latency_sum, nanoseconds);
    }
    static void Add(Counter& counter, uint64_t by = 1) {
      counter.fetch_add(by, std::memory_order_relaxed);
    }
  };

  static constexpr size_t kShards = 16;
  std::array<Shard, kShards> shards;
  // Now, not ever.
  std::atomic<int64_t> listeners{0}, threads{0};  // threads that serve a listener

  Shard& ForListener(uint32_t region) { return shards[region % kShards]; }
  uint64_t Sum(Counter Shard::*counter) const {
    uint64_t sum = 0;
    for (const Shard& shard : shards) sum += (shard.*counter).load(std::memory_order_relaxed);
    return sum;
  }
  uint64_t LatencyBucket(size_t index) const {
    uint64_t sum = 0;
    for (const Shard& shard : shards) sum += shard.latency[index].load(std::memory_order_relaxed);
    return sum;
  }
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_METRICS_H_
