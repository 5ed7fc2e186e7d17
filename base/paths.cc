#include "base/paths.h"

#include <limits.h>

#include <algorithm>

namespace landgate {

std::vector<std::string_view> Components(std::string_view clean_path) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (begin < clean_path.size()) {
    const size_t slash = std::min(clean_path.find('/', begin), clean_path.size());
    if (slash > begin) parts.push_back(clean_path.substr(begin, slash - begin));
    begin = slash + 1;
  }
  return parts;
}

std::string Clean(std::string_view path) {
  if (path.empty() || path.front() != '/') return "";
  std::string clean;
  for (std::string_view part : Components(path)) {
    if (part == ".") continue;
    clean += '/';
    clean += part;
  }
  return clean.empty() ? "/" : clean;
}

bool IsCleanAbsolute(std::string_view path) {
  if (path.size() >= PATH_MAX || path.find('\0') != std::string_view::npos) return false;
  for (std::string_view part : Components(path)) {
    if (part == "..") return false;
  }
  return !path.empty() && Clean(path) == path;
}

size_t Depth(std::string_view clean_path) { return Components(clean_path).size(); }

bool IsBeneath(std::string_view path, std::string_view ancestor) {
  if (ancestor == "/") return path.size() > 1;
  return path.size() > ancestor.size() && path.starts_with(ancestor) &&
         path[ancestor.size()] == '/';
}

bool IsAtOrBeneath(std::string_view path, std::string_view ancestor) {
  return path == ancestor || IsBeneath(path, ancestor);
}

std::string_view Parent(std::string_view clean_path) {
  const size_t slash = clean_path.rfind('/');
  return slash == 0 || slash == std::string_view::npos ? std::string_view("/")
                                                       : clean_path.substr(0, slash);
}

std::string_view Basename(std::string_view clean_path) {
  const size_t slash = clean_path.rfind('/');
  return slash == std::string_view::npos ? clean_path : clean_path.substr(slash + 1);
}

std::string Join(std::string_view clean_directory, std::string_view name) {
  std::string joined(clean_directory);
  if (joined != "/") joined += '/';
  joined += name;
  return joined;
}

}  // namespace landgate
