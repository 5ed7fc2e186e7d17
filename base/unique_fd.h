// Ownership of file descriptors.
//
// A parameter says who owns: BorrowedFd looks, UniqueFd by value takes. A move closes what the
// target held; close is never retried (Linux releases the descriptor even on EINTR).
#ifndef LANDGATE_BASE_UNIQUE_FD_H_
#define LANDGATE_BASE_UNIQUE_FD_H_

#include <utility>

namespace landgate {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// A descriptor that somebody else keeps open for at least the length of the call.
class BorrowedFd {
 public:
  explicit BorrowedFd(int fd) : fd_(fd) {}
  BorrowedFd(const UniqueFd& fd) : fd_(fd.get()) {}  // NOLINT(google-explicit-constructor)
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace landgate

#endif  // LANDGATE_BASE_UNIQUE_FD_H_
