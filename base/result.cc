#include "base/result.h"

#include <cstring>

namespace landgate {

Failure Refuse(std::string message) {
  return Failure(Error{std::move(message), 0, ExitStatus::kRefused});
}

Failure Impossible(std::string message) {
  return Failure(Error{std::move(message), 0, ExitStatus::kImpossible});
}

Failure BadUsage(std::string message) {
  return Failure(Error{std::move(message), 0, ExitStatus::kUsage});
}

Failure SystemError(std::string_view what, int error_number) {
  std::string message(what);
  message += ": ";
  message += strerrordesc_np(error_number) ? strerrordesc_np(error_number) : "unknown error";
  return Failure(Error{std::move(message), error_number, ExitStatus::kRefused});
}

Failure Context(std::string_view place, Error error) {
  std::string message(place);
  message += ": ";
  message += error.message;
  error.message = std::move(message);
  return Failure(std::move(error));
}

}  // namespace landgate
