#include "agent/ctl/ctl_output.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/printable.h"

namespace landgate::ctl {
namespace {

bool WantsColour(int fd) {
  const char* no_color = getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = getenv("TERM");
  if (term == nullptr || strcmp(term, "dumb") == 0) return false;
  return isatty(fd) == 1;
}

}  // namespace

std::string Coloured(int fd, Colour colour, std::string_view text) {
  const char* start = nullptr;
  switch (colour) {
    case Colour::kNone:
      break;
    case Colour::kGreen:
      start = "\033[32m";
      break;
    case Colour::kRed:
      start = "\033[31m";
      break;
    case Colour::kYellow:
      start = "\033[33m";
      break;
    case Colour::kBold:
      start = "\033[1m";
      break;
  }
  if (start == nullptr || !WantsColour(fd)) return std::string(text);
  return start + std::string(text) + "\033[0m";
}

// fwrite's result is looked at once, in FinishOutput: stdio keeps the error flag.
void Print(std::string_view text) { (void)fwrite(text.data(), 1, text.size(), stdout); }

void PrintJson(const Json& value) {
  // Paths are bytes; what is not UTF-8 becomes U+FFFD, because JSON can't carry it.
  Print(value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

int PrintError(const Error& error) {
  (void)fflush(stdout);  // a failure is found by FinishOutput
  const std::string line =
      Coloured(STDERR_FILENO, Colour::kRed, "landgatectl:") + " " + Printable(error.message) + "\n";
  (void)fputs(line.c_str(), stderr);  // there is nowhere else to tell it
  return static_cast<int>(error.status);
}

int FinishOutput(int exit_status) {
  const bool flushed = fflush(stdout) == 0;
  if (flushed && ferror(stdout) == 0) return exit_status;
  const int status = PrintError(SystemError("standard output", errno).value());
  return exit_status == 0 ? status : exit_status;
}

std::string ErrnoName(int error_number) {
  const char* name = strerrorname_np(error_number);
  return name != nullptr ? name : std::to_string(error_number);
}

std::string ErrnoText(int error_number) {
  if (error_number == 0) return "0";
  const char* text = strerrordesc_np(error_number);
  return ErrnoName(error_number) + (text != nullptr ? std::string(" (") + text + ")" : "");
}

}  // namespace landgate::ctl
