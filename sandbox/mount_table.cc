#include "sandbox/mount_table.h"

#include <charconv>
#include <utility>

#include "base/files.h"
#include "base/paths.h"

namespace landgate::sandbox {
namespace {

constexpr size_t kMaxMountInfoBytes = size_t{64} << 20;  // 100,000 mounts with long paths

// Blank, tab, newline and backslash are written as \ooo.
std::string Unescape(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](size_t at) { return text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string_view NextWord(std::string_view& line) {
  const size_t blank = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, blank);
  line.remove_prefix(std::min(blank + 1, line.size()));
  return word;
}

template <class T>
bool ToNumber(std::string_view word, T& number) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return error == std::errc() && end == word.data() + word.size();
}

bool ParseLine(std::string_view line, Mount& mount) {
  if (!ToNumber(NextWord(line), mount.id) || !ToNumber(NextWord(line), mount.parent)) return false;
  const std::string_view device = NextWord(line);
  const size_t colon = device.find(':');
  if (colon == std::string_view::npos) return false;
  if (!ToNumber(device.substr(0, colon), mount.major)) return false;
  if (!ToNumber(device.substr(colon + 1), mount.minor)) return false;
  mount.root = Unescape(NextWord(line));
  mount.point = Unescape(NextWord(line));
  if (mount.root.empty() || mount.point.empty()) return false;
  (void)NextWord(line);  // options of the mount
  for (;;) {
    if (line.empty()) return false;  // the lone dash is missing
    const std::string_view field = NextWord(line);
    if (field == "-") break;
    if (field.starts_with("shared:")) mount.shared = true;
  }
  mount.type = Unescape(NextWord(line));
  return !mount.type.empty();
}

std::string Append(std::string_view base, std::string_view suffix) {
  if (suffix.empty()) return std::string(base);
  std::string path(base == "/" ? "" : base);
  path += suffix;
  return path;
}

// "/a" of "/a/b/c" leaves "/b/c"; the same path leaves "".
std::string_view SuffixOf(std::string_view path, std::string_view ancestor) {
  if (path == ancestor) return "";
  return ancestor == "/" ? path : path.substr(ancestor.size());
}

}  // namespace

MountTable::MountTable(std::vector<Mount> mounts) : mounts_(std::move(mounts)) {
  for (size_t i = 0; i < mounts_.size(); ++i) by_id_[mounts_[i].id] = i;
}

const Mount* MountTable::Find(uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &mounts_[found->second];
}

Result<MountTable> ParseMountInfo(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    Mount mount;
    if (!ParseLine(line, mount)) {
      return Refuse("/proc/self/mountinfo: a line is not as proc(5) has it: " + std::string(line));
    }
    mounts.push_back(std::move(mount));
  }
  return MountTable(std::move(mounts));
}

Result<MountTable> ReadMountTable() {
  Result<std::string> text = ReadFile("/proc/self/mountinfo", kMaxMountInfoBytes);
  if (!text) return Forward(text);
  return ParseMountInfo(*text);
}

std::vector<OtherName> OtherNames(const MountTable& table, std::string_view path,
                                  uint64_t mount_id) {
  std::vector<OtherName> names;
  const Mount* const mine = table.Find(mount_id);
  if (mine == nullptr || !IsAtOrBeneath(path, mine->point)) return names;
  const std::string inside = Append(mine->root, SuffixOf(path, mine->point));
  for (const Mount& mount : table.mounts()) {
    if (mount.major != mine->major || mount.minor != mine->minor) continue;
    OtherName name;
    name.mount_id = mount.id;
    if (IsAtOrBeneath(inside, mount.root)) {
      name.path = Append(mount.point, SuffixOf(inside, mount.root));
    } else if (IsBeneath(mount.root, inside)) {
      name.path = mount.point;
      name.beneath = SuffixOf(mount.root, inside);
    } else {
      continue;
    }
    if (!IsAtOrBeneath(name.path, path)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace landgate::sandbox
