#include "agent/helper/helper_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "agent/helper/helper_message.h"
#include "agent/holder/fd_message.h"
#include "agent/holder/holder_start.h"
#include "agent/limits.h"
#include "agent/notify/process_stat.h"

namespace landgate::agent {
namespace {

using Clock = std::chrono::steady_clock;

// How often a wait asks whether it is still wanted.
constexpr std::chrono::milliseconds kTick{5};

struct Helper {
  pid_t pid = -1;
  uint64_t start = 0;
  UniqueFd channel;
  uint64_t owner = 0;   // of the operation in hand
  uint64_t number = 0;  // of the last request
  bool asked = false;   // its answer has not come yet
  bool spent = false;   // it ends after that answer
};

// A child that has closed its channel has ended, or is about to.
void Reap(const Helper& helper) {
  int status;
  while (waitpid(helper.pid, &status, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

struct HelperPool::Impl {
  explicit Impl(Options wanted) : options(std::move(wanted)) {}
  ~Impl() {
    // Those that are about something finish it; who becomes their parent reaps them.
    for (Helper& helper : idle) {
      helper.channel.Reset();
      Reap(helper);
    }
  }

  Result<Helper> Spawn();
  std::optional<uint32_t> Find(std::string_view operation) const;
  void Release(Helper helper);
  void LookAfterAbandoned(std::vector<Helper>& ended);
  // What is left of it: nothing came, it has answered, it has ended.
  enum class Look { kNothing, kAnswered, kEnded };
  static Look TakeAnswer(Helper& helper, HelperAnswer* answer, int timeout_ms);

  const Options options;
  std::mutex mutex;  // all that follows
  std::vector<Helper> idle;
  std::vector<Helper> abandoned;  // somebody gave up waiting for their answer
  std::map<uint64_t, size_t> by_owner;
  size_t count = 0;
};

struct HelperPool::Lease::State {
  std::shared_ptr<Impl> pool;
  Helper helper;
  bool ended = false;
};

std::optional<uint32_t> HelperPool::Impl::Find(std::string_view operation) const {
  const auto at = std::ranges::find(options.operations, operation, &NamedOperation::name);
  if (at == options.operations.end()) return std::nullopt;
  return static_cast<uint32_t>(at - options.operations.begin());
}

Result<Helper> HelperPool::Impl::Spawn() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return SystemError("a helper's channel", errno);
  Helper helper;
  helper.channel = UniqueFd(ends[0]);
  // dup2 of a descriptor onto itself would leave it close-on-exec, and one onto the other's number
  // would lose that: both are first moved out of the way.
  const UniqueFd near_channel(ends[1]);
  const UniqueFd channel(fcntl(near_channel.get(), F_DUPFD_CLOEXEC, kHelperArea + 1));
  const bool with_area = options.area.get() >= 0;
  const UniqueFd area(with_area ? fcntl(options.area.get(), F_DUPFD_CLOEXEC, kHelperArea + 1) : -1);
  if (!channel.valid() || (with_area && !area.valid())) return SystemError("a helper", errno);

  std::vector<std::string> arguments = options.command, environment = EnvironmentForChildren();
  std::vector<char*> argv, envp;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  for (std::string& entry : environment) envp.push_back(entry.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, channel.get(), kHelperChannel);
  if (with_area)
    posix_spawn_file_actions_adddup2(&actions, area.get(), kHelperArea);
  else
    posix_spawn_file_actions_addclose(&actions, kHelperArea);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  // A group of its own, so that a terminal's signals don't reach it; not a session, whose leader
  // would get a terminal that it opens for somebody as its own.
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  const int failed = posix_spawn(&helper.pid, options.command.front().c_str(), &actions,
                                 &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return SystemError("starting a helper", failed);
  const std::optional<ProcessStat> stat = ReadProcessStat(helper.pid);
  helper.start = stat ? stat->start : 0;
  return helper;
}

HelperPool::Impl::Look HelperPool::Impl::TakeAnswer(Helper& helper, HelperAnswer* answer,
                                                    int timeout_ms) {
  pollfd look{helper.channel.get(), POLLIN, 0};
  if (poll(&look, 1, timeout_ms) <= 0) return Look::kNothing;
  const Result<FdMessage> received =
      ReceiveWithFds(helper.channel, std::as_writable_bytes(std::span(answer, 1)), 0, MSG_DONTWAIT);
  if (!received) return received.error().error_number == EAGAIN ? Look::kNothing : Look::kEnded;
  if (received->bytes != sizeof *answer) return Look::kEnded;
  if (answer->number != helper.number) return Look::kNothing;
  helper.asked = false;
  return Look::kAnswered;
}

// With the mutex.
void HelperPool::Impl::LookAfterAbandoned(std::vector<Helper>& ended) {
  for (size_t i = 0; i < abandoned.size();) {
    HelperAnswer answer;
    const Look look = TakeAnswer(abandoned[i], &answer, 0);
    if (look == Look::kNothing) {
      ++i;
      continue;
    }
    Helper helper = std::move(abandoned[i]);
    abandoned.erase(abandoned.begin() + static_cast<ptrdiff_t>(i));
    if (--by_owner[helper.owner] == 0) by_owner.erase(helper.owner);
    if (look == Look::kAnswered && !helper.spent && idle.size() < kIdleHelpers) {
      idle.push_back(std::move(helper));
    } else {
      --count;
      helper.channel.Reset();
      ended.push_back(std::move(helper));
    }
  }
}

void HelperPool::Impl::Release(Helper helper) {
  std::optional<Helper> ended;
  {
    const std::lock_guard lock(mutex);
    if (helper.asked) {
      abandoned.push_back(std::move(helper));
      return;
    }
    if (--by_owner[helper.owner] == 0) by_owner.erase(helper.owner);
    if (helper.channel.valid() && !helper.spent && idle.size() < kIdleHelpers) {
      idle.push_back(std::move(helper));
      return;
    }
    --count;
    helper.channel.Reset();
    ended = std::move(helper);
  }
  Reap(*ended);
}

HelperPool::HelperPool(Options options) : impl_(std::make_shared<Impl>(std::move(options))) {}
HelperPool::~HelperPool() = default;

Result<std::unique_ptr<HelperPool::Lease>> HelperPool::Acquire(uint64_t owner) {
  std::optional<Helper> helper;
  std::vector<Helper> ended;
  bool busy = false;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->LookAfterAbandoned(ended);
    const auto share = impl_->by_owner.find(owner);
    busy = owner != 0 && share != impl_->by_owner.end() && share->second >= kMaxHelpersPerOwner;
    if (!busy && !impl_->idle.empty()) {
      helper = std::move(impl_->idle.back());
      impl_->idle.pop_back();
    } else if (!busy && impl_->count < kMaxHelpers) {
      ++impl_->count;  // spawned below, without the lock
    } else {
      busy = true;
    }
    if (!busy) ++impl_->by_owner[owner];
  }
  for (const Helper& gone : ended) Reap(gone);
  if (busy) return SystemError("too many operations in hand", EAGAIN);
  if (!helper) {
    Result<Helper> spawned = impl_->Spawn();
    if (!spawned) {
      const std::lock_guard lock(impl_->mutex);
      --impl_->count;
      if (--impl_->by_owner[owner] == 0) impl_->by_owner.erase(owner);
      return Forward(spawned);
    }
    helper = *std::move(spawned);
  }
  helper->owner = owner;
  auto state = std::make_unique<Lease::State>();
  state->pool = impl_;
  state->helper = *std::move(helper);
  return std::unique_ptr<Lease>(new Lease(std::move(state)));
}

HelperPool::Lease::Lease(std::unique_ptr<State> state) : state_(std::move(state)) {}

HelperPool::Lease::~Lease() {
  if (state_->ended) {
    state_->helper.channel.Reset();
    state_->helper.asked = false;
  }
  state_->pool->Release(std::move(state_->helper));
}

pid_t HelperPool::Lease::pid() const { return state_->helper.pid; }
uint64_t HelperPool::Lease::start_time() const { return state_->helper.start; }

bool HelperPool::Lease::Alive() const { return !state_->ended; }

Status HelperPool::Lease::Send(const HelperRequest& request, const OncePlace* once) {
  const std::optional<uint32_t> operation = state_->pool->Find(request.operation);
  if (!operation) return Refuse("this build has no operation " + std::string(request.operation));
  if (request.bytes.size() > kMaxHelperRequestBytes || request.fds.size() > kMaxHelperFds)
    return SystemError("an operation's request", E2BIG);
  HelperRequestHeader header{.number = ++state_->helper.number,
                             .operation = *operation,
                             .bytes = static_cast<uint32_t>(request.bytes.size())};
  if (once != nullptr) {
    header.once = 1;
    header.region = once->region;
    header.record = once->record;
    header.claim = once->claim;
  }
  std::vector<std::byte> packet(sizeof header + request.bytes.size());
  std::memcpy(packet.data(), &header, sizeof header);
  std::ranges::transform(request.bytes, packet.begin() + sizeof header,
                         [](char c) { return static_cast<std::byte>(c); });
  Status sent = SendWithFds(state_->helper.channel, packet, request.fds, MSG_DONTWAIT);
  if (sent)
    state_->helper.asked = true;
  else if (sent.error().error_number == EPIPE || sent.error().error_number == ECONNRESET)
    state_->ended = true;  // an idle helper that was killed
  state_->helper.spent = state_->pool->options.operations[*operation].spends_helper;
  return sent;
}

HelperPool::Lease::Event HelperPool::Lease::Wait(std::chrono::milliseconds timeout,
                                                 const std::function<bool()>& go_on,
                                                 HelperResult* result) {
  const auto deadline = Clock::now() + timeout;
  for (;;) {
    HelperAnswer answer;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const auto wait = std::clamp(left, std::chrono::milliseconds(0), kTick);
    switch (Impl::TakeAnswer(state_->helper, &answer, static_cast<int>(wait.count()))) {
      case Impl::Look::kAnswered:
        *result = {answer.performed != 0, answer.value};
        return Event::kAnswered;
      case Impl::Look::kEnded:
        state_->ended = true;
        return Event::kDied;
      case Impl::Look::kNothing:
        break;
    }
    if (left <= std::chrono::milliseconds(0)) return Event::kTimeout;
    if (go_on && !go_on()) return Event::kStopped;
  }
}

Result<int64_t> HelperPool::Run(const HelperRequest& request, std::chrono::milliseconds timeout) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    Result<std::unique_ptr<Lease>> lease = Acquire(request.owner);
    if (!lease) return Forward(lease);
    if (Status sent = (*lease)->Send(request, nullptr); !sent) {
      if (sent.error().error_number == EPIPE || sent.error().error_number == ECONNRESET) continue;
      return Forward(sent);
    }
    HelperResult result;
    const std::string what(request.operation);
    switch ((*lease)->Wait(timeout, nullptr, &result)) {
      case Lease::Event::kAnswered:
        if (!result.performed) return SystemError(what, EPROTO);
        return result.value;
      case Lease::Event::kDied:
        return SystemError(what + ": the helper died", EIO);
      case Lease::Event::kTimeout:
      case Lease::Event::kStopped:
        return SystemError(what, ETIMEDOUT);
    }
  }
  return SystemError("starting a helper", EAGAIN);
}

}  // namespace landgate::agent
