// The containers that this agent serves, and their listeners.
//
// A container is here from its registration until both are true: it ended (its process has, or its
// poststop hook said so) and no listener of it is left; so processes that outlive their container's
// first one go on being served. Everything is in the holder before it is here.
//
// Changes come from the main loop only; Inventory's calls are thread-safe.
#ifndef LANDGATE_AGENT_SERVER_REGISTRY_H_
#define LANDGATE_AGENT_SERVER_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/container.h"
#include "agent/control/inventory.h"
#include "agent/handlers/handlers.h"
#include "agent/notify/listener.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class Registry : public Inventory {
 public:
  struct Callbacks {
    std::function<void(const Container&)> added;    // from now on its process is to be watched
    std::function<void(const Container&)> removed;  // and from now on no more
  };
  // `services` outlive the registry; all but metrics must be there.
  Registry(const Services& services, Callbacks callbacks);

  // Registering the same container again changes nothing and is no error. Refused: an id whose
  // process lives. One whose process has ended is replaced.
  Status Register(node::Registration registration, UniqueFd process, UniqueFd mount_namespace);
  // A predecessor's, under its key.
  Status Restore(uint64_t key, BorrowedFd registration, UniqueFd process, UniqueFd mount_namespace);
  void Unregister(const std::string& id);
  void ProcessEnded(uint64_t key);

  ContainerPtr ById(const std::string& id) const;  // null: not registered
  ContainerPtr ByKey(uint64_t key) const;
  ContainerPtr ByProcess(pid_t pid) const;  // whose first process has that number, and lives

  // Room for one more listener of that container?
  bool MayAttach(uint64_t container) const;
  void Attach(std::shared_ptr<Listener> listener, ListenerKind kind);
  // Of one that has ended; what it counted is added to its container.
  void Detach(uint64_t listener);
  size_t listeners() const;
  size_t containers() const;

  std::vector<ContainerSnapshot> Containers() const override;
  std::optional<ContainerSnapshot> Find(const std::string& id) const override;

 private:
  struct Attached {
    std::shared_ptr<Listener> listener;
    ListenerKind kind;
  };
  struct Entry {
    ContainerPtr container;
    std::map<uint64_t, Attached> listeners;
    bool ended = false;
  };

  void Add(ContainerPtr container);
  void End(uint64_t key);
  void CollectIfOver(uint64_t key);
  ContainerSnapshot SnapshotOf(const Entry& entry) const;
  void Report(AuditEvent event, const Container& container) const;

  const Services services_;
  const Callbacks callbacks_;
  mutable std::mutex mutex_;          // of what follows; the main loop is the only writer
  std::map<uint64_t, Entry> by_key_;  // keys grow, so this is the order of registration
  std::map<std::string, uint64_t> by_id_;
  std::map<uint64_t, uint64_t> container_of_;  // listener → container
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_REGISTRY_H_
