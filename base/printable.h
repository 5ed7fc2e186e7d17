// Text that containers choose (paths, names, annotations), made fit for a terminal and for a line
// of a log.
#ifndef LANDGATE_BASE_PRINTABLE_H_
#define LANDGATE_BASE_PRINTABLE_H_

#include <string>
#include <string_view>

namespace landgate {

// UTF-8 stays as it is. Bytes as \xNN: control characters (C0, DEL, and the C1 ones, which
// terminals obey too), what is no UTF-8, line and paragraph separators, and what turns the
// direction of writing. Newlines too, so that a value stays on its line.
std::string Printable(std::string_view text);

}  // namespace landgate

#endif  // LANDGATE_BASE_PRINTABLE_H_
