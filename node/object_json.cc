#include "node/object_json.h"

#include <limits>
#include <string>

namespace landgate::node {

policy::Json EncodeObject(const sandbox::ObjectId& object) {
  return {{"major", object.dev_major}, {"minor", object.dev_minor}, {"inode", object.inode}};
}

Result<sandbox::ObjectId> DecodeObject(const policy::JsonCursor& at) {
  if (Status ok = at.Only({"major", "minor", "inode"}); !ok) return Forward(ok);
  for (const std::string_view key : {"major", "minor", "inode"}) {
    if (!at.Has(key)) return at.Fail("`" + std::string(key) + "` is missing");
  }
  Result<int64_t> major = at.At("major").Integer(0, std::numeric_limits<uint32_t>::max());
  if (!major) return Forward(major);
  Result<int64_t> minor = at.At("minor").Integer(0, std::numeric_limits<uint32_t>::max());
  if (!minor) return Forward(minor);
  Result<uint64_t> inode = at.At("inode").Unsigned();
  if (!inode) return Forward(inode);
  return sandbox::ObjectId{static_cast<uint32_t>(*major), static_cast<uint32_t>(*minor), *inode};
}

}  // namespace landgate::node
