// A real process that wears a real filter, and its listener, for the tests of the agent.
//
//   FilteredProcess process = FilteredProcess::Start({SYS_getppid}, [] {
//     return syscall(SYS_getppid) == 4711 ? 0 : 1;
//   });
//   UniqueFd listener = process.TakeListener();
//   … serve it …
//   EXPECT_EQ(process.Wait(), 0);
//
// `body` runs in the child and its value is the exit status. The child waits for Release (or Wait,
// which releases) before it runs the body, so nothing is notified before the test wants it.
// read(2) and exit_group(2) can't be among the notified system calls. Not thread-safe.
#ifndef LANDGATE_TESTS_AGENT_SUPPORT_FILTERED_PROCESS_H_
#define LANDGATE_TESTS_AGENT_SUPPORT_FILTERED_PROCESS_H_

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/syscalls.h"
#include "base/unique_fd.h"

namespace landgate::test {

// A filter that notifies `syscalls` of the native table and allows the rest. Installs it in the
// calling thread and returns the listener's descriptor, or -1 with errno. Makes no allocation
// after fork(2) but the program's own.
inline int InstallNotifyFilter(const std::vector<int>& syscalls, unsigned long flags = 0) {
  std::vector<sock_filter> program;
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (const int number : syscalls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
  return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                  SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &filter));
}

class FilteredProcess {
 public:
  // `filter_flags`: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV for instance. Aborts the test program
  // where the kernel can't do it.
  static FilteredProcess Start(const std::vector<int>& syscalls, const std::function<int()>& body,
                               unsigned long filter_flags = 0) {
    int ends[2];
    Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    const pid_t child = fork();
    Check(child >= 0, "fork");
    if (child == 0) {
      close(ends[0]);
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test program that dies leaves nobody behind
      const int listener = InstallNotifyFilter(syscalls, filter_flags);
      if (listener < 0) _exit(120);
      Tell(ends[1], listener);
      char go;
      // The parent's end of file: it has died or doesn't want us.
      if (read(ends[1], &go, 1) != 1) _exit(121);
      close(listener);  // the parent has its own; the last one closed ends the listener
      if (read(ends[1], &go, 1) != 1) _exit(122);
      close(ends[1]);
      _exit(body());
    }
    close(ends[1]);
    FilteredProcess process;
    process.pid_ = child;
    process.channel_ = UniqueFd(ends[0]);
    const int number = Told(ends[0]);
    Result<UniqueFd> pidfd = PidfdOpen(child);
    Check(pidfd.has_value(), "pidfd_open");
    Result<UniqueFd> listener = PidfdGetfd(*pidfd, number);
    Check(listener.has_value(), "pidfd_getfd");
    process.pidfd_ = std::move(*pidfd);
    process.listener_ = std::move(*listener);
    Check(write(ends[0], "l", 1) == 1, "write");
    return process;
  }

  FilteredProcess(FilteredProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        pidfd_(std::move(other.pidfd_)),
        channel_(std::move(other.channel_)),
        listener_(std::move(other.listener_)) {}
  FilteredProcess& operator=(FilteredProcess&&) = delete;
  ~FilteredProcess() {
    if (pid_ <= 0) return;
    Kill();
    (void)Reap();
  }

  pid_t pid() const { return pid_; }
  BorrowedFd pidfd() const { return pidfd_; }
  BorrowedFd listener() const { return listener_; }
  // Ownership of the listener; close it or give it to the code under test.
  UniqueFd TakeListener() { return std::move(listener_); }

  // Lets the body run. Once.
  void Release() {
    if (!channel_.valid()) return;
    Check(send(channel_.get(), "g", 1, MSG_NOSIGNAL) == 1 || errno == EPIPE, "send");
    channel_.Reset();
  }
  // Releases and waits. The exit status; 128 + signal where a signal ended it.
  int Wait() {
    Release();
    return Reap();
  }
  // False: it still runs after `patience`.
  bool EndsWithin(std::chrono::milliseconds patience) {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    return poll(&ended, 1, static_cast<int>(patience.count())) == 1;
  }
  void Kill(int signal = SIGKILL) const {
    if (pid_ > 0) (void)kill(pid_, signal);
  }

 private:
  FilteredProcess() = default;

  static void Check(bool ok, const char* what) {
    if (ok) return;
    perror(what);
    abort();
  }
  static void Tell(int channel, int number) {
    // send(2): write(2) may be among what is notified.
    if (send(channel, &number, sizeof number, MSG_NOSIGNAL) != sizeof number) _exit(123);
  }
  static int Told(int channel) {
    int number = -1;
    Check(read(channel, &number, sizeof number) == sizeof number,
          "the child could not install its filter (seccomp user notification)");
    return number;
  }
  int Reap() {
    if (pid_ <= 0) return -1;
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd channel_;
  UniqueFd listener_;
};

}  // namespace landgate::test

#endif  // LANDGATE_TESTS_AGENT_SUPPORT_FILTERED_PROCESS_H_
