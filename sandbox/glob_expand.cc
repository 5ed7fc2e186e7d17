#include "sandbox/glob_expand.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/paths.h"
#include "policy/glob.h"

namespace landgate::sandbox {
namespace {

struct Entry {
  std::string name;
  unsigned char type = DT_UNKNOWN;
};

// Nothing: the directory is gone, or is not one.
Result<std::vector<Entry>> List(const ContainerRoot& root, const std::string& directory) {
  std::vector<Entry> entries;
  Result<UniqueFd> fd = root.Open(directory, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  if (!fd) {
    const int error_number = fd.error().error_number;
    if (error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP) return entries;
    return Forward(fd);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd->get()), closedir);
  if (!stream) return SystemError(directory, errno);
  (void)fd->Release();  // the stream owns it
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name(entry->d_name);
    if (name == "." || name == "..") continue;
    Entry listed{std::string(name), entry->d_type};
    if (listed.type == DT_UNKNOWN) {
      struct stat st;
      if (fstatat(dirfd(stream.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
      listed.type = static_cast<unsigned char>(IFTODT(st.st_mode));
    }
    entries.push_back(std::move(listed));
  }
  if (errno != 0) return SystemError(directory, errno);
  return entries;
}

// Positions in the pattern's components at which a path may stand; bit i: component i is next.
class Positions {
 public:
  explicit Positions(std::vector<std::string> parts) : parts_(std::move(parts)) {}

  using Set = std::vector<bool>;
  Set Start() const {
    Set set(parts_.size() + 1);
    Add(set, 0);
    return set;
  }
  Set Step(const Set& from, std::string_view name) const {
    Set set(parts_.size() + 1);
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (!from[i]) continue;
      if (parts_[i] == "**") {
        Add(set, i);
      } else if (policy::GlobComponentMatches(parts_[i], name)) {
        Add(set, i + 1);
      }
    }
    return set;
  }
  bool Matches(const Set& set) const { return set.back(); }
  bool CanGoOn(const Set& set) const {
    return std::find(set.begin(), set.end() - 1, true) != set.end() - 1;
  }

 private:
  // "**" is also no component at all.
  void Add(Set& set, size_t at) const {
    set[at] = true;
    while (at < parts_.size() && parts_[at] == "**") set[++at] = true;
  }

  std::vector<std::string> parts_;
};

bool IsKernelTree(const std::string& path) { return path == "/proc" || path == "/sys"; }

Failure TooMany(const std::string& what, size_t limit, const std::string& unit) {
  return Refuse(what + ": more than " + std::to_string(limit) + " " + unit +
                "; give it a longer literal prefix, or name directories with `beneath`");
}

}  // namespace

Result<GlobMatches> ExpandGlob(ContainerRoot& root, const std::string& prefix,
                               const std::string& pattern, size_t prefix_depth, size_t* entries) {
  std::vector<std::string> parts;
  const std::vector<std::string_view> components = Components(pattern);
  for (size_t i = prefix_depth; i < components.size(); ++i) parts.emplace_back(components[i]);
  const Positions positions(std::move(parts));

  GlobMatches matches;
  if (positions.Matches(positions.Start())) {  // "/w/**" is /w itself, too
    matches.paths.push_back(prefix);
    return matches;
  }
  std::vector<std::pair<std::string, Positions::Set>> left;
  left.emplace_back(prefix, positions.Start());
  while (!left.empty()) {
    const auto [directory, at] = std::move(left.back());
    left.pop_back();
    Result<std::vector<Entry>> listed = List(root, directory);
    if (!listed) return Context(pattern, listed);
    for (const Entry& entry : *listed) {
      if (++*entries > kMaxGlobEntries)
        return TooMany(pattern, kMaxGlobEntries, "files to look at");
      Positions::Set next = positions.Step(at, entry.name);
      std::string path = Join(directory, entry.name);
      if (IsKernelTree(path)) continue;
      if (positions.Matches(next)) {
        (entry.type == DT_LNK ? matches.symlinks : matches.paths).push_back(std::move(path));
        if (matches.paths.size() > kMaxGlobMatches) {
          return TooMany(pattern, kMaxGlobMatches, "matches");
        }
      } else if (entry.type == DT_DIR && positions.CanGoOn(next)) {
        left.emplace_back(std::move(path), std::move(next));
      }
    }
  }
  std::sort(matches.paths.begin(), matches.paths.end());
  std::sort(matches.symlinks.begin(), matches.symlinks.end());
  return matches;
}

Result<bool> HoldsDevices(ContainerRoot& root, const std::string& directory) {
  size_t entries = 0;
  std::vector<std::string> left = {directory};
  while (!left.empty()) {
    const std::string here = std::move(left.back());
    left.pop_back();
    Result<std::vector<Entry>> listed = List(root, here);
    if (!listed) return Forward(listed);
    for (const Entry& entry : *listed) {
      if (++entries > kMaxGlobEntries)
        return TooMany(directory, kMaxGlobEntries, "files to look at");
      if (entry.type == DT_CHR || entry.type == DT_BLK) return true;
      if (entry.type == DT_DIR) left.push_back(Join(here, entry.name));
    }
  }
  return false;
}

}  // namespace landgate::sandbox
