// Threads as the agent makes them: detached, a small stack, all signals blocked (so that no system
// call of theirs is interrupted but by SignalThread).
#ifndef LANDGATE_AGENT_NOTIFY_THREAD_H_
#define LANDGATE_AGENT_NOTIFY_THREAD_H_

#include <sys/types.h>

#include <functional>

namespace landgate::agent {

// False: no thread could be made (EAGAIN, ENOMEM). `name` is at most 15 characters. Thread-safe.
bool StartThread(const char* name, std::function<void()> body);

// Lets SignalThread reach the calling thread.
void AcceptThreadSignal();
// Makes a blocking system call of that thread of this process fail with EINTR, if it is in one. A
// thread id that is gone is no error.
void SignalThread(pid_t thread);

// Whether the thread waits for something other than a processor. True also where that can't be
// told.
bool ThreadIsBlocked(pid_t thread);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_THREAD_H_
