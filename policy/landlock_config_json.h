// LandlockConfig, the Landlock maintainers' JSON format (https://landlock.io, landlockconfig):
// `abi`, `variable`, `ruleset`, `pathBeneath`, `netPort`. Pure; thread-safe.
//
// Differences to the reference: a relative parent, and a variable that is not defined, are errors.
#ifndef LANDGATE_POLICY_LANDLOCK_CONFIG_JSON_H_
#define LANDGATE_POLICY_LANDLOCK_CONFIG_JSON_H_

#include "base/result.h"
#include "policy/document.h"
#include "policy/json_reader.h"

namespace landgate::policy {

Result<LandlockConfig> DecodeLandlockConfig(const JsonCursor& document);

// The reference's composition of two documents into one layer: handled and scoped intersect, rules
// unite masked by the result, abi takes the minimum (0 = not given).
LandlockConfig ComposeLandlockConfigs(const LandlockConfig& a, const LandlockConfig& b);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_LANDLOCK_CONFIG_JSON_H_
