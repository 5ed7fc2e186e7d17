#include "agent/notify/thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <new>
#include <utility>

#include "base/unique_fd.h"

namespace landgate::agent {
namespace {

// Pages of a stack count when they are touched. Sanitizers need more.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = size_t{1} << 20;
#else
constexpr size_t kStackBytes = size_t{256} << 10;
#endif

struct Start {
  const char* name;
  std::function<void()> body;
};

void* Run(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  (void)pthread_setname_np(pthread_self(), start->name);  // for people who look at ps
  start->body();
  return nullptr;
}

int ThreadSignal() { return SIGRTMIN + 1; }

}  // namespace

bool StartThread(const char* name, std::function<void()> body) {
  std::unique_ptr<Start> start(new (std::nothrow) Start{name, std::move(body)});
  if (start == nullptr) return false;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  (void)pthread_attr_setstacksize(&attributes, kStackBytes);
  (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // Before it begins, not in it: else a signal may find it first.
  sigset_t all, before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int failed = pthread_create(&thread, &attributes, Run, start.get());
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  (void)pthread_attr_destroy(&attributes);
  if (failed != 0) return false;
  (void)start.release();  // the thread's
  return true;
}

void AcceptThreadSignal() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // no SA_RESTART: the call is to end
    (void)sigaction(ThreadSignal(), &action, nullptr);
    return true;
  }();
  (void)installed;
  sigset_t accepted;
  (void)sigemptyset(&accepted);
  (void)sigaddset(&accepted, ThreadSignal());
  (void)pthread_sigmask(SIG_UNBLOCK, &accepted, nullptr);
}

void SignalThread(pid_t thread) { (void)syscall(SYS_tgkill, getpid(), thread, ThreadSignal()); }

bool ThreadIsBlocked(pid_t thread) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  const UniqueFd stat(open(path, O_RDONLY | O_CLOEXEC));
  char text[128];  // "TID (NAME) STATE …"; NAME has at most 15 characters
  const ssize_t length = stat.valid() ? read(stat.get(), text, sizeof text - 1) : -1;
  if (length <= 0) return true;
  text[length] = '\0';
  const char* const name_end = strrchr(text, ')');
  return name_end == nullptr || strncmp(name_end, ") R", 3) != 0;
}

}  // namespace landgate::agent
