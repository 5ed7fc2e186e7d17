// Whether a blocked receive ends with the listener's last process: tried with two processes, one
// with a filter that ends, and one that receives and can be killed if it never comes back.
#include <errno.h>
#include <linux/audit.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/notify/notification.h"
#include "base/syscalls.h"

namespace landgate::agent {
namespace {

constexpr int kPatienceMs = 200;

// fork(2) without the C library's handlers, whose locks another thread may hold. The child makes
// system calls only.
pid_t BareFork() { return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }

void Reap(pid_t child) {
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// In a child: installs a filter, tells the descriptor's number, and lives until the channel ends.
[[noreturn]] void LiveUnderFilter(int channel) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof *program, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) _exit(1);
  const long listener =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  const int number = static_cast<int>(listener);
  char go;
  if (send(channel, &number, sizeof number, MSG_NOSIGNAL) != sizeof number) _exit(1);
  while (read(channel, &go, 1) < 0 && errno == EINTR) {
  }
  _exit(0);
}

// In a child: says when it is about to receive, then ends as soon as the receive does.
[[noreturn]] void ReceiveOnce(int channel, BorrowedFd listener) {
  alignas(64) static Slot slot;
  (void)send(channel, "r", 1, MSG_NOSIGNAL);
  (void)Receive(listener, slot);
  _exit(0);
}

struct Channel {
  UniqueFd ours, theirs;
};

Result<Channel> NewChannel() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return SystemError("socketpair", errno);
  return Channel{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// True: `process` has ended within the patience.
bool Ended(BorrowedFd process) {
  pollfd end{process.get(), POLLIN, 0};
  int ready;
  do {
    ready = poll(&end, 1, kPatienceMs);
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

bool TryReceiving(BorrowedFd listener, UniqueFd filtered_channel) {
  Result<Channel> channel = NewChannel();
  if (!channel) return false;
  const pid_t receiver = BareFork();
  if (receiver < 0) return false;
  if (receiver == 0) {
    // The other child lives until every copy of this end is closed.
    filtered_channel.Reset();
    ReceiveOnce(channel->theirs.get(), listener);
  }
  channel->theirs.Reset();
  char ready;
  while (read(channel->ours.get(), &ready, 1) < 0 && errno == EINTR) {
  }
  filtered_channel.Reset();  // ends the process with the filter
  Result<UniqueFd> process = PidfdOpen(receiver);
  const bool ended = process && Ended(*process);
  (void)kill(receiver, SIGKILL);
  Reap(receiver);
  return ended;
}

bool Probe() {
  Result<Channel> channel = NewChannel();
  if (!channel) return false;
  const pid_t filtered = BareFork();
  if (filtered < 0) return false;
  if (filtered == 0) {
    channel->ours.Reset();
    LiveUnderFilter(channel->theirs.get());
  }
  channel->theirs.Reset();
  bool ends = false;
  int number = -1;
  if (recv(channel->ours.get(), &number, sizeof number, MSG_WAITALL) == sizeof number &&
      number >= 0) {
    Result<UniqueFd> process = PidfdOpen(filtered);
    Result<UniqueFd> listener = process ? PidfdGetfd(*process, number) : Forward(process);
    if (listener) ends = TryReceiving(*listener, std::move(channel->ours));
  }
  channel->ours.Reset();
  (void)kill(filtered, SIGKILL);
  Reap(filtered);
  return ends;
}

}  // namespace

bool ReceiveEndsWithLastProcess() {
  static const bool ends = Probe();
  return ends;
}

}  // namespace landgate::agent
