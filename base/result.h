// Result<T>: how every fallible function of the project answers.
//
// An Error says what failed, where, and what to do, in one line fit for a user. The function that
// made the failing call captures errno; callers add context in front (`Context`) and never replace
// what was said. No exception crosses a file.
//
//   Result<UniqueFd> fd = OpenPolicy(path);
//   if (!fd) return Context("policy", fd);
#ifndef LANDGATE_BASE_RESULT_H_
#define LANDGATE_BASE_RESULT_H_

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace landgate {

// Exit status of every program; part of the interface and never renumbered.
enum class ExitStatus : int {
  kDone = 0,
  kRefused = 1,     // by policy, configuration, or a document that is not what it must be
  kUsage = 2,       // bad command line
  kImpossible = 3,  // not possible here: kernel, runtime, no agent
};

struct Error {
  std::string message;
  int error_number = 0;  // errno of the failing call, 0 where no call failed
  ExitStatus status = ExitStatus::kRefused;
};

template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

using Failure = tl::unexpected<Error>;

// A refusal by policy, configuration or document.
Failure Refuse(std::string message);
// Not possible on this machine; the message says what is missing.
Failure Impossible(std::string message);
// A bad command line.
Failure BadUsage(std::string message);
// A failed system call: "WHAT: strerror(error_number)".
Failure SystemError(std::string_view what, int error_number);

// Puts "PLACE: " in front of an error on its way up.
Failure Context(std::string_view place, Error error);
template <class T>
Failure Context(std::string_view place, Result<T>& failed) {
  return Context(place, std::move(failed).error());
}
// Hands an error on unchanged.
template <class T>
Failure Forward(Result<T>& failed) {
  return Failure(std::move(failed).error());
}

}  // namespace landgate

#endif  // LANDGATE_BASE_RESULT_H_
