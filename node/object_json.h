// sandbox::ObjectId in JSON, as records and registrations write it:
// {"major": 8, "minor": 1, "inode": 42}. Pure; thread-safe.
#ifndef LANDGATE_NODE_OBJECT_JSON_H_
#define LANDGATE_NODE_OBJECT_JSON_H_

#include "base/result.h"
#include "policy/json_reader.h"
#include "sandbox/plan.h"

namespace landgate::node {

policy::Json EncodeObject(const sandbox::ObjectId& object);
Result<sandbox::ObjectId> DecodeObject(const policy::JsonCursor& at);

}  // namespace landgate::node

#endif  // LANDGATE_NODE_OBJECT_JSON_H_
