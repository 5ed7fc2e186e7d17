#include "agent/server/registry.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "agent/holder/holder_client.h"
#include "agent/limits.h"
#include "agent/server/message.h"
#include "base/files.h"

namespace landgate::agent {
namespace {

Result<UniqueFd> ToMemory(std::string_view text) {
  UniqueFd memfd(memfd_create("landgate-container", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd.valid()) return SystemError("memfd_create", errno);
  if (Status written = WriteAll(memfd, text); !written) return Forward(written);
  if (fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
      0) {
    return SystemError("F_ADD_SEALS", errno);
  }
  return memfd;
}

// From the beginning, whatever offset the shared description has.
Result<std::string> FromMemory(BorrowedFd memfd) {
  struct stat st;
  if (fstat(memfd.get(), &st) != 0) return SystemError("fstat", errno);
  if (st.st_size < 0 || static_cast<size_t>(st.st_size) > kMaxDocumentBytes) {
    return Refuse("a kept registration has no sensible size");
  }
  std::string text(static_cast<size_t>(st.st_size), '\0');
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t got =
        pread(memfd.get(), text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return SystemError("pread of a kept registration", got == 0 ? EIO : errno);
    at += static_cast<size_t>(got);
  }
  return text;
}

bool SameContainer(const node::Registration& one, const node::Registration& other) {
  return one.pid == other.pid && one.start_time == other.start_time && one.bundle == other.bundle;
}

}  // namespace

Registry::Registry(const Services& services, Callbacks callbacks)
    : services_(services), callbacks_(std::move(callbacks)) {}

void Registry::Report(AuditEvent event, const Container& container) const {
  AuditRecord record;
  record.event = event;
  record.container = container.id();
  record.pod = container.registration.pod;
  record.pid = container.registration.pid;
  services_.audit->Write(std::move(record));
}

Status Registry::Register(node::Registration registration, UniqueFd process,
                          UniqueFd mount_namespace) {
  if (const ContainerPtr known = ById(registration.id)) {
    const bool alive = !HasEnded(known->process);
    if (alive && SameContainer(known->registration, registration)) return {};
    if (alive) {
      return Refuse("container " + registration.id +
                    ": another container of this id is registered, and its process " +
                    std::to_string(known->registration.pid) + " is alive");
    }
    End(known->key);
  }
  if (containers() >= kMaxContainers) {
    return Refuse("container " + registration.id + ": " + std::to_string(kMaxContainers) +
                  " containers are registered, which is the most this agent serves");
  }
  Result<UniqueFd> memory = ToMemory(node::EncodeRegistration(registration));
  if (!memory) return Context("container " + registration.id, memory);
  auto container = std::make_shared<Container>(std::move(registration));
  container->key = services_.area->NextKey();
  container->process = std::move(process);
  container->mount_namespace = std::move(mount_namespace);
  // The registration last: a successor takes no notice of the other two without it.
  const std::string& id = container->id();
  for (const auto& [kind, fd] :
       {std::pair(Kept::kProcess, BorrowedFd(container->process)),
        std::pair(Kept::kMountNamespace, BorrowedFd(container->mount_namespace)),
        std::pair(Kept::kContainer, BorrowedFd(*memory))}) {
    if (Status kept = services_.holder->Keep(kind, container->key, id, fd); !kept) {
      services_.holder->Drop(Kept::kProcess, container->key);
      services_.holder->Drop(Kept::kMountNamespace, container->key);
      return Context("container " + id + ": holder", kept);
    }
  }
  Report(AuditEvent::kContainerStarted, *container);
  Add(std::move(container));
  return {};
}

Status Registry::Restore(uint64_t key, BorrowedFd registration, UniqueFd process,
                         UniqueFd mount_namespace) {
  Result<std::string> text = FromMemory(registration);
  if (!text) return Forward(text);
  Result<node::Registration> decoded = node::DecodeRegistration(*text);
  if (!decoded) return Forward(decoded);
  if (!process.valid() || !mount_namespace.valid()) {
    return Refuse("container " + decoded->id + ": its process or mount namespace was not kept");
  }
  auto container = std::make_shared<Container>(std::move(*decoded));
  container->key = key;
  container->process = std::move(process);
  container->mount_namespace = std::move(mount_namespace);
  Add(std::move(container));
  return {};
}

void Registry::Add(ContainerPtr container) {
  {
    const std::lock_guard lock(mutex_);
    by_id_[container->id()] = container->key;
    by_key_[container->key].container = container;
  }
  callbacks_.added(*container);
}

void Registry::Unregister(const std::string& id) {
  if (const ContainerPtr container = ById(id)) End(container->key);
}

void Registry::ProcessEnded(uint64_t key) { End(key); }

// Its id is free again; what still runs of it is served on.
void Registry::End(uint64_t key) {
  {
    const std::lock_guard lock(mutex_);
    const auto entry = by_key_.find(key);
    if (entry == by_key_.end()) return;
    entry->second.ended = true;
  }
  CollectIfOver(key);
}

void Registry::CollectIfOver(uint64_t key) {
  ContainerPtr container;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = by_key_.find(key);
    if (entry == by_key_.end() || !entry->second.ended || !entry->second.listeners.empty()) return;
    container = entry->second.container;
    const auto id = by_id_.find(container->id());
    if (id != by_id_.end() && id->second == key) by_id_.erase(id);
    by_key_.erase(entry);
  }
  callbacks_.removed(*container);
  services_.holder->Drop(Kept::kContainer, key);
  services_.holder->Drop(Kept::kProcess, key);
  services_.holder->Drop(Kept::kMountNamespace, key);
  Report(AuditEvent::kContainerEnded, *container);
}

ContainerPtr Registry::ById(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto key = by_id_.find(id);
  return key == by_id_.end() ? nullptr : by_key_.at(key->second).container;
}

ContainerPtr Registry::ByKey(uint64_t key) const {
  const std::lock_guard lock(mutex_);
  const auto entry = by_key_.find(key);
  return entry == by_key_.end() ? nullptr : entry->second.container;
}

ContainerPtr Registry::ByProcess(pid_t pid) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : by_key_) {
    if (entry.container->registration.pid == pid && !entry.ended) return entry.container;
  }
  return nullptr;
}

bool Registry::MayAttach(uint64_t container) const {
  const std::lock_guard lock(mutex_);
  const auto entry = by_key_.find(container);
  return entry != by_key_.end() && entry->second.listeners.size() < kMaxListenersPerContainer;
}

void Registry::Attach(std::shared_ptr<Listener> listener, ListenerKind kind) {
  Container& container = listener->container();
  container.listeners.fetch_add(1);
  if (kind == ListenerKind::kMain) container.main_listener_seen.store(true);
  const std::lock_guard lock(mutex_);
  container_of_[listener->key()] = container.key;
  const uint64_t key = listener->key();
  by_key_[container.key].listeners.emplace(key, Attached{std::move(listener), kind});
}

void Registry::Detach(uint64_t listener) {
  std::shared_ptr<Listener> last;  // let go of without the lock: its threads are waited for
  uint64_t container = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto owner = container_of_.find(listener);
    if (owner == container_of_.end()) return;
    container = owner->second;
    Entry& entry = by_key_.at(container);
    const auto attached = entry.listeners.find(listener);
    last = std::move(attached->second.listener);
    entry.listeners.erase(attached);
    container_of_.erase(owner);
    // In one step, so that nobody counts them twice or not at all.
    last->container().denied.fetch_add(last->region().denied.load());
    last->container().asked.fetch_add(last->region().asked.load());
  }
  last->container().listeners.fetch_sub(1);
  last.reset();
  CollectIfOver(container);
}

size_t Registry::listeners() const {
  const std::lock_guard lock(mutex_);
  return container_of_.size();
}

size_t Registry::containers() const {
  const std::lock_guard lock(mutex_);
  return by_key_.size();
}

ContainerSnapshot Registry::SnapshotOf(const Entry& entry) const {
  ContainerSnapshot snapshot;
  snapshot.container = entry.container;
  snapshot.denied = entry.container->denied.load();
  snapshot.asked = entry.container->asked.load();
  for (const auto& [key, attached] : entry.listeners) {
    const Region& region = attached.listener->region();
    snapshot.denied += region.denied.load();
    snapshot.asked += region.asked.load();
    snapshot.listeners.push_back({.key = key,
                                  .main = attached.kind == ListenerKind::kMain,
                                  .phase = static_cast<Phase>(region.phase.load()),
                                  .process = region.process.load()});
  }
  return snapshot;
}

std::vector<ContainerSnapshot> Registry::Containers() const {
  const std::lock_guard lock(mutex_);
  std::vector<ContainerSnapshot> all;
  all.reserve(by_key_.size());
  for (const auto& [key, entry] : by_key_) all.push_back(SnapshotOf(entry));
  return all;
}

std::optional<ContainerSnapshot> Registry::Find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto key = by_id_.find(id);
  if (key == by_id_.end()) return std::nullopt;
  return SnapshotOf(by_key_.at(key->second));
}

}  // namespace landgate::agent
