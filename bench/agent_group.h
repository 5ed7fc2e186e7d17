// Filtered processes that measure their own calls on order, and the server process of a variant
// that answers them. All groups of a run exist at the same time, so that they can be measured in
// turns.
#ifndef LANDGATE_BENCH_AGENT_GROUP_H_
#define LANDGATE_BENCH_AGENT_GROUP_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/agent_support/filtered_process.h"

namespace landgate::bench {

struct Measured {
  uint64_t calls = 0;
  double median = 0, p99 = 0;  // nanoseconds of one call
};

class Group {
 public:
  // Serves the listeners until they have hung up; runs in a process of its own.
  using Server = std::function<void(const std::vector<int>& listeners)>;

  // `path`: the calls carry one. Each client has a listener of its own.
  Group(std::string name, size_t clients, bool path, const Server& server);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  const std::string& name() const { return name_; }
  size_t size() const { return processes_.size(); }

  // `count` calls of one client, one after the other.
  Measured Calls(size_t client, uint32_t count);
  // All clients at once at full speed for `milliseconds`; the sum of their calls.
  uint64_t Throughput(uint32_t milliseconds);
  // The parts of it: clients that do something while others are measured. Await ends the order.
  void BeginFullSpeed(size_t client, uint32_t milliseconds);
  void BeginPaced(size_t client, uint32_t milliseconds, uint32_t pause_us);
  // One call whose first argument is `argument`.
  void BeginCall(size_t client, long argument);
  Measured Await(size_t client);

  // Server threads and clients on one processor, or on all (-1).
  void Pin(int cpu);
  pid_t server() const { return server_; }

 private:
  struct Order;
  void Begin(size_t client, uint32_t kind, uint32_t count, uint32_t pause_us, long argument);
  static int Obey(Order& order, bool path);

  const std::string name_;
  Order* orders_ = nullptr;
  std::vector<test::FilteredProcess> processes_;
  pid_t server_ = -1;
};

}  // namespace landgate::bench

#endif  // LANDGATE_BENCH_AGENT_GROUP_H_
