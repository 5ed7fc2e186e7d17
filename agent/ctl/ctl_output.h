// How landgatectl speaks: text for people, JSON for programs, one line for an error.
//
// Text that comes from files or from other programs is made printable first: a policy's description
// must not be able to send escape sequences to the administrator's terminal. Colour only on
// terminals, and never with NO_COLOR (https://no-color.org) or TERM=dumb.
#ifndef LANDGATE_AGENT_CTL_CTL_OUTPUT_H_
#define LANDGATE_AGENT_CTL_CTL_OUTPUT_H_

#include <string>
#include <string_view>

#include "base/result.h"
#include "policy/json_reader.h"

namespace landgate::ctl {

using policy::Json;

enum class Colour { kNone, kGreen, kRed, kYellow, kBold };

// `text` in `colour` where `fd` is a terminal that wants colour, else `text` itself.
std::string Coloured(int fd, Colour colour, std::string_view text);

// To stdout. What can't be written is found by FinishOutput.
void Print(std::string_view text);
void PrintJson(const Json& value);

// "landgatectl: MESSAGE" on stderr. Returns the exit status.
int PrintError(const Error& error);

// Flushes stdout. An output that could not be written (a full disk, /dev/full) turns a success into
// a failure, because a script that reads it would go on with half an answer.
int FinishOutput(int exit_status);

// "EACCES (Permission denied)"; "0" for 0.
std::string ErrnoText(int error_number);
// "EACCES"; the number where it has no name.
std::string ErrnoName(int error_number);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_OUTPUT_H_
