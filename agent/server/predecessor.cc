#include "agent/server/predecessor.h"

#include <algorithm>
#include <set>

#include "agent/holder/holder_message.h"
#include "agent/server/listener_blob.h"

namespace landgate::agent {
namespace {

void Place(KeptObject object, Predecessor* sorted) {
  switch (object.kind) {
    case Kept::kArea:
      sorted->area = std::move(object.fd);
      return;
    case Kept::kSocket:
      sorted->sockets.push_back(std::move(object));
      return;
    case Kept::kConnection:
      sorted->connections[object.key].socket = std::move(object.fd);
      if (const Result<uint64_t> socket = DecodeSocketKey(object.blob)) {
        sorted->connections[object.key].accepted_on = *socket;
      }
      return;
    case Kept::kPartial:
      sorted->connections[object.key].spool = std::move(object.fd);
      return;
    case Kept::kContainer:
      sorted->containers[object.key].id = std::move(object.blob);
      sorted->containers[object.key].registration = std::move(object.fd);
      return;
    case Kept::kProcess:
      sorted->containers[object.key].process = std::move(object.fd);
      return;
    case Kept::kMountNamespace:
      sorted->containers[object.key].mount_namespace = std::move(object.fd);
      return;
    case Kept::kListener:
      sorted->listeners.push_back(std::move(object));
      return;
    case Kept::kSession:
      sorted->sessions[object.key] = std::move(object.fd);
      return;
    case Kept::kClone:
      break;
  }
  sorted->leftovers.emplace_back(object.kind, object.key);
}

}  // namespace

Predecessor Sort(std::vector<KeptObject> kept) {
  Predecessor sorted;
  for (KeptObject& object : kept) Place(std::move(object), &sorted);
  std::sort(sorted.listeners.begin(), sorted.listeners.end(),
            [](const KeptObject& one, const KeptObject& other) { return one.key < other.key; });

  // A connection whose listener is kept has been read to its end.
  for (const KeptObject& listener : sorted.listeners) {
    const Result<ListenerBlob> blob = DecodeListenerBlob(listener.blob);
    if (!blob) continue;
    const auto read = sorted.connections.find(blob->connection);
    if (read == sorted.connections.end()) continue;
    sorted.leftovers.emplace_back(Kept::kPartial, read->first);
    sorted.leftovers.emplace_back(Kept::kConnection, read->first);
    sorted.delivered.push_back(std::move(read->second));
    sorted.connections.erase(read);
  }
  std::erase_if(sorted.connections, [&sorted](const auto& connection) {
    if (connection.second.socket.valid()) return false;
    sorted.leftovers.emplace_back(Kept::kPartial, connection.first);
    return true;
  });
  std::erase_if(sorted.containers, [&sorted](const auto& container) {
    if (container.second.registration.valid()) return false;
    sorted.leftovers.emplace_back(Kept::kProcess, container.first);
    sorted.leftovers.emplace_back(Kept::kMountNamespace, container.first);
    return true;
  });
  std::set<uint64_t> living;
  for (const KeptObject& listener : sorted.listeners) living.insert(listener.key);
  std::erase_if(sorted.sessions, [&](const auto& session) {
    if (living.contains(session.first)) return false;
    sorted.leftovers.emplace_back(Kept::kSession, session.first);
    return true;
  });
  return sorted;
}

}  // namespace landgate::agent
