// The part of a message that has been taken out of its socket, and the descriptors that came with
// it, in a form that outlives the serving process.
//
// A state that fits the socket's buffer is peeked at and never needs this. A longer one is only
// sent on when what came before is taken out, and what was taken out must not be lost with the
// process: the kernel's own copy into shared memory is the record. The memory is zero, JSON has no
// NUL, so its text ends at the first one, whenever the process died.
//
// The holder keeps one descriptor: a socket in which one message waits, to be peeked at, with the
// memory and the descriptors. Not thread-safe.
#ifndef LANDGATE_AGENT_SERVER_SPOOL_H_
#define LANDGATE_AGENT_SERVER_SPOOL_H_

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class Spool {
 public:
  // Empty, with `fds` (at most kMaxStateFds); they stay the caller's.
  static Result<Spool> Create(const std::vector<UniqueFd>& fds);
  // What a predecessor had kept; `fds` gets its descriptors.
  static Result<Spool> Open(UniqueFd kept, std::vector<UniqueFd>* fds);

  BorrowedFd kept() const { return kept_; }
  std::string_view text() const { return {memory_.get(), length_}; }
  // Takes what `socket` has, without waiting, behind text(). Zero bytes: its end. EAGAIN: nothing
  // there now. EMSGSIZE: more than kMaxStateBytes. Descriptors on the way are closed.
  Result<size_t> Receive(BorrowedFd socket);

 private:
  struct Unmap {
    void operator()(char* memory) const;
  };
  Spool(UniqueFd kept, std::unique_ptr<char, Unmap> memory, size_t length)
      : kept_(std::move(kept)), memory_(std::move(memory)), length_(length) {}
  static Result<std::unique_ptr<char, Unmap>> Map(BorrowedFd memfd);

  UniqueFd kept_;
  std::unique_ptr<char, Unmap> memory_;
  size_t length_;
};

// One message of a stream socket with its descriptors, looked at and left there.
struct Peeked {
  size_t bytes = 0;  // 0: end of the stream
  std::vector<UniqueFd> fds;
};
// Into `buffer`, without waiting. EAGAIN: nothing there now. EMFILE: descriptors came that this
// process has no room for; they are still there.
Result<Peeked> Peek(BorrowedFd socket, char* buffer, size_t size);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_SPOOL_H_
