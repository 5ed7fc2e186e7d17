// A decoded policy as a document of version 1 again: what it prints can be fed to the decoder, and
// decodes to the same values, but for origins and marks that no document can hold (merged_json.h
// carries those). Pure; thread-safe.
#ifndef LANDGATE_POLICY_DOCUMENT_ENCODE_H_
#define LANDGATE_POLICY_DOCUMENT_ENCODE_H_

#include "policy/document.h"
#include "policy/json_reader.h"

namespace landgate::policy {

// Of several emulations of one system call, which only a merged policy can have, the first alone.
Json EncodePolicy(const Policy& policy);

// One entry of `paths` or `network`, and of `capabilities.emulate`, as EncodePolicy writes it.
Json EncodePathRule(const PathRule& rule);
Json EncodeNetworkRule(const NetworkRule& rule);
Json EncodeEmulation(const Emulation& emulation);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DOCUMENT_ENCODE_H_
