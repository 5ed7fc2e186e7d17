#include "hook/poststop.h"

#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "hook/record.h"
#include "node/registration.h"
#include "oci-specs/state.h"

namespace landgate::hook {
namespace {

constexpr std::chrono::milliseconds kPatience{1000};  // engines wait for this hook

}  // namespace

Status Poststop(const node::Config& config, std::string_view state_json) {
  Result<oci::State> state = oci::DecodeState(state_json, "state");
  if (!state) return Forward(state);
  // A record that can't be read is of no use to anybody and goes with the rest.
  const Result<std::optional<Record>> record = ReadRecord(config.run_dir, state->id);
  Status unregistered;
  if (record && *record) {
    const std::unique_ptr<char, void (*)(void*)> bundle(realpath(state->bundle.c_str(), nullptr),
                                                        free);
    if (bundle && (*record)->bundle != bundle.get()) return {};
    // A start that failed because of a running container of this id, under another `--root`.
    if (IsAlive(**record)) return {};
    if (!(*record)->exec_socket.empty()) {
      (void)unlink((*record)->exec_socket.c_str());  // usually gone: its daemon removes it
    }
    if (!(*record)->agent_socket.empty()) {
      unregistered = node::UnregisterFromAgent((*record)->agent_socket, state->id, kPatience);
    }
  }
  if (Status ok = RemoveContainer(config.run_dir, state->id); !ok) return ok;
  // One that does not answer sees by itself that the container has ended.
  if (!unregistered && unregistered.error().status == ExitStatus::kImpossible) return {};
  return unregistered;
}

}  // namespace landgate::hook
