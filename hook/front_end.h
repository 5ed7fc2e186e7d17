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
#include "oci-specs/annotations.h"
#include "oci-specs/config_patch.h"
#include "policy/document.h"
#include "sandbox/compile.h"

namespace landgate::hook {

enum class FrontEnd {
  kPrecreate,  // podman's hook
  kInject,     // a bundle for plain runc
  kRuntime,    // landgate-runtime, which sees exec sessions itself
  kPrestart,   // nobody patched it: the prestart hook is all there is (pure_prestart.h)
};
// "precreate", "inject", "runtime", "prestart"
std::string_view FrontEndName(FrontEnd front_end);
std::optional<FrontEnd> FrontEndByName(std::string_view name);

// The seccomp listener that config.json asks the runtime for. listenerPath tells which.
enum class ListenerVariant {
  kNone,
  kRefusal,  // refuses exec sessions: one connection is accepted, of the container's first process.
             // Served by precreate, or by prestart where runc connects after it (inject)
  kAgent,    // landgate-agent's: turns exec sessions to the launcher, or watches (audit mode)
};
std::string_view ListenerVariantName(ListenerVariant variant);  // "none", "refusal", "agent"

struct Request {
  FrontEnd front_end = FrontEnd::kInject;
  std::string forced_policy;  // landgate-runtime's --landgate-policy; else empty
  std::string bundle;         // absolute and resolved; empty for kPrecreate, which is not told it
  // Of prestart: the listener stays what it is, as far as the policies and the configuration allow
  // it, and no agent is asked for.
  bool verify = false;
};

struct Prepared {
  std::vector<policy::Policy> policies;  // empty: the container is none of ours
  oci::Mode mode = oci::Mode::kEnforce;  // or kAudit, which has no floor
  sandbox::StaticFloor floor;
  oci::ConfigView view;
  oci::Patched patched;  // `text` is the input's where there are no policies
  ListenerVariant listener = ListenerVariant::kNone;
  std::string exec_socket;  // of ListenerVariant::kRefusal; else empty
  bool pure = false;        // FrontEnd::kPrestart: the patch is not to be made

  // Without an agent that takes it the container must not start.
  bool NeedsAgent(const node::Config& config) const {
    return config.require_agent || mode == oci::Mode::kAudit || pure ||
           listener == ListenerVariant::kAgent;
  }
};

// Refused besides everything that policies and patch refuse: a config.json that carries our patch
// while no policy is selected any more (it would start without a floor, or not at all).
// Impossible: an agent is needed (audit mode, requireAgent) and none answers. One is asked for, by
// one connect(2), where it makes a difference: those two, and hook front ends whose exec sessions
// it could confine.
Result<Prepared> Prepare(const node::Config& config, const Request& request, std::string_view text,
                         std::string_view file);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_FRONT_END_H_
