// LandlockConfig, the Landlock maintainers' JSON format (https://landlock.io, landlockconfig):
// `abi`, `variable`, `ruleset`, `pathBeneath`, `netPort`. Pure; thread-safe.
//
// Access names are the kernel's in lower case. The groups need `abi`: `abi.all` is every right of
// that ABI, `abi.read_execute` reading, execution and refer, `abi.read_write` all but execution; an
// ABI above those known here means the newest known. `${name}` in `parent` stands for every literal
// of the variable, `$$` for a dollar; a path named several times has the union of the rights.
//
// Differences to the reference: a relative parent, one with "..", more than 10,000 paths, and a
// port above 65535 are errors here already.
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
