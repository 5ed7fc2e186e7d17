#include "agent/server/launcher_start.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <memory>
#include <string_view>
#include <utility>

#include "agent/helper/over_mount.h"
#include "agent/limits.h"
#include "agent/log.h"
#include "agent/notify/thread.h"
#include "agent/server/connection.h"
#include "agent/server/message.h"
#include "base/syscalls.h"
#include "sandbox/object.h"

namespace landgate::agent {
namespace {

constexpr std::string_view kBlob = "launcher of ";
// A container that was created may wait for hours until it is started.
constexpr std::chrono::milliseconds kLook{20};
constexpr std::chrono::seconds kRemoval{10};

Result<sandbox::ObjectId> ExeOf(const Container& container) {
  return sandbox::IdentifyFile("/proc/" + std::to_string(container.registration.pid) + "/exe");
}

// It is the container's first process and no later one of its number, and what it executes is the
// launcher: nobody else can be, the over-mount is the only way to it.
Status CheckLauncher(const Container& container, BorrowedFd connection) {
  Result<Peer> peer = PeerOf(connection);
  if (!peer) return Forward(peer);
  if (peer->pid != container.registration.pid || HasEnded(container.process)) {
    return Refuse("process " + std::to_string(peer->pid) +
                  ", which is not the container's first, connected to the launcher's socket");
  }
  Result<sandbox::ObjectId> exe = ExeOf(container);
  if (!exe) return Forward(exe);
  if (*exe != container.registration.launcher) {
    return Refuse("the process that connected to the launcher's socket is not the launcher");
  }
  return {};
}

Status TakeOff(HelperPool& helpers, const Container& container) {
  const std::string bytes = EncodeOverMounts(container.registration.over_mounts);
  const BorrowedFd fds[] = {container.mount_namespace};
  Result<int64_t> done = helpers.Run(
      {.operation = kRemoveOverMounts, .bytes = bytes, .fds = fds, .owner = container.key},
      kRemoval);
  if (!done) return Context("taking the launcher off the entrypoint", done);
  if (*done < 0) {
    return SystemError("taking the launcher off the entrypoint", static_cast<int>(-*done));
  }
  return {};
}

// What the holder keeps with the socket: whose it is, and what the container's process executed
// when the hook registered it. Nothing of the container has run by then, so it is the runtime.
std::string EncodeBlob(const Container& container) {
  std::string blob = std::string(kBlob) + std::to_string(container.key);
  if (const Result<sandbox::ObjectId> runtime = ExeOf(container)) {
    for (const uint64_t number :
         {uint64_t{runtime->dev_major}, uint64_t{runtime->dev_minor}, runtime->inode}) {
      blob += ' ' + std::to_string(number);
    }
  }
  return blob;
}

struct DecodedBlob {
  uint64_t container = 0;
  std::optional<sandbox::ObjectId> runtime;
};

DecodedBlob DecodeBlob(std::string_view blob) {
  std::array<uint64_t, 4> numbers{};
  size_t count = 0;
  blob.remove_prefix(kBlob.size());
  while (count < numbers.size()) {
    const auto [end, error] =
        std::from_chars(blob.data(), blob.data() + blob.size(), numbers[count]);
    if (error != std::errc()) break;
    ++count;
    blob.remove_prefix(static_cast<size_t>(end - blob.data()));
    if (!blob.starts_with(' ')) break;
    blob.remove_prefix(1);
  }
  DecodedBlob decoded{.container = numbers[0], .runtime = {}};
  if (count == numbers.size()) {
    decoded.runtime = sandbox::ObjectId{static_cast<uint32_t>(numbers[1]),
                                        static_cast<uint32_t>(numbers[2]), numbers[3]};
  }
  return decoded;
}

void Say(BorrowedFd socket, const std::string& line) {
  // Into an empty buffer; a launcher that has gone needs no answer.
  (void)send(socket.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

bool LauncherStarts::IsLauncherSocket(std::string_view blob) { return blob.starts_with(kBlob); }

uint64_t LauncherStarts::ContainerOf(std::string_view blob) {
  return IsLauncherSocket(blob) ? DecodeBlob(blob).container : 0;
}

Status LauncherStarts::Expect(uint64_t key, ContainerPtr container, BorrowedFd socket) {
  for (const auto& [socket_key, expected] : expected_) {
    // The same registration, read a second time after its agent was replaced.
    if (expected.container->key == container->key) return {};
  }
  const std::string blob = EncodeBlob(*container);
  if (Status kept = holder_.Keep(Kept::kSocket, key, blob, socket); !kept) {
    return Context("the launcher's socket", kept);
  }
  Restore(key, blob, std::move(container));
  return {};
}

void LauncherStarts::Restore(uint64_t key, std::string_view blob, ContainerPtr container) {
  Expected& expected = expected_[key];
  expected.container = std::move(container);
  expected.runtime = DecodeBlob(blob).runtime;
  Guard(key);
}

// The prestart hook has covered every file that the runtime may execute. This holds against the
// unforeseen: a volume that somebody outside changed meanwhile, a search that differs from ours.
void LauncherStarts::Guard(uint64_t key) {
  const auto found = expected_.find(key);
  if (found == expected_.end()) return;
  Expected& expected = found->second;
  const Container& container = *expected.container;
  if (HasEnded(container.process)) return;
  if (const Result<sandbox::ObjectId> exe = ExeOf(container)) {
    if (*exe == container.registration.launcher) {
      if (!expected.launched) expected.launched = Loop::Clock::now();
      if (Loop::Clock::now() - *expected.launched > kTurnPatience) {
        return Kill(container, "the launcher did not ask to be taken off its entrypoint");
      }
    } else if (expected.launched || (expected.runtime && *exe != *expected.runtime)) {
      return Kill(container, "its first process executes something that is not the launcher");
    }
  }
  loop_.After(kLook, [this, key] { Guard(key); });
}

void LauncherStarts::Kill(const Container& container, std::string_view why) {
  (void)PidfdSendSignal(container.process, SIGKILL);  // ESRCH: it has ended, which is as good
  log_.error("container {}: killed: {}", Printable(container.id()), why);
  AuditRecord record;
  record.event = AuditEvent::kAccess;
  record.container = container.id();
  record.pod = container.registration.pod;
  record.pid = container.registration.pid;
  record.syscall = "execve";
  record.verdict = AuditVerdict::kDeny;
  record.reason = AuditReason::kUnsupported;
  record.message = why;
  audit_.Write(std::move(record));
}

void LauncherStarts::Start(uint64_t socket, uint64_t connection, UniqueFd fd) {
  const auto found = expected_.find(socket);
  if (found == expected_.end()) return;
  const ContainerPtr container = found->second.container;
  if (Status launcher = CheckLauncher(*container, fd); !launcher) {
    return Finish(socket, connection, std::move(fd), launcher);
  }
  // A helper enters the container's mount namespace, which takes longer than the loop may.
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  const bool begun = StartThread("launcher-start", [this, socket, connection, container, shared] {
    auto removed = std::make_shared<Status>(TakeOff(helpers_, *container));
    loop_.Post([this, socket, connection, shared, removed] {
      Finish(socket, connection, std::move(*shared), *removed);
    });
  });
  if (!begun) Finish(socket, connection, std::move(*shared), SystemError("a thread", EAGAIN));
}

void LauncherStarts::Finish(uint64_t key, uint64_t connection, UniqueFd fd, const Status& removed) {
  const auto found = expected_.find(key);
  if (found == expected_.end() || !removed) {
    const std::string why = removed ? "the container is gone" : removed.error().message;
    log_.error("a launcher was refused: {}", Printable(why));
    Say(fd, why + "\n");
    holder_.Drop(Kept::kConnection, connection);
    return;
  }
  const ContainerPtr container = found->second.container;
  // Before it may go on: a successor that still found the socket would take the workload for
  // something that slipped through.
  expected_.erase(found);
  holder_.Drop(Kept::kSocket, key);
  Resume(connection, std::move(fd), *container);
}

void LauncherStarts::Resume(uint64_t connection, UniqueFd fd, const Container& container) {
  Say(fd, "ready " + container.id() + "\n");
  admit_(connection, std::move(fd), container.id());
}

void LauncherStarts::Forget(uint64_t container) {
  std::erase_if(expected_, [this, container](const auto& entry) {
    if (entry.second.container->key != container) return false;
    holder_.Drop(Kept::kSocket, entry.first);
    return true;
  });
}

}  // namespace landgate::agent
