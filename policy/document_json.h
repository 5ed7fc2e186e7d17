// The policy as JSON text: strict decoding. Every error names file and JSON pointer and says what
// would be right. Pure; thread-safe.
#ifndef LANDGATE_POLICY_DOCUMENT_JSON_H_
#define LANDGATE_POLICY_DOCUMENT_JSON_H_

#include <string_view>

#include "base/result.h"
#include "policy/document.h"
#include "policy/json_reader.h"

namespace landgate::policy {

// `name` is the policy's name, `file` the place for messages.
Result<Policy> DecodePolicy(std::string_view text, std::string_view name, std::string_view file);

// The same of a document within another; its file and pointer become the policy's origins.
Result<Policy> DecodePolicy(const JsonCursor& root, std::string_view name);

// An inline policy from an annotation: it may only take away. Refused in it: emulate, ask,
// execSessions unconfined, compatibility, extends, approval, selfRestrict.
Result<Policy> DecodeInlinePolicy(std::string_view text, std::string_view annotation);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DOCUMENT_JSON_H_
