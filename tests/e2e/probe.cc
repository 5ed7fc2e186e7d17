// probe: performs the operations named on its command line and says how each one ended.
//
//   probe 'read /etc/passwd' 'write:creat /data/x' 'as 1000 connect 127.0.0.1 80'
//
// One argument is one operation: words separated by single spaces, the first one OP or OP:WAY,
// where WAY is the spelling of the same operation (open, openat, openat2 …; `WAY` absent: the usual
// one). One JSON object a line on stdout: {"op": …, "errno": "ok" | "EACCES" | …, "value": …}. The
// program is static, so that it runs in an image that holds nothing else, and calls the kernel
// directly wherever the C library would choose another system call. Prefixes: `as UID`, `fork`,
// `thread`, `in DIR`, `userns`, `again` (through execve of itself).
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using Words = std::vector<std::string>;

struct Outcome {
  int error = 0;
  std::string value;
};

Outcome From(long result) { return {result < 0 ? errno : 0, ""}; }
Outcome Failed(int error) { return {error, ""}; }

std::string Quote(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + '"';
}

void Report(const std::string& op, const Outcome& outcome) {
  const char* name = outcome.error == 0 ? "ok" : strerrorname_np(outcome.error);
  std::string line = "{\"op\": " + Quote(op) + ", \"errno\": " +
                     Quote(name != nullptr ? name : std::to_string(outcome.error)) +
                     ", \"value\": " + Quote(outcome.value) + "}\n";
  (void)!write(STDOUT_FILENO, line.data(), line.size());
}

long Number(const std::string& text) { return std::strtol(text.c_str(), nullptr, 0); }
std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string LeafOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// --- files ------------------------------------------------------------------------------------

// Every way to open a file; -1 and errno like open(2).
int OpenBy(const std::string& way, const std::string& path, int flags, unsigned mode) {
  const char* text = path.c_str();
  flags |= O_NOCTTY;
#ifdef SYS_open
  if (way == "open") return static_cast<int>(syscall(SYS_open, text, flags, mode));
  if (way == "creat") return static_cast<int>(syscall(SYS_creat, text, mode));
#else
  if (way == "open") return openat(AT_FDCWD, text, flags, mode);
  if (way == "creat") return openat(AT_FDCWD, text, O_CREAT | O_WRONLY | O_TRUNC, mode);
#endif
  if (way.empty() || way == "openat") {
    return static_cast<int>(syscall(SYS_openat, AT_FDCWD, text, flags, mode));
  }
  if (way.rfind("openat2", 0) == 0) {
    open_how how{};
    how.flags = static_cast<uint64_t>(flags);
    how.mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? mode : 0;
    if (way == "openat2-nosymlinks") how.resolve = RESOLVE_NO_SYMLINKS;
    if (way == "openat2-inroot") how.resolve = RESOLVE_IN_ROOT;
    return static_cast<int>(syscall(SYS_openat2, AT_FDCWD, text, &how, sizeof how));
  }
  if (way == "slashes") {
    std::string doubled;
    for (const char c : path) doubled += c == '/' ? std::string("//./") : std::string(1, c);
    return openat(AT_FDCWD, doubled.c_str(), flags, mode);
  }
  // Relative to the directory that holds the name: by descriptor, with "..", by chdir and by
  // fchdir.
  const std::string parent = ParentOf(path);
  const int directory = open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -1;
  int fd = -1;
  if (way == "dirfd") {
    fd = openat(directory, LeafOf(path).c_str(), flags, mode);
  } else if (way == "dots") {
    const std::string dotted = "../" + LeafOf(parent) + "/./" + LeafOf(path);
    fd = openat(directory, dotted.c_str(), flags, mode);
  } else if (way == "chdir") {
    if (chdir(parent.c_str()) == 0) fd = open(LeafOf(path).c_str(), flags, mode);
  } else if (way == "fchdir") {
    const int plain = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (plain >= 0 && fchdir(plain) == 0) fd = open(LeafOf(path).c_str(), flags, mode);
  } else {
    errno = ENOTSUP;
  }
  const int saved = errno;
  close(directory);
  errno = saved;
  return fd;
}

Outcome ReadSome(int fd, size_t limit = 256) {
  std::string text(limit, '\0');
  const ssize_t size = read(fd, text.data(), text.size());
  const int saved = errno;
  close(fd);
  if (size < 0) return Failed(saved);
  text.resize(static_cast<size_t>(size));
  return {0, text};
}

Outcome Opened(const Words& words, const std::string& way, int flags, const char* bytes) {
  const int fd = OpenBy(way, words.at(0), flags, 0644);
  if (fd < 0) return Failed(errno);
  Outcome outcome;
  if (bytes != nullptr && write(fd, bytes, strlen(bytes)) < 0) outcome = Failed(errno);
  close(fd);
  return outcome;
}

Outcome List(const Words& words, const std::string& way) {
  const int fd = OpenBy(way, words.at(0), O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return Failed(errno);
  DIR* directory = fdopendir(fd);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : " ") + name;
  return {0, joined};
}

Outcome Rename(const Words& words, const std::string& way) {
  const char* from = words.at(0).c_str();
  const char* to = words.at(1).c_str();
#ifdef SYS_rename
  if (way == "rename") return From(syscall(SYS_rename, from, to));
#endif
  if (way == "renameat") return From(renameat(AT_FDCWD, from, AT_FDCWD, to));
  unsigned flags = 0;
  if (way == "exchange") flags = RENAME_EXCHANGE;
  if (way == "noreplace") flags = RENAME_NOREPLACE;
  return From(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}

Outcome Link(const Words& words, const std::string& way) {
  const char* from = words.at(0).c_str();
  const char* to = words.at(1).c_str();
#ifdef SYS_link
  if (way == "link") return From(syscall(SYS_link, from, to));
#endif
  if (way == "follow") return From(linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW));
  if (way == "empty" || way == "procfd") {
    const int fd = open(from, O_PATH | O_CLOEXEC);
    if (fd < 0) return Failed(errno);
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    const Outcome outcome =
        way == "empty" ? From(linkat(fd, "", AT_FDCWD, to, AT_EMPTY_PATH))
                       : From(linkat(AT_FDCWD, name.c_str(), AT_FDCWD, to, AT_SYMLINK_FOLLOW));
    close(fd);
    return outcome;
  }
  return From(linkat(AT_FDCWD, from, AT_FDCWD, to, 0));
}

Outcome MakeNode(const Words& words, const std::string& way, mode_t type, dev_t device) {
#ifdef SYS_mknod
  if (way == "mknod") return From(syscall(SYS_mknod, words.at(0).c_str(), type | 0644, device));
#endif
  (void)way;
  return From(syscall(SYS_mknodat, AT_FDCWD, words.at(0).c_str(), type | 0644, device));
}

// --- processes --------------------------------------------------------------------------------

// Runs `body` in a child and hands its outcome back; a child that vanished is ECHILD.
Outcome InChild(const std::function<Outcome()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failed(errno);
  const pid_t child = fork();
  if (child < 0) return Failed(errno);
  if (child == 0) {
    close(ends[0]);
    const Outcome outcome = body();
    (void)!write(ends[1], &outcome.error, sizeof outcome.error);
    (void)!write(ends[1], outcome.value.data(), outcome.value.size());
    _exit(0);
  }
  close(ends[1]);
  Outcome outcome{ECHILD, ""};
  (void)!read(ends[0], &outcome.error, sizeof outcome.error);
  char buffer[4096];
  ssize_t size = 0;
  while ((size = read(ends[0], buffer, sizeof buffer)) > 0) {
    outcome.value.append(buffer, static_cast<size_t>(size));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (outcome.error == ECHILD && outcome.value.empty() && WIFSIGNALED(status)) {
    outcome.value = "signal " + std::to_string(WTERMSIG(status));
  }
  return outcome;
}

// Executes words[0] with the rest as arguments; value: how it ended and what it printed.
Outcome Execute(const Words& words, const std::string& way) {
  int output[2];
  int failure[2];
  if (pipe2(output, O_CLOEXEC) != 0 || pipe2(failure, O_CLOEXEC) != 0) return Failed(errno);
  const pid_t child = fork();
  if (child < 0) return Failed(errno);
  if (child == 0) {
    dup2(output[1], STDOUT_FILENO);
    dup2(output[1], STDERR_FILENO);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    int fd = -1;
    if (way == "execveat" || way == "memfd") {
      fd = open(argv[0], way == "memfd" ? O_RDONLY : O_PATH);
      if (fd >= 0 && way == "memfd") {
        const int copy = memfd_create("probe", 0);
        char buffer[65536];
        ssize_t size = 0;
        while ((size = read(fd, buffer, sizeof buffer)) > 0) {
          (void)!write(copy, buffer, static_cast<size_t>(size));
        }
        fd = copy;
      }
      if (fd >= 0) syscall(SYS_execveat, fd, "", argv.data(), environ, AT_EMPTY_PATH);
    } else if (way == "procfd") {
      fd = open(argv[0], O_PATH);
      const std::string name = "/proc/self/fd/" + std::to_string(fd);
      if (fd >= 0) execve(name.c_str(), argv.data(), environ);
    } else {
      execve(argv[0], argv.data(), environ);
    }
    const int error = errno;
    (void)!write(failure[1], &error, sizeof error);
    _exit(127);
  }
  close(output[1]);
  close(failure[1]);
  Outcome outcome;
  char buffer[4096];
  ssize_t size = 0;
  while ((size = read(output[0], buffer, sizeof buffer)) > 0) {
    if (outcome.value.size() < 8192) outcome.value.append(buffer, static_cast<size_t>(size));
  }
  int error = 0;
  if (read(failure[0], &error, sizeof error) == sizeof error) outcome.error = error;
  close(output[0]);
  close(failure[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (outcome.error == 0) {
    const std::string end = WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status))
                                              : "signal " + std::to_string(WTERMSIG(status));
    outcome.value = end + (outcome.value.empty() ? "" : ": " + outcome.value);
  }
  return outcome;
}

// "user,mount,net" → CLONE_NEWUSER | …; a number as itself.
long CloneFlags(const std::string& text) {
  static const std::map<std::string, long> names = {{"user", CLONE_NEWUSER},
                                                    {"mount", CLONE_NEWNS},
                                                    {"net", CLONE_NEWNET},
                                                    {"pid", CLONE_NEWPID},
                                                    {"uts", CLONE_NEWUTS},
                                                    {"ipc", CLONE_NEWIPC},
                                                    {"none", 0},
                                                    {"cgroup", CLONE_NEWCGROUP}};
  long flags = 0;
  size_t start = 0;
  while (start <= text.size()) {
    const size_t comma = std::min(text.find(',', start), text.size());
    const auto found = names.find(text.substr(start, comma - start));
    flags |= found != names.end() ? found->second : Number(text.substr(start, comma - start));
    start = comma + 1;
  }
  return flags;
}

Outcome Clone(const Words& words, const std::string& way) {
  const long flags = CloneFlags(words.at(0));
  long child = 0;
  if (way == "clone3") {
    struct {
      uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } args{};
    args.flags = static_cast<uint64_t>(flags);
    args.exit_signal = SIGCHLD;
    child = syscall(SYS_clone3, &args, sizeof args);
  } else {
    child = syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  }
  if (child < 0) return Failed(errno);
  if (child == 0) _exit(0);
  waitpid(static_cast<pid_t>(child), nullptr, 0);
  return {};
}

Outcome Trace(const Words& words) {
  const pid_t target = static_cast<pid_t>(Number(words.at(0)));
  if (ptrace(PTRACE_SEIZE, target, nullptr, nullptr) != 0) return Failed(errno);
  ptrace(PTRACE_INTERRUPT, target, nullptr, nullptr);
  waitpid(target, nullptr, 0);
  ptrace(PTRACE_DETACH, target, nullptr, nullptr);
  return {};
}

Outcome StatusLine(const Words& words) {
  FILE* file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) return Failed(errno);
  char line[512];
  Outcome outcome{ENODATA, ""};
  while (std::fgets(line, sizeof line, file) != nullptr) {
    std::string text = line;
    if (text.rfind(words.at(0) + ":", 0) != 0) continue;
    text = text.substr(words.at(0).size() + 1);
    text.erase(0, text.find_first_not_of(" \t"));
    text.erase(text.find_last_not_of("\n") + 1);
    outcome = {0, text};
  }
  std::fclose(file);
  return outcome;
}

// --- sockets ------------------------------------------------------------------------------------

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  int family = AF_INET;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};
Address InetAddress(const std::string& host, const std::string& port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(Number(port)));
    address.size = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(Number(port)));
    address.size = sizeof *v6;
    address.family = AF_INET6;
  }
  return address;
}
Address UnixAddress(const std::string& name) {
  Address address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  const bool abstract = name.rfind('@', 0) == 0;
  const std::string text = abstract ? std::string(1, '\0') + name.substr(1) : name;
  const size_t length = std::min(text.size(), sizeof un->sun_path - 1);
  memcpy(un->sun_path, text.data(), length);
  address.size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
  address.family = AF_UNIX;
  return address;
}

Outcome Connect(Address address, int type, const std::string& way) {
  const int protocol = way == "mptcp" ? 262 : 0;
  const int fd = socket(address.family, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) return Failed(errno);
  const timeval limit{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  long result = 0;
  if (way == "fastopen") {
    result = sendto(fd, "x", 1, MSG_FASTOPEN, address.get(), address.size);
  } else if (way == "sendmsg-fastopen") {
    iovec data{const_cast<char*>("x"), 1};
    msghdr message{};
    message.msg_name = address.get();
    message.msg_namelen = address.size;
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    result = sendmsg(fd, &message, MSG_FASTOPEN);
  } else {
    result = connect(fd, address.get(), address.size);
  }
  const Outcome outcome = From(result);
  close(fd);
  return outcome;
}

// Listeners stay open until the program ends.
Outcome Bind(Address address, int type, bool listening) {
  const int fd = socket(address.family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed(errno);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, address.get(), address.size) != 0) {
    const int saved = errno;
    close(fd);
    return Failed(saved);
  }
  if (!listening) {
    close(fd);
    return {};
  }
  return From(listen(fd, 16));
}

Outcome Datagram(const Words& words) {
  Address address = InetAddress(words.at(0), words.at(1));
  const int fd = socket(address.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed(errno);
  const Outcome outcome = From(sendto(fd, "x", 1, 0, address.get(), address.size));
  close(fd);
  return outcome;
}

// socket FAMILY TYPE PROTOCOL with the words as 64-bit numbers, so that junk in the upper half gets
// through.
Outcome Socket(const Words& words) {
  const long fd =
      syscall(SYS_socket, Number(words.at(0)), Number(words.at(1)), Number(words.at(2)));
  if (fd >= 0) close(static_cast<int>(fd));
  return From(fd);
}
Outcome SocketPair(const Words& words) {
  int ends[2] = {-1, -1};
  const Outcome outcome = From(socketpair(static_cast<int>(Number(words.at(0))),
                                          static_cast<int>(Number(words.at(1))), 0, ends));
  close(ends[0]);
  close(ends[1]);
  return outcome;
}

// --- mounts -------------------------------------------------------------------------------------

Outcome OpenTree(const Words& words) {
  const unsigned recursive = words.size() > 2 ? 0x8000U : 0U;
  const long tree =
      syscall(SYS_open_tree, AT_FDCWD, words.at(0).c_str(), 1U | O_CLOEXEC | recursive);
  if (tree < 0 || words.size() < 2) return From(tree);
  const int fd = openat(static_cast<int>(tree), words.at(1).c_str(), O_RDONLY | O_CLOEXEC);
  return fd < 0 ? Failed(errno) : ReadSome(fd);
}

// The object's handle, opened again through the file system's root.
Outcome OpenHandle(const Words& words) {
  struct {
    file_handle handle;
    unsigned char bytes[128];
  } request{};
  request.handle.handle_bytes = sizeof request.bytes;
  int mount = 0;
  // In the parent directory the object is not masked: what is taken is the name's own handle.
  if (name_to_handle_at(AT_FDCWD, words.at(0).c_str(), &request.handle, &mount, 0) != 0) {
    return Failed(errno);
  }
  const int root = open(words.at(1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return Failed(errno);
  const int fd = open_by_handle_at(root, &request.handle, O_RDONLY);
  return fd < 0 ? Failed(errno) : ReadSome(fd);
}

Outcome SetNamespace(const Words& words) {
  const int fd = open(words.at(0).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failed(errno);
  return From(setns(fd, static_cast<int>(CloneFlags(words.at(1)))));
}

Outcome Syscall(const Words& words) {
  static const std::map<std::string, long> names = {{"bpf", SYS_bpf},
                                                    {"io_uring_setup", SYS_io_uring_setup},
                                                    {"personality", SYS_personality},
                                                    {"perf_event_open", SYS_perf_event_open},
                                                    {"userfaultfd", SYS_userfaultfd},
                                                    {"keyctl", SYS_keyctl},
                                                    {"add_key", SYS_add_key},
                                                    {"request_key", SYS_request_key},
                                                    {"kexec_load", SYS_kexec_load},
                                                    {"init_module", SYS_init_module},
                                                    {"reboot", SYS_reboot},
                                                    {"swapon", SYS_swapon},
                                                    {"syslog", SYS_syslog},
                                                    {"acct", SYS_acct},
                                                    {"ptrace", SYS_ptrace},
                                                    {"process_vm_readv", SYS_process_vm_readv},
                                                    {"fsopen", SYS_fsopen},
                                                    {"fsmount", SYS_fsmount},
                                                    {"fspick", SYS_fspick},
                                                    {"move_mount", SYS_move_mount},
                                                    {"mount_setattr", SYS_mount_setattr},
                                                    {"open_tree", SYS_open_tree},
                                                    {"open_tree_attr", 467},
                                                    {"open_by_handle_at", SYS_open_by_handle_at},
                                                    {"getpid", SYS_getpid}};
  const auto found = names.find(words.at(0));
  const long number = found != names.end() ? found->second : Number(words.at(0));
  long args[6] = {};
  for (size_t i = 1; i < words.size() && i <= 6; ++i) args[i - 1] = Number(words[i]);
  return From(syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]));
}

// --- the table -----------------------------------------------------------------------------------

Outcome Hold() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  Report("hold", {});  // whoever reads this may go on: the signals are blocked and kept
  int caught = 0;
  sigwait(&set, &caught);
  return {0, "signal " + std::to_string(caught)};
}

Outcome OpenFds() {
  std::string joined;
  for (int fd = 0; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) joined += (joined.empty() ? "" : " ") + std::to_string(fd);
  }
  return {0, joined};
}

Outcome Environment() {
  std::string joined;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    joined += (joined.empty() ? "" : "\n") + std::string(*entry);
  }
  return {0, joined};
}

using Action = std::function<Outcome(const Words&, const std::string& way)>;

const std::map<std::string, Action>& Table() {
  static const std::map<std::string, Action> table = {
      {"read",
       [](const Words& w, const std::string& way) {
         const int fd = OpenBy(way, w.at(0), O_RDONLY, 0);
         return fd < 0 ? Failed(errno) : ReadSome(fd);
       }},
      {"write",
       [](const Words& w, const std::string& way) { return Opened(w, way, O_WRONLY, "w"); }},
      {"append",
       [](const Words& w, const std::string& way) { return Opened(w, way, O_WRONLY | O_APPEND, "a"); }},
      {"rdwr", [](const Words& w, const std::string& way) { return Opened(w, way, O_RDWR, nullptr); }},
      {"rdtrunc",
       [](const Words& w, const std::string& way) {
         return Opened(w, way, O_RDONLY | O_TRUNC, nullptr);
       }},
      {"wrtrunc",
       [](const Words& w, const std::string& way) {
         return Opened(w, way, O_WRONLY | O_TRUNC, nullptr);
       }},
      {"create",
       [](const Words& w, const std::string& way) {
         return Opened(w, way, O_WRONLY | O_CREAT | O_EXCL, "c");
       }},
      {"overwrite",
       [](const Words& w, const std::string& way) {
         return Opened(w, way, O_WRONLY | O_CREAT | O_TRUNC, "o");
       }},
      {"tmpfile",
       [](const Words& w, const std::string& way) {
         return Opened(w, way, O_RDWR | O_TMPFILE, "t");
       }},
      {"opath", [](const Words& w, const std::string& way) { return Opened(w, way, O_PATH, nullptr); }},
      {"reopen",  // O_PATH, then an open of the descriptor's link
       [](const Words& w, const std::string& way) {
         const int fd = OpenBy(way, w.at(0), O_PATH, 0);
         if (fd < 0) return Failed(errno);
         const int again = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
         return again < 0 ? Failed(errno) : ReadSome(again);
       }},
      {"list", List},
      {"truncate",
       [](const Words& w, const std::string&) { return From(truncate(w.at(0).c_str(), 0)); }},
      {"ftruncate",
       [](const Words& w, const std::string& way) {
         const int fd = OpenBy(way, w.at(0), O_WRONLY, 0);
         if (fd < 0) return Failed(errno);
         const Outcome outcome = From(ftruncate(fd, 0));
         close(fd);
         return outcome;
       }},
      {"mkdir",
       [](const Words& w, const std::string& way) {
         return way == "mkdirat" ? From(mkdirat(AT_FDCWD, w.at(0).c_str(), 0755))
                                 : From(mkdir(w.at(0).c_str(), 0755));
       }},
      {"unlink",
       [](const Words& w, const std::string& way) {
         return way == "unlinkat" ? From(unlinkat(AT_FDCWD, w.at(0).c_str(), 0))
                                  : From(unlink(w.at(0).c_str()));
       }},
      {"rmdir",
       [](const Words& w, const std::string& way) {
         return way == "unlinkat" ? From(unlinkat(AT_FDCWD, w.at(0).c_str(), AT_REMOVEDIR))
                                  : From(rmdir(w.at(0).c_str()));
       }},
      {"rename", Rename},
      {"link", Link},
      {"symlink",
       [](const Words& w, const std::string& way) {
         return way == "symlinkat" ? From(symlinkat(w.at(0).c_str(), AT_FDCWD, w.at(1).c_str()))
                                   : From(symlink(w.at(0).c_str(), w.at(1).c_str()));
       }},
      {"mkfifo",
       [](const Words& w, const std::string& way) { return MakeNode(w, way, S_IFIFO, 0); }},
      {"mkreg", [](const Words& w, const std::string& way) { return MakeNode(w, way, S_IFREG, 0); }},
      {"mksock",
       [](const Words& w, const std::string& way) { return MakeNode(w, way, S_IFSOCK, 0); }},
      {"mkchar",  // c 1:3, /dev/null
       [](const Words& w, const std::string& way) { return MakeNode(w, way, S_IFCHR, 0x103); }},
      {"stat",
       [](const Words& w, const std::string&) {
         struct stat status {};
         const Outcome outcome = From(stat(w.at(0).c_str(), &status));
         return outcome.error != 0 ? outcome : Outcome{0, std::to_string(status.st_size)};
       }},
      {"access",
       [](const Words& w, const std::string&) { return From(access(w.at(0).c_str(), R_OK)); }},
      {"chmod",
       [](const Words& w, const std::string&) {
         return From(chmod(w.at(0).c_str(), static_cast<mode_t>(Number(w.at(1)))));
       }},
      {"chown",
       [](const Words& w, const std::string&) {
         return From(chown(w.at(0).c_str(), static_cast<uid_t>(Number(w.at(1))), 0));
       }},
      {"utimes",
       [](const Words& w, const std::string&) { return From(utimes(w.at(0).c_str(), nullptr)); }},
      {"getxattr",
       [](const Words& w, const std::string&) {
         char buffer[64];
         return From(getxattr(w.at(0).c_str(), "user.probe", buffer, sizeof buffer));
       }},
      {"chroot", [](const Words& w, const std::string&) { return From(chroot(w.at(0).c_str())); }},
      {"exec", Execute},
      {"clone", Clone},
      {"unshare",
       [](const Words& w, const std::string&) {
         return InChild([&] { return From(unshare(static_cast<int>(CloneFlags(w.at(0))))); });
       }},
      {"setns", [](const Words& w, const std::string&) { return SetNamespace(w); }},
      {"ptrace", [](const Words& w, const std::string&) { return Trace(w); }},
      {"kill",
       [](const Words& w, const std::string&) {
         return From(kill(static_cast<pid_t>(Number(w.at(0))), static_cast<int>(Number(w.at(1)))));
       }},
      {"setuid",
       [](const Words& w, const std::string&) {
         return InChild([&] { return From(setuid(static_cast<uid_t>(Number(w.at(0))))); });
       }},
      {"connect",
       [](const Words& w, const std::string& way) {
         return Connect(InetAddress(w.at(0), w.at(1)), SOCK_STREAM, way);
       }},
      {"bind",
       [](const Words& w, const std::string&) {
         return Bind(InetAddress(w.at(0), w.at(1)), SOCK_STREAM, false);
       }},
      {"listen",
       [](const Words& w, const std::string&) {
         return Bind(InetAddress(w.at(0), w.at(1)), SOCK_STREAM, true);
       }},
      {"autolisten",  // listen(2) without bind(2): the kernel picks a port
       [](const Words&, const std::string&) {
         const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
         return fd < 0 ? Failed(errno) : From(listen(fd, 1));
       }},
      {"udp", [](const Words& w, const std::string&) { return Datagram(w); }},
      {"udpbind",
       [](const Words& w, const std::string&) {
         return Bind(InetAddress(w.at(0), w.at(1)), SOCK_DGRAM, false);
       }},
      {"socket", [](const Words& w, const std::string&) { return Socket(w); }},
      {"socketpair", [](const Words& w, const std::string&) { return SocketPair(w); }},
      {"unixconnect",
       [](const Words& w, const std::string& way) {
         return Connect(UnixAddress(w.at(0)), SOCK_STREAM, way);
       }},
      {"unixlisten",
       [](const Words& w, const std::string&) {
         return Bind(UnixAddress(w.at(0)), SOCK_STREAM, true);
       }},
      {"mount",
       [](const Words& w, const std::string&) {
         return From(mount(w.at(0).c_str(), w.at(1).c_str(), w.at(2).c_str(), 0, nullptr));
       }},
      {"bindmount",
       [](const Words& w, const std::string&) {
         return From(mount(w.at(0).c_str(), w.at(1).c_str(), nullptr, MS_BIND, nullptr));
       }},
      {"remount",
       [](const Words& w, const std::string&) {
         return From(mount(nullptr, w.at(0).c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr));
       }},
      {"umount",
       [](const Words& w, const std::string&) { return From(umount2(w.at(0).c_str(), MNT_DETACH)); }},
      {"pivot_root",
       [](const Words& w, const std::string&) {
         return From(syscall(SYS_pivot_root, w.at(0).c_str(), w.at(1).c_str()));
       }},
      {"open_tree", [](const Words& w, const std::string&) { return OpenTree(w); }},
      {"handle", [](const Words& w, const std::string&) { return OpenHandle(w); }},
      {"fsopen",
       [](const Words& w, const std::string&) { return From(syscall(SYS_fsopen, w.at(0).c_str(), 1)); }},
      {"syscall", [](const Words& w, const std::string&) { return Syscall(w); }},
      {"status", [](const Words& w, const std::string&) { return StatusLine(w); }},
      {"fds", [](const Words&, const std::string&) { return OpenFds(); }},
      {"env", [](const Words&, const std::string&) { return Environment(); }},
      {"hold", [](const Words&, const std::string&) { return Hold(); }},
      {"raise",
       [](const Words& w, const std::string&) {
         signal(static_cast<int>(Number(w.at(0))), SIG_DFL);
         return From(raise(static_cast<int>(Number(w.at(0)))));
       }},
      {"exit",
       [](const Words& w, const std::string&) -> Outcome { _exit(static_cast<int>(Number(w.at(0)))); }},
  };
  return table;
}

Words Split(const std::string& text) {
  Words words;
  size_t start = 0;
  while (start <= text.size()) {
    const size_t space = std::min(text.find(' ', start), text.size());
    words.push_back(text.substr(start, space - start));
    start = space + 1;
  }
  return words;
}

Outcome Perform(Words words);

Words Tail(const Words& words, size_t from) {
  return Words(words.begin() + static_cast<long>(std::min(from, words.size())), words.end());
}

Outcome Again(const Words& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : " ") + word;
  Outcome outcome = Execute({"/proc/self/exe", joined}, "");
  if (outcome.error != 0) return outcome;
  const size_t key = outcome.value.find("\"errno\": \"");
  if (key == std::string::npos) return {EPROTO, outcome.value};
  const size_t start = key + strlen("\"errno\": \"");
  const std::string name = outcome.value.substr(start, outcome.value.find('"', start) - start);
  if (name == "ok") return {0, outcome.value};
  for (int error = 1; error < 134; ++error) {
    const char* candidate = strerrorname_np(error);
    if (candidate != nullptr && name == candidate) return {error, outcome.value};
  }
  return {EPROTO, outcome.value};
}

Outcome Perform(Words words) {
  if (words.empty()) return Failed(EINVAL);
  if (words[0] == "fork")
    return InChild([&] { return InChild([&] { return Perform(Tail(words, 1)); }); });
  if (words[0] == "thread") {
    Outcome outcome;
    std::thread([&] { outcome = Perform(Tail(words, 1)); }).join();
    return outcome;
  }
  if (words[0] == "again") return Again(Tail(words, 1));
  if (words[0] == "as") {
    return InChild([&] {
      const auto id = static_cast<uid_t>(Number(words.at(1)));
      if (setgroups(0, nullptr) != 0 || setresgid(id, id, id) != 0 || setresuid(id, id, id) != 0) {
        return Outcome{errno, "could not become the user"};
      }
      return Perform(Tail(words, 2));
    });
  }
  if (words[0] == "in") {
    return InChild(
        [&] { return chdir(words.at(1).c_str()) != 0 ? Failed(errno) : Perform(Tail(words, 2)); });
  }
  if (words[0] == "userns") {
    return InChild([&] {
      if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return Outcome{errno, "unshare"};
      return Perform(Tail(words, 1));
    });
  }
  const size_t colon = words[0].find(':');
  const std::string way = colon == std::string::npos ? "" : words[0].substr(colon + 1);
  const auto found = Table().find(words[0].substr(0, colon));
  if (found == Table().end()) return {ENOSYS, "probe: unknown operation"};
  words.erase(words.begin());
  return found->second(words, way);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) Report(argv[i], Perform(Split(argv[i])));
  return 0;
}
