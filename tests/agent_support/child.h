// A forked process of a test that says what it has done, line by line, and can be killed at any
// point. Waiting for a line takes the place of sleeping. Not thread-safe; the test program must
// have no other thread when it forks.
#ifndef LANDGATE_TESTS_AGENT_SUPPORT_CHILD_H_
#define LANDGATE_TESTS_AGENT_SUPPORT_CHILD_H_

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <utility>

#include "base/unique_fd.h"

namespace landgate::test {

class Child {
 public:
  class Mouth {
   public:
    explicit Mouth(int fd) : fd_(fd) {}
    void Say(std::string line) const {
      line += '\n';
      if (write(fd_, line.data(), line.size()) < 0) _exit(97);
    }

   private:
    int fd_;
  };

  // `body` runs in the child, and its value is the exit status.
  static Child Start(const std::function<int(const Mouth&)>& body) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) abort();
    const pid_t pid = fork();
    if (pid < 0) abort();
    if (pid == 0) {
      close(ends[0]);
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int status = body(Mouth(ends[1]));
      _exit(status);
    }
    close(ends[1]);
    Child child;
    child.pid_ = pid;
    child.ear_ = UniqueFd(ends[0]);
    return child;
  }

  Child() = default;
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        ear_(std::move(other.ear_)),
        heard_(std::move(other.heard_)) {}
  Child& operator=(Child&& other) noexcept {
    Kill();
    pid_ = std::exchange(other.pid_, -1);
    ear_ = std::move(other.ear_);
    heard_ = std::move(other.heard_);
    return *this;
  }
  ~Child() { Kill(); }

  pid_t pid() const { return pid_; }

  // The next line; empty when it has ended, or has said nothing for `seconds`.
  std::string Hear(int seconds = 60) {
    for (;;) {
      if (const size_t end = heard_.find('\n'); end != std::string::npos) {
        std::string line = heard_.substr(0, end);
        heard_.erase(0, end + 1);
        return line;
      }
      pollfd look{ear_.get(), POLLIN, 0};
      if (poll(&look, 1, seconds * 1000) <= 0) return "";
      char buffer[4096];
      const ssize_t count = read(ear_.get(), buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return "";
      heard_.append(buffer, static_cast<size_t>(count));
    }
  }

  // Its exit status; 128 + n: signal n.
  int Wait() {
    int status = 0;
    if (pid_ <= 0 || waitpid(std::exchange(pid_, -1), &status, 0) < 0) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void Kill(int signal = SIGKILL) {
    if (pid_ <= 0) return;
    (void)kill(pid_, signal);
    (void)Wait();
  }

 private:
  pid_t pid_ = -1;
  UniqueFd ear_;
  std::string heard_;
};

}  // namespace landgate::test

#endif  // LANDGATE_TESTS_AGENT_SUPPORT_CHILD_H_
