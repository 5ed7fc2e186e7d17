// A merged policy from one program to another: the document of version 1, and beside it what no
// document holds: which file and place every rule came from (for Decision::rule), and which rules
// are the node's `protected` list. DecodeMerged(EncodeMerged(p)) == p. Pure; thread-safe.
//
//   {"name": "web", "file": "/etc/landgate/policies/web.json",
//    "document": {"landgate": 1, …},
//    "emulate": [{"mount": {…}}, …],        what one document can't hold beside each other
//    "protected": [3],                      rules of document.paths, by number
//    "origins": {"files": ["/etc/…"],       an origin is [number of the file, JSON pointer]
//                "keys": {"paths": [0, "/paths"]}, "paths": […], "network": […],
//                "landlock": […], "capabilities": […]}}
#ifndef LANDGATE_POLICY_MERGED_JSON_H_
#define LANDGATE_POLICY_MERGED_JSON_H_

#include "base/result.h"
#include "policy/document.h"
#include "policy/json_reader.h"

namespace landgate::policy {

Json EncodeMerged(const Policy& policy);
// Strict, as every decoder: unknown keys and origins that fit no rule are refused.
Result<Policy> DecodeMerged(const JsonCursor& at);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_MERGED_JSON_H_
