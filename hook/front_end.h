// What every front end (precreate, inject, landgate-runtime) and the verification in prestart have
// in common: configuration → policies → what must stand in config.json.
//
// The same input gives the same patch, whoever asks: prestart calls this again for the config.json
// that a runtime is about to start and refuses unless nothing would change.
#ifndef LANDGATE_HOOK_FRONT_END_H_
#define LANDGATE_HOOK_FRONT_END_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "node/config.h"
#include "oci-specs/config_patch.h"
#include "policy/document.h"
#include "sandbox/compile.h"

namespace landgate::hook {

enum class FrontEnd {
  kPrecreate,  // podman's hook: exec sessions are refused by a listener that precreate serves
  kInject,     // a bundle for plain runc: likewise, served by prestart (runc connects after it)
  kRuntime,    // landgate-runtime, which sees exec sessions itself
};
std::string_view FrontEndName(FrontEnd front_end);  // "precreate", "inject", "runtime"
std::optional<FrontEnd> FrontEndByName(std::string_view name);

struct Request {
  FrontEnd front_end = FrontEnd::kInject;
  std::string forced_policy;  // landgate-runtime's --landgate-policy; else empty
  std::string bundle;         // absolute and resolved; empty for kPrecreate, which is not told it
};

struct Prepared {
  std::vector<policy::Policy> policies;  // empty: the container is none of ours
  sandbox::StaticFloor floor;
  oci::ConfigView view;
  oci::Patched patched;     // `text` is the input's where there are no policies
  std::string exec_socket;  // of the listener that refuses exec sessions; empty: none
};

// Refused besides everything that policies and patch refuse: a config.json that carries our patch
// while no policy is selected any more (it would start without a floor, or not at all).
Result<Prepared> Prepare(const node::Config& config, const Request& request, std::string_view text,
                         std::string_view file);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_FRONT_END_H_
