#include "agent/server/listeners.h"

#include <set>
#include <utility>

#include "agent/limits.h"
#include "agent/log.h"

namespace landgate::agent {
namespace {

// What runc and crun say of a container whose first process they are starting.
bool IsStarting(const std::string& status) { return status == "creating" || status == "created"; }

Handler HandlerFor(const Services& services, const ContainerPtr& container, ListenerOrigin origin) {
  switch (container->registration.mode) {
    case oci::Mode::kEnforce:
      return MakeExecHandler(services, container, std::move(origin));
    case oci::Mode::kAudit:
      return MakeAuditHandler(services, container, std::move(origin));
    case oci::Mode::kLearn:
      break;
  }
  return MakeRefusingHandler();
}

}  // namespace

// So that a listener of a container that nobody registered has one.
ContainerPtr Listeners::Nobody(const std::string& id) const {
  node::Registration registration;
  registration.id = id;
  return std::make_shared<Container>(std::move(registration));
}

Status Listeners::Admit(ListenerMessage message, uint64_t connection) {
  const oci::State& state = message.process.state;
  const ContainerPtr container = registry_.ById(state.id);
  if (!container) {
    const std::string why = "container " + state.id + " is not registered: its calls answer ENOSYS";
    log_.warn("seccomp listener: {}", why);
    AuditRecord record;
    record.event = AuditEvent::kListenerRefused;
    record.container = state.id;
    record.pid = message.process.pid;
    record.message = why;
    services_.audit->Write(std::move(record));
    if (foreign_.size() >= kMaxForeignListeners) return {};  // closed, which answers the same
  } else if (!registry_.MayAttach(container->key)) {
    return Refuse("container " + state.id + ": more than " +
                  std::to_string(kMaxListenersPerContainer) + " listeners");
  }
  const uint64_t key = services_.area->NextKey();
  const std::optional<uint32_t> region = services_.area->Allocate(key);
  if (!region) {
    return Refuse("container " + state.id + ": " + std::to_string(kMaxListeners) +
                  " listeners are served, which is the most, or memory is short");
  }
  ListenerBlob blob{.region = *region,
                    .container = container ? container->key : 0,
                    .connection = connection,
                    .kind = ListenerKind::kSession,
                    .process = message.process.pid,
                    .id = state.id};
  if (container && !container->main_listener_seen.load() && IsStarting(state.status)) {
    blob.kind = ListenerKind::kMain;
  }
  if (Status kept =
          services_.holder->Keep(Kept::kListener, key, EncodeListenerBlob(blob), message.listener);
      !kept) {
    services_.area->Free(*region);
    return Context("container " + state.id + ": holder", kept);
  }
  return Start(blob, key, std::move(message.listener), UniqueFd());
}

Status Listeners::Restore(KeptObject kept, UniqueFd session) {
  const uint64_t key = kept.key;
  Result<ListenerBlob> blob = DecodeListenerBlob(kept.blob);
  if (!blob) {
    Forget(key);
    return Forward(blob);
  }
  if (!services_.area->InUse(blob->region) || services_.area->At(blob->region).listener != key) {
    Forget(key);
    return Refuse("container " + blob->id + ": a listener of it has no memory of what it was at");
  }
  return Start(*blob, key, std::move(kept.fd), std::move(session));
}

Status Listeners::Start(const ListenerBlob& blob, uint64_t key, UniqueFd fd, UniqueFd session) {
  ContainerPtr container = blob.container == 0 ? nullptr : registry_.ByKey(blob.container);
  const bool known = container != nullptr;
  if (!known) container = Nobody(blob.id);
  Handler handler = known ? HandlerFor(services_, container,
                                       {.kind = blob.kind,
                                        .process = blob.process,
                                        .session = std::move(session),
                                        .region = &services_.area->At(blob.region)})
                          : MakeRefusingHandler();
  // From a thread of the listener's, which must not be the one that ends the listener.
  const auto ended = [this](Listener& listener) {
    loop_.Post(
        [this, key = listener.key(), region = listener.region_index()] { Ended(key, region); });
  };
  Result<std::shared_ptr<Listener>> listener = Listener::Start(
      services_, std::move(fd), blob.region, std::move(container), std::move(handler), ended);
  if (!listener) {
    Forget(key);
    services_.area->Free(blob.region);
    return Context("container " + blob.id, listener);
  }
  regions_[blob.region] = key;
  if (known) {
    registry_.Attach(std::move(*listener), blob.kind);
  } else {
    foreign_.emplace(key, std::move(*listener));
  }
  return {};
}

void Listeners::Forget(uint64_t key) {
  services_.holder->Drop(Kept::kSession, key);
  services_.holder->Drop(Kept::kListener, key);
}

void Listeners::Ended(uint64_t key, uint32_t region) {
  foreign_.erase(key);
  registry_.Detach(key);
  // The region last: while the holder has the listener its region is nobody else's.
  Forget(key);
  regions_.erase(region);
  services_.area->Free(region);
}

void Listeners::FreeUnusedRegions() {
  std::set<uint32_t> used;
  for (const auto& [region, listener] : regions_) used.insert(region);
  services_.area->FreeAllBut(used);
}

}  // namespace landgate::agent
