// How the reader of memory (memory.h) tells whoever runs the thread that a read begins and ends, so
// that the deadline of listener.h can be kept from outside. Threads that nobody watches (helpers,
// tests) read without a deadline.
#ifndef LANDGATE_AGENT_NOTIFY_READ_WATCH_H_
#define LANDGATE_AGENT_NOTIFY_READ_WATCH_H_

namespace landgate::agent {

class ReadWatch {
 public:
  // False: the read can't be watched now and must not be made.
  virtual bool BeginRead() = 0;
  // False: it took too long, and the call has been answered without us.
  virtual bool EndRead() = 0;

 protected:
  ~ReadWatch() = default;
};

// The calling thread's; null: none.
inline thread_local ReadWatch* read_watch = nullptr;

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_READ_WATCH_H_
