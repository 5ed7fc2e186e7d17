#include "agent/ctl/ctl_trial.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/unique_fd.h"

namespace landgate::ctl {
namespace {

using policy::Json;

constexpr std::chrono::seconds kTimeout{20};

Json Mounts(const std::string& launcher) {
  return Json::array({{{"destination", "/init"},
                       {"type", "bind"},
                       {"source", launcher},
                       {"options", {"bind", "ro"}}},
                      {{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}},
                      {{"destination", "/dev"},
                       {"type", "tmpfs"},
                       {"source", "tmpfs"},
                       {"options", {"nosuid", "strictatime", "mode=755", "size=65536k"}}}});
}

// An ordinary user's container needs a user namespace of its own, as rootless engines make one.
Json Linux(const Json& seccomp) {
  Json value = Json::object();
  Json namespaces = Json::array();
  for (const char* type : {"pid", "mount", "ipc", "uts", "network"})
    namespaces.push_back({{"type", type}});
  if (geteuid() != 0) {
    namespaces.push_back({{"type", "user"}});
    value["uidMappings"] = Json::array({{{"containerID", 0}, {"hostID", geteuid()}, {"size", 1}}});
    value["gidMappings"] = Json::array({{{"containerID", 0}, {"hostID", getegid()}, {"size", 1}}});
  }
  value["namespaces"] = std::move(namespaces);
  if (!seccomp.is_null()) value["seccomp"] = seccomp;
  return value;
}

Json Config(const std::string& launcher, const Json& seccomp) {
  return {{"ociVersion", "1.0.2"},
          {"process",
           {{"terminal", false},
            {"user", {{"uid", 0}, {"gid", 0}}},
            {"args", {"/init", "--version"}},
            {"env", {"PATH=/"}},
            {"cwd", "/"},
            {"noNewPrivileges", true}}},
          {"root", {{"path", "rootfs"}, {"readonly", true}}},
          {"hostname", "landgate-check"},
          {"mounts", Mounts(launcher)},
          {"linux", Linux(seccomp)}};
}

// Takes connections until it is told to stop, and holds what comes with them: closing a listener
// while its container runs would fail the container's calls.
class Acceptor {
 public:
  static Result<Acceptor> Bind(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return Refuse(path + ": too long for a socket");
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return SystemError("socket", errno);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd.get(), 4) != 0)
      return SystemError(path, errno);
    UniqueFd stop(eventfd(0, EFD_CLOEXEC));
    if (!stop.valid()) return SystemError("eventfd", errno);
    return Acceptor(std::move(fd), std::move(stop));
  }

  // Until Stop. True where a descriptor arrived.
  bool Serve() {
    std::vector<UniqueFd> held;
    std::vector<UniqueFd> connections;
    while (true) {
      std::vector<pollfd> fds{{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      for (const UniqueFd& connection : connections)
        fds.push_back({connection.get(), static_cast<short>(connection.valid() ? POLLIN : 0), 0});
      if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return !held.empty();
      for (size_t i = 2; i < fds.size(); ++i) {
        if (fds[i].revents != 0 && !Receive(connections[i - 2], held)) connections[i - 2].Reset();
      }
      if ((fds[0].revents & POLLIN) != 0)
        connections.emplace_back(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if ((fds[1].revents & POLLIN) != 0) return !held.empty();
    }
  }

  void Stop() {
    const uint64_t one = 1;
    (void)!write(stop_.get(), &one, sizeof one);  // an eventfd at 0 takes it
  }

 private:
  Acceptor(UniqueFd socket, UniqueFd stop) : socket_(std::move(socket)), stop_(std::move(stop)) {}

  // False at the connection's end.
  static bool Receive(const UniqueFd& connection, std::vector<UniqueFd>& held) {
    std::array<char, 65536> bytes;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
    iovec buffer{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &buffer;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC);
    if (got <= 0) return got < 0 && errno == EINTR;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
        held.emplace_back(fd);
      }
    }
    return true;
  }

  UniqueFd socket_;
  UniqueFd stop_;
};

}  // namespace

Result<TrialBundle> TrialBundle::Make(const std::string& launcher) {
  const char* base = getenv("TMPDIR");
  // A socket's path is at most 107 bytes long.
  std::string directory =
      std::string(base != nullptr && *base == '/' && strlen(base) < 64 ? base : "/tmp") +
      "/landgate-check-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return SystemError(directory, errno);
  TrialBundle bundle(directory, launcher);
  for (const char* name : {"/rootfs/proc", "/rootfs/dev", "/state"}) {
    if (Status made = MakeDirectories(directory + name, 0755); !made) return Forward(made);
  }
  if (Status made = WriteFileAtomically(directory + "/rootfs/init", "", 0755); !made)
    return Forward(made);
  return bundle;
}

TrialBundle::TrialBundle(TrialBundle&& other) noexcept
    : directory_(std::exchange(other.directory_, "")),
      launcher_(std::move(other.launcher_)),
      runs_(other.runs_) {}

TrialBundle::~TrialBundle() {
  if (directory_.empty()) return;
  std::error_code ignored;  // a directory that stays behind is an ordinary file in TMPDIR
  (void)std::filesystem::remove_all(directory_, ignored);
}

Result<Finished> TrialBundle::Run(const std::string& runtime,
                                  const std::vector<std::string>& before, const Json& seccomp) {
  const std::string config =
      Config(launcher_, seccomp).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (Status written = WriteFileAtomically(directory_ + "/config.json", config, 0644); !written)
    return Forward(written);
  const std::string id =
      "landgate-check-" + std::to_string(getpid()) + "-" + std::to_string(++runs_);
  std::vector<std::string> command{runtime};
  command.insert(command.end(), before.begin(), before.end());
  const std::vector<std::string> state{"--root", directory_ + "/state"};
  command.insert(command.end(), state.begin(), state.end());
  std::vector<std::string> run = command;
  run.insert(run.end(), {"run", "--bundle", directory_, id});
  Result<Finished> finished = RunProgram(run, kTimeout);
  if (finished && !finished->ok()) {
    command.insert(command.end(), {"delete", "--force", id});
    (void)RunProgram(command, kTimeout);  // usually there is nothing left to delete
  }
  return finished;
}

Result<TrialBundle::Listened> TrialBundle::RunWithListener(const std::string& runtime,
                                                           const Json& flags) {
  const std::string path = directory_ + "/listener";
  (void)unlink(path.c_str());  // of an earlier run
  Result<Acceptor> acceptor = Acceptor::Bind(path);
  if (!acceptor) return Forward(acceptor);
  Json seccomp = {
      {"defaultAction", "SCMP_ACT_ALLOW"},
      {"listenerPath", path},
      {"listenerMetadata", "landgate check"},
      {"syscalls", Json::array({{{"names", {"uselib"}}, {"action", "SCMP_ACT_NOTIFY"}}})}};
  if (!flags.is_null()) seccomp["flags"] = flags;
  Listened listened;
  std::thread serving([&] { listened.received = acceptor->Serve(); });
  Result<Finished> finished = Run(runtime, {}, seccomp);
  acceptor->Stop();
  serving.join();
  if (!finished) return Forward(finished);
  listened.finished = std::move(*finished);
  return listened;
}

}  // namespace landgate::ctl
