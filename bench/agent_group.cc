#include "bench/agent_group.h"

#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

namespace landgate::bench {
namespace {

enum Kind : uint32_t { kEnd, kCount, kFullSpeed, kPaced, kOne };

uint64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, nullptr, nullptr, 0);
}
void FutexWake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void PinThread(pid_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (cpu < 0 || i == cpu) CPU_SET(i, &set);
  (void)sched_setaffinity(thread, sizeof set, &set);
}

void PinProcess(pid_t process, int cpu) {
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  DIR* const directory = opendir(tasks.c_str());
  while (const dirent* entry = directory != nullptr ? readdir(directory) : nullptr)
    if (entry->d_name[0] != '.') PinThread(atoi(entry->d_name), cpu);
  if (directory != nullptr) closedir(directory);
}

// What the paths of the second argument look like: longer than most.
constexpr char kPath[] = "/usr/lib/x86_64-linux-gnu/python3/dist-packages/module.py";

}  // namespace

struct alignas(64) Group::Order {
  std::atomic<uint32_t> number;  // grows with every order
  std::atomic<uint32_t> done;    // the last that was carried out
  uint32_t kind, count, pause_us;
  long argument;
  Measured measured;
};

Group::Group(std::string name, size_t clients, bool path, const Server& server)
    : name_(std::move(name)) {
  void* const shared = mmap(nullptr, clients * sizeof(Order), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) abort();
  orders_ = static_cast<Order*>(shared);
  std::vector<UniqueFd> listeners;
  for (size_t i = 0; i < clients; ++i) {
    Order* const order = &orders_[i];
    processes_.push_back(
        test::FilteredProcess::Start({SYS_getppid}, [order, path] { return Obey(*order, path); }));
    listeners.push_back(processes_.back().TakeListener());
  }
  server_ = fork();
  if (server_ == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<int> numbers;
    for (UniqueFd& listener : listeners) numbers.push_back(listener.Release());
    server(numbers);
    _exit(0);
  }
  for (test::FilteredProcess& process : processes_) process.Release();
  for (size_t i = 0; i < clients; ++i) (void)Calls(i, 1);  // the server serves
}

Group::~Group() {
  for (size_t i = 0; i < size(); ++i) Begin(i, kEnd, 0, 0, 0);
  for (test::FilteredProcess& process : processes_)
    if (!process.EndsWithin(std::chrono::seconds(5))) process.Kill();
  processes_.clear();
  kill(server_, SIGKILL);
  while (waitpid(server_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// In the client. Descriptors of other clients must not keep their listeners alive.
int Group::Obey(Order& order, bool path) {
  (void)close_range(3, ~0U, 0);
  const char* const text = path ? kPath : nullptr;
  std::vector<uint32_t> samples;
  const auto call = [&](long argument) {
    const uint64_t before = Now();
    syscall(SYS_getppid, argument, text);
    return static_cast<uint32_t>(std::min<uint64_t>(Now() - before, ~uint32_t{0}));
  };
  for (uint32_t seen = 0;;) {
    while (order.number.load() == seen) FutexWait(order.number, seen);
    seen = order.number.load();
    if (order.kind == kEnd) return 0;
    samples.clear();
    uint64_t calls = 0;
    const uint64_t until = Now() + uint64_t{order.count} * 1'000'000;
    switch (order.kind) {
      case kCount:
        for (; calls < order.count; ++calls) samples.push_back(call(0));
        break;
      case kFullSpeed:
        for (; Now() < until; ++calls) syscall(SYS_getppid, 0, text);
        break;
      case kPaced:
        for (; Now() < until; ++calls) {
          const timespec pause{0, long{order.pause_us} * 1000};
          clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
          samples.push_back(call(0));
        }
        break;
      default:
        syscall(SYS_getppid, order.argument, text);
        break;
    }
    Measured measured{calls, 0, 0};
    if (!samples.empty()) {
      std::sort(samples.begin(), samples.end());
      measured.median = samples[samples.size() / 2];
      measured.p99 = samples[samples.size() * 99 / 100];
    }
    order.measured = measured;
    order.done.store(seen);
    FutexWake(order.done);
  }
}

void Group::Begin(size_t client, uint32_t kind, uint32_t count, uint32_t pause_us, long argument) {
  Order& order = orders_[client];
  order.kind = kind;
  order.count = count;
  order.pause_us = pause_us;
  order.argument = argument;
  order.number.fetch_add(1);
  FutexWake(order.number);
}

Measured Group::Await(size_t client) {
  Order& order = orders_[client];
  const uint32_t number = order.number.load();
  for (uint32_t done; (done = order.done.load()) != number;) FutexWait(order.done, done);
  return order.measured;
}

Measured Group::Calls(size_t client, uint32_t count) {
  Begin(client, kCount, count, 0, 0);
  return Await(client);
}

void Group::BeginFullSpeed(size_t client, uint32_t milliseconds) {
  Begin(client, kFullSpeed, milliseconds, 0, 0);
}
void Group::BeginPaced(size_t client, uint32_t milliseconds, uint32_t pause_us) {
  Begin(client, kPaced, milliseconds, pause_us, 0);
}
void Group::BeginCall(size_t client, long argument) { Begin(client, kOne, 0, 0, argument); }

uint64_t Group::Throughput(uint32_t milliseconds) {
  for (size_t i = 0; i < size(); ++i) BeginFullSpeed(i, milliseconds);
  uint64_t calls = 0;
  for (size_t i = 0; i < size(); ++i) calls += Await(i).calls;
  return calls;
}

void Group::Pin(int cpu) {
  PinProcess(server_, cpu);
  for (const test::FilteredProcess& process : processes_) PinProcess(process.pid(), cpu);
}

}  // namespace landgate::bench
