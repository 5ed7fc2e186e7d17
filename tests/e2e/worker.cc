// worker: makes system calls at full speed, checks how each one ends, and counts them where
// somebody outside can read along.
//
//   worker COUNTERS WORKERS audit|enforce DIRECTORY
//
// COUNTERS is a file of at least kPage bytes, which is mapped, so that counting is no system call:
// at 0 a 64-bit number that ends all workers when it is not 0; at kCacheLine × (1 + N) what worker
// N has made: rounds, calls, calls that ended otherwise than they had to. What ended otherwise is
// told on stderr. DIRECTORY has `file` ("open\n"); each worker makes and removes names of its own
// in it. Exit status 0: every worker ended by itself, none had anything to tell.
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kCacheLine = 64;
constexpr int kMaxWorkers = 32;
constexpr int kNothingStatus = 7;  // of `worker nothing`, which is what workers execute

struct alignas(kCacheLine) Counters {
  std::atomic<uint64_t> rounds, calls, wrong;
};

struct Shared {
  alignas(kCacheLine) std::atomic<uint64_t> stop;
  Counters workers[kMaxWorkers];
};
static_assert(sizeof(Shared) <= kPage);

std::atomic<uint64_t>* g_stop;
void Stop(int) { g_stop->store(1); }

class Worker {
 public:
  Worker(Counters& counters, bool audit, std::string directory, int number)
      : counters_(counters),
        audit_(audit),
        directory_(std::move(directory)),
        file_(directory_ + "/file"),
        own_(directory_ + "/w" + std::to_string(number)) {}

  void Round(uint64_t number) {
    Opens();
    Executes(number);
    if (audit_) Changes();
    counters_.rounds.fetch_add(1);
  }

 private:
  // One call has ended; `expected` is 0 or an errno.
  void Ended(const char* what, long result, int expected) {
    const int got = result < 0 ? errno : 0;
    counters_.calls.fetch_add(1);
    if (got == expected) return;
    counters_.wrong.fetch_add(1);
    (void)fprintf(stderr, "worker: %s: expected %s, got %s\n", what,
                  expected == 0 ? "success" : strerrorname_np(expected),
                  got == 0 ? "success" : strerrorname_np(got));
  }

  void Read(const char* what, int fd, int expected) {
    Ended(what, fd, expected);
    if (fd < 0) return;
    char text[16] = {};
    if (expected == 0 && read(fd, text, sizeof text) <= 0) Ended("reading", -1, 0);
    close(fd);
  }

  void Opens() {
    const char* file = file_.c_str();
#ifdef SYS_open
    Read("open", static_cast<int>(syscall(SYS_open, file, O_RDONLY | O_CLOEXEC)), 0);
#endif
    Read("openat", openat(AT_FDCWD, file, O_RDONLY | O_CLOEXEC), 0);
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC;
    Read("openat2", static_cast<int>(syscall(SYS_openat2, AT_FDCWD, file, &how, sizeof how)), 0);
    Read("openat of nothing", openat(AT_FDCWD, (own_ + ".absent").c_str(), O_RDONLY), ENOENT);
    Read("openat beneath a file", openat(AT_FDCWD, (file_ + "/x").c_str(), O_RDONLY), ENOTDIR);
    Read("openat of a bad pointer",
         static_cast<int>(syscall(SYS_openat, AT_FDCWD, nullptr, O_RDONLY)), EFAULT);
    // Allowed to nobody by the policy; without a floor nothing denies it.
    Read("openat of what is denied", openat(AT_FDCWD, "/srv/outside", O_RDONLY),
         audit_ ? 0 : EACCES);
  }

  // vfork: the child tells its errno in our memory.
  void Execute(const char* what, const char* program, int expected) {
    char name[] = "worker", word[] = "nothing";
    char* argv[] = {name, word, nullptr};
    volatile int error = 0;
    const pid_t child = vfork();
    if (child == 0) {
      (void)execve(program, argv, argv + 2);
      error = errno;
      _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    errno = error;
    Ended(what, error == 0 ? 0 : -1, expected);
    if (error != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == kNothingStatus)) return;
    errno = ECHILD;
    Ended("how an executed program ended", -1, 0);
  }

  void Executes(uint64_t number) {
    Execute("execve", "/bin/worker", 0);
    Execute("execve of nothing", "/bin/absent", ENOENT);
    Execute("execve of a file without x", "/etc/passwd", EACCES);
    if (number % 8 == 0) Execute("execve of what is denied", "/srv/tool", audit_ ? 0 : EACCES);
  }

  // Each of these succeeds once: done twice, or not at all, the same or the next one fails.
  void Changes() {
    const std::string other = own_ + ".b";
    const char *one = own_.c_str(), *two = other.c_str();
    Ended("mkdir", mkdir(one, 0755), 0);
    Ended("mkdir again", mkdir(one, 0755), EEXIST);
    Ended("rename", rename(one, two), 0);
    Ended("rmdir", rmdir(two), 0);
    const int made = open(one, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    Ended("O_EXCL", made, 0);
    if (made >= 0) close(made);
    Ended("truncate", truncate(one, 1), 0);
    Ended("link", link(one, two), 0);
    Ended("unlink", unlink(one), 0);
    Ended("symlink", symlink(two, one), 0);
    Ended("unlink", unlink(one), 0);
    Ended("unlink", unlink(two), 0);
    Ended("unlink again", unlink(two), ENOENT);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", one);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    Ended("connect", connect(fd, generic, sizeof address), ENOENT);
    Ended("bind", bind(fd, generic, sizeof address), 0);
    close(fd);
    Ended("unlink", unlink(one), 0);
  }

  Counters& counters_;
  const bool audit_;
  const std::string directory_, file_, own_;
};

int Run(Shared& shared, int workers, bool audit, const std::string& directory) {
  for (int i = 0; i < workers; ++i) {
    const pid_t child = fork();
    if (child < 0) return 2;
    if (child > 0) continue;
    Counters& counters = shared.workers[i];
    Worker worker(counters, audit, directory, i);
    for (uint64_t round = 0; shared.stop.load() == 0; ++round) worker.Round(round);
    _exit(counters.wrong.load() == 0 ? 0 : 1);
  }
  int worst = 0, status = 0;
  for (;;) {
    if (wait(&status) < 0) {
      if (errno == EINTR) continue;
      return worst;
    }
    if (status != 0) worst = 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "nothing") == 0) _exit(kNothingStatus);
  if (argc != 5) return 2;
  const int workers = std::atoi(argv[2]);
  const int fd = open(argv[1], O_RDWR | O_CLOEXEC);
  if (fd < 0 || workers < 1 || workers > kMaxWorkers) return 2;
  void* map = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return 2;
  auto* shared = static_cast<Shared*>(map);
  g_stop = &shared->stop;
  struct sigaction stop {};
  stop.sa_handler = Stop;
  (void)sigaction(SIGTERM, &stop, nullptr);
  return Run(*shared, workers, std::strcmp(argv[3], "audit") == 0, argv[4]);
}
