// What a system call asks of the file system: places by name, and what is done at each.
//
// Reading copies the caller's memory once (memory.h) and checks what the kernel checks before it
// looks at any file: a call that it would refuse by itself comes back as that errno. Which rights
// are needed at a place depends on what is found there (RightsAt), exactly as Landlock asks for
// them (security/landlock/fs.c, Linux 6.15): a directory that is opened needs read_dir and a file
// read_file, what is renamed needs make_* of its type where it goes.
//
//   open    access mode → read, write; O_TRUNC → truncate, even with O_RDONLY; access mode 3, which
//           the kernel checks as both and then opens as neither → both; O_PATH → nothing;
//           O_CREAT → make_reg where nothing is there; O_TMPFILE → read, write of the directory
//   execve  execute and read_file
//   rename  remove_* where it was, make_* where it goes, remove_* of what is replaced; both names
//   of
//           an exchange need all; between directories refer at both
//   link    make_* at the new name; between directories refer at both
//
// Everything but ReadPathRequest is pure. Thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_PATH_REQUEST_H_
#define LANDGATE_AGENT_HANDLERS_PATH_REQUEST_H_

#include <limits.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <tl/expected.hpp>

#include "agent/handlers/calls.h"
#include "policy/rights.h"

namespace landgate::agent {

// What is done at one place.
enum class Deed : uint8_t {
  kNothing,      // O_PATH, or the call fails whatever is there
  kUse,          // what is there is opened, executed or truncated
  kUseOrMake,    // and made as a regular file where nothing is there
  kUseNameless,  // O_TMPFILE: a file without a name, in the directory that is named
  kMake,         // a name that must not be there yet
  kRemoveFile,   // whatever is no directory
  kRemoveDirectory,
  kMoveAway,  // rename: the first name; kMoveHere is the second
  kMoveHere,
  kSwap,      // RENAME_EXCHANGE: both
  kLinkFrom,  // link: the first name; kLinkTo is the second
  kLinkTo,
};

struct Place {
  int dirfd = -100;  // AT_FDCWD
  std::string_view path;
  bool follow = true;           // a symlink in the last place
  bool empty_is_dirfd = false;  // AT_EMPTY_PATH: "" is the descriptor itself
  uint64_t resolve = 0;         // RESOLVE_* of openat2
  Deed deed = Deed::kNothing;
  // Of what is there: of read_file and read_dir the one that fits its type is meant.
  policy::Rights object = 0;
  policy::Rights make = 0;  // make_* of what is made, where the call alone says it

  bool absolute() const { return path.starts_with('/'); }
};

struct PathRequest {
  std::array<Place, 2> places;
  size_t count = 0;
  std::span<const Place> all() const { return {places.data(), count}; }
};

// Where the strings of a request stand.
struct PathBuffers {
  std::array<char, PATH_MAX> first, second;
};

// `call` is of category path or exec. An error is the errno that the kernel gives by itself, or
// the one of a memory fault (memory.h). Reads memory: Call::MaySlow first.
tl::expected<PathRequest, int> ReadPathRequest(const CallInfo& call,
                                               const struct seccomp_notif& notification,
                                               PathBuffers& buffers);

// open(2) ignores flags that it does not know; openat2(2) refuses them. Fills deed, object, make,
// follow and resolve of `place`.
void DecodeOpenFlags(uint64_t flags, Place& place);
tl::expected<void, int> DecodeOpenHow(const struct open_how& how, Place& place);
// As copy_struct_from_user does it: `bytes` is what the caller has, of `size` bytes in all.
// EINVAL: shorter than version 0. E2BIG: longer than a page, or something unknown is set in it.
tl::expected<struct open_how, int> CopyOpenHow(std::span<const std::byte> bytes);

// What is found at a place. `type` is S_IFMT of what is there, 0 where nothing is.
struct Found {
  mode_t type = 0;
  bool exists() const { return type != 0; }
};
struct Needed {
  policy::Rights object = 0;  // asked of the object that the path leads to
  policy::Rights name = 0;    // asked of the name itself: make_*, remove_*, refer
  bool none() const { return object == 0 && name == 0; }
};
// `other` is what is at the other place of a rename or link; `same_directory`: both names are in
// one. Nothing is needed where the call fails for another reason (ENOENT, EEXIST).
Needed RightsAt(const Place& place, Found here, Found other, bool same_directory);

// make_* for S_IFMT of a mode.
policy::Rights MakeRight(mode_t type);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_PATH_REQUEST_H_
