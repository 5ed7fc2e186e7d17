// What a mount takes away, and which mount leaves exactly what a policy wants.
//
// Landlock's rules only add: beneath a rule nothing can be taken back. Where a deny lies beneath an
// allow, mounts have to take the excess. Pure; thread-safe.
#ifndef LANDGATE_SANDBOX_RIGHTS_ALGEBRA_H_
#define LANDGATE_SANDBOX_RIGHTS_ALGEBRA_H_

#include <optional>
#include <string>

#include "policy/rights.h"

namespace landgate::sandbox {

enum class ObjectType { kDirectory, kRegular, kDevice, kFifo, kSocket };

// The state of the mount on which an object is reached.
struct Restriction {
  bool masked = false;  // another object stands in its place
  bool read_only = false;
  bool noexec = false;
  bool nodev = false;
  bool operator==(const Restriction&) const = default;
};
std::string Describe(const Restriction& restriction);  // "masked", "read-only,noexec", "nothing"

// The rights that can mean anything for an object of this type. For a directory: everything,
// because rights on a directory hold for what lies beneath it.
policy::Rights RelevantRights(ObjectType type);

// The rights that the mount takes away.
//   read-only: write, create, remove, refer, and making devices
//   noexec:    execute
//   nodev:     ioctl on devices (they can't be opened)
//   masked:    all
// A read-only mount does not stop writing to a device node, a FIFO or a socket.
policy::Rights Taken(ObjectType type, const Restriction& restriction);

// The weakest mount under which, of the rights that the Landlock rules grant, exactly those that
// are not `denied` are left; `current` where it does already. Two losses are accepted, because they
// can't be had otherwise: read-only takes the making of devices, nodev takes devices. Nothing: no
// mount can hold this; the caller refuses.
std::optional<Restriction> Choose(ObjectType type, policy::Rights granted, policy::Rights denied,
                                  const Restriction& current);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_RIGHTS_ALGEBRA_H_
