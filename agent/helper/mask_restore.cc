#include "agent/helper/mask_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "agent/helper/enter_container.h"
#include "base/files.h"
#include "base/paths.h"
#include "sandbox/resolve.h"

namespace landgate::agent {
namespace {

using sandbox::MountStepKind;
using sandbox::StepState;
using sandbox::WatchedName;
using sandbox::WatchedStep;

// --- messages -----------------------------------------------------------------------------------

class Writer {
 public:
  template <class T>
  requires std::is_integral_v<T>
  void Put(T value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void Put(const std::string& text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes_ += text;
  }
  template <class T, class Each>
  void Put(const std::vector<T>& items, const Each& each) {
    Put(static_cast<uint32_t>(items.size()));
    for (const T& item : items) each(item);
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  template <class T>
  requires std::is_integral_v<T> T Get() {
    T value{};
    if (left_.size() < sizeof value) {
      failed_ = true;
      left_ = {};
      return value;
    }
    std::memcpy(&value, left_.data(), sizeof value);
    left_.remove_prefix(sizeof value);
    return value;
  }
  std::string Text() {
    const auto size = Get<uint32_t>();
    if (size > left_.size()) {
      failed_ = true;
      return "";
    }
    std::string text(left_.substr(0, size));
    left_.remove_prefix(size);
    return text;
  }
  template <class Each>
  void Items(const Each& each) {
    for (auto count = Get<uint32_t>(); count > 0 && !failed_; --count) each();
  }
  // Everything was there, and nothing else.
  bool Whole() const { return !failed_ && left_.empty(); }

 private:
  std::string_view left_;
  bool failed_ = false;
};

void PutStep(Writer& out, const WatchedStep& watched) {
  const sandbox::MountStep& step = watched.step;
  out.Put(static_cast<uint8_t>(step.kind));
  out.Put(static_cast<uint8_t>((step.directory ? 1 : 0) | (step.read_only ? 2 : 0) |
                               (step.noexec ? 4 : 0) | (step.nodev ? 8 : 0) |
                               (step.writable_again ? 16 : 0)));
  out.Put(step.path);
  out.Put(step.because);
  out.Put(step.object.dev_major);
  out.Put(step.object.dev_minor);
  out.Put(step.object.inode);
  out.Put(watched.mount);
}

WatchedStep GetStep(Reader& in) {
  WatchedStep watched;
  sandbox::MountStep& step = watched.step;
  step.kind = static_cast<MountStepKind>(in.Get<uint8_t>());
  const auto flags = in.Get<uint8_t>();
  step.directory = flags & 1;
  step.read_only = flags & 2;
  step.noexec = flags & 4;
  step.nodev = flags & 8;
  step.writable_again = flags & 16;
  step.path = in.Text();
  step.because = in.Text();
  step.object.dev_major = in.Get<uint32_t>();
  step.object.dev_minor = in.Get<uint32_t>();
  step.object.inode = in.Get<uint64_t>();
  watched.mount = in.Get<uint64_t>();
  return watched;
}

// --- inotify ------------------------------------------------------------------------------------

// Walks paths beneath the container's root as the kernel does, symlinks included, and watches every
// name on the way. A path is walked as far as it exists; the name that is missing is watched too.
class NameWatcher {
 public:
  NameWatcher(BorrowedFd inotify, BorrowedFd root) : inotify_(inotify), root_(root) {}

  void Walk(const std::string& path) {
    std::deque<std::string> left;
    Push(left, path);
    UniqueFd here = Root();
    for (int symlinks = 0; !left.empty() && here.valid();) {
      const std::string name = std::move(left.front());
      left.pop_front();
      if (name == "..") {
        if (!IsRoot(here)) here = Open(here, "..");
        continue;
      }
      Watch(here, name);
      UniqueFd next = Open(here, name.c_str());
      struct stat st;
      if (!next.valid() || fstat(next.get(), &st) < 0) return;
      if (!S_ISLNK(st.st_mode)) {
        here = std::move(next);
        continue;
      }
      char target[PATH_MAX];
      const ssize_t length = readlinkat(next.get(), "", target, sizeof target);
      if (length <= 0 || ++symlinks > sandbox::kMaxSymlinks) return;
      const std::string_view text(target, static_cast<size_t>(length));
      if (text.front() == '/') here = Root();
      Push(left, text);
    }
  }

  std::vector<WatchedEntry> Take() {
    std::vector<WatchedEntry> entries;
    for (const auto& [watch, name] : seen_) entries.push_back({watch, name});
    return entries;
  }
  bool incomplete() const { return incomplete_; }

 private:
  static void Push(std::deque<std::string>& left, std::string_view path) {
    const std::vector<std::string_view> parts = Components(path);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (*part != ".") left.emplace_front(*part);
    }
  }
  UniqueFd Root() const { return UniqueFd(fcntl(root_.get(), F_DUPFD_CLOEXEC, 0)); }
  static UniqueFd Open(BorrowedFd directory, const char* name) {
    return UniqueFd(openat(directory.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  }
  bool IsRoot(BorrowedFd fd) const {
    struct stat one, other;
    return fstat(fd.get(), &one) == 0 && fstat(root_.get(), &other) == 0 &&
           one.st_dev == other.st_dev && one.st_ino == other.st_ino;
  }

  // One watch an inode: the same directory again is answered with the same number.
  void Watch(BorrowedFd directory, const std::string& name) {
    struct stat st;
    if (fstat(directory.get(), &st) < 0 || !S_ISDIR(st.st_mode)) return;
    const auto [at, is_new] = watches_.try_emplace({st.st_dev, st.st_ino}, -1);
    if (is_new && fchdir(directory.get()) == 0) {
      at->second = inotify_add_watch(
          inotify_.get(), ".",
          IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR | IN_EXCL_UNLINK);
    }
    if (at->second < 0) {
      incomplete_ = true;
    } else {
      seen_.insert({at->second, name});
    }
  }

  const BorrowedFd inotify_, root_;
  std::map<std::pair<dev_t, ino_t>, int> watches_;
  std::set<std::pair<int, std::string>> seen_;
  bool incomplete_ = false;
};

// --- the operation ------------------------------------------------------------------------------

MaskAnswer Perform(const MaskRequest& request, BorrowedFd container, BorrowedFd inotify) {
  MaskAnswer answer;
  const auto fail = [&answer](Error error) {
    answer.problem = std::move(error.message);
    return answer;
  };
  bool empty_file = false;
  for (const WatchedStep& watched : request.steps) {
    empty_file = empty_file || watched.step.kind == MountStepKind::kMaskEmpty;
  }
  const UniqueFd proc_self(open("/proc/thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_self.valid()) return fail(SystemError("/proc/thread-self", errno).value());
  sandbox::MaskSources sources = sandbox::MaskSources::Prepare(empty_file);
  if (Status entered = EnterMountNamespace(container); !entered) return fail(entered.error());
  const auto root = sandbox::OpenEnteredRoot(proc_self, request.steps, request.before_pivot);
  if (!root) return fail(root.error());
  if (inotify.get() >= 0) {
    NameWatcher watcher(inotify, root->fd);
    for (const WatchedStep& watched : request.steps) watcher.Walk(watched.step.path);
    for (const WatchedName& name : request.names) watcher.Walk(name.path);
    answer.entries = watcher.Take();
    answer.unwatched = watcher.incomplete();
  }
  answer.outcome =
      sandbox::RestoreMounts(request.steps, request.names, *root, container, std::move(sources));
  return answer;
}

}  // namespace

std::string EncodeMaskRequest(const MaskRequest& request) {
  Writer out;
  out.Put(request.before_pivot);
  out.Put(request.steps, [&](const WatchedStep& step) { PutStep(out, step); });
  out.Put(request.names, [&](const WatchedName& name) {
    out.Put(name.path);
    PutStep(out, {name.like, 0});
  });
  return out.Take();
}

std::optional<MaskRequest> DecodeMaskRequest(std::string_view bytes) {
  Reader in(bytes);
  MaskRequest request;
  request.before_pivot = in.Text();
  in.Items([&] { request.steps.push_back(GetStep(in)); });
  in.Items([&] {
    WatchedName name;
    name.path = in.Text();
    name.like = GetStep(in).step;
    request.names.push_back(std::move(name));
  });
  if (!in.Whole()) return std::nullopt;
  return request;
}

std::string EncodeMaskAnswer(const MaskAnswer& answer) {
  Writer out;
  out.Put(answer.problem);
  out.Put(static_cast<uint8_t>(answer.unwatched));
  out.Put(answer.outcome.steps, [&](const sandbox::StepOutcome& step) {
    out.Put(static_cast<uint8_t>(step.state));
    out.Put(step.mount);
    out.Put(step.problem);
  });
  out.Put(answer.outcome.added, [&](const WatchedStep& step) { PutStep(out, step); });
  out.Put(answer.outcome.leads, [&](const std::string& path) { out.Put(path); });
  out.Put(answer.entries, [&](const WatchedEntry& entry) {
    out.Put(entry.watch);
    out.Put(entry.name);
  });
  return out.Take();
}

std::optional<MaskAnswer> DecodeMaskAnswer(std::string_view bytes) {
  Reader in(bytes);
  MaskAnswer answer;
  answer.problem = in.Text();
  answer.unwatched = in.Get<uint8_t>() != 0;
  in.Items([&] {
    sandbox::StepOutcome step;
    step.state = static_cast<StepState>(in.Get<uint8_t>());
    step.mount = in.Get<uint64_t>();
    step.problem = in.Text();
    answer.outcome.steps.push_back(std::move(step));
  });
  in.Items([&] { answer.outcome.added.push_back(GetStep(in)); });
  in.Items([&] { answer.outcome.leads.push_back(in.Text()); });
  in.Items([&] {
    WatchedEntry entry;
    entry.watch = in.Get<int>();
    entry.name = in.Text();
    answer.entries.push_back(std::move(entry));
  });
  if (!in.Whole()) return std::nullopt;
  return answer;
}

int64_t RestoreMasksOperation(const OperationInput& input) {
  if (input.fds.size() < 3 || input.fds.size() > 4) return -EINVAL;
  Result<std::string> bytes = ReadAll(input.fds[1], size_t{64} << 20);
  if (!bytes) return -EIO;
  const std::optional<MaskRequest> request = DecodeMaskRequest(*bytes);
  if (!request) return -EINVAL;
  const MaskAnswer answer = Perform(
      *request, input.fds[0], input.fds.size() == 4 ? BorrowedFd(input.fds[3]) : BorrowedFd(-1));
  const Status written = WriteAll(input.fds[2], EncodeMaskAnswer(answer));
  return written ? 0 : -EIO;
}

}  // namespace landgate::agent
