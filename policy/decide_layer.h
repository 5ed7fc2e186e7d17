// What a LandlockConfig layer of a policy denies by itself, beyond the policy's own rules. Rule
// paths are compared as text: resolved by the caller, or as written. Pure; thread-safe.
#ifndef LANDGATE_POLICY_DECIDE_LAYER_H_
#define LANDGATE_POLICY_DECIDE_LAYER_H_

#include <cstdint>
#include <string_view>

#include "policy/document.h"
#include "policy/rights.h"

namespace landgate::policy {

// Rights of `asked` that the layer handles and no rule of it grants.
Rights DeniedByLayer(const LandlockConfig& layer, std::string_view path, Rights asked);
// `right` is one of LANDLOCK_ACCESS_NET_*.
bool LayerDeniesPort(const LandlockConfig& layer, uint64_t right, uint16_t port);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DECIDE_LAYER_H_
