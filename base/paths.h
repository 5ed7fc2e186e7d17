// Absolute paths as text: no file system is asked. Paths are bytes; nothing assumes UTF-8.
#ifndef LANDGATE_BASE_PATHS_H_
#define LANDGATE_BASE_PATHS_H_

#include <string>
#include <string_view>
#include <vector>

namespace landgate {

// Absolute, no empty, "." or ".." component, no trailing slash but for "/" itself, no NUL,
// shorter than PATH_MAX.
bool IsCleanAbsolute(std::string_view path);

// Removes empty and "." components and trailing slashes. ".." is kept: only a file system knows
// what it means. Empty when `path` is not absolute.
std::string Clean(std::string_view path);

// "/a/b" → {"a", "b"}; "/" → {}.
std::vector<std::string_view> Components(std::string_view clean_path);
// Number of components; 0 for "/".
size_t Depth(std::string_view clean_path);

// True where `path` is `ancestor` or lies beneath it, by whole components.
bool IsAtOrBeneath(std::string_view path, std::string_view ancestor);
// True where `path` lies strictly beneath `ancestor`.
bool IsBeneath(std::string_view path, std::string_view ancestor);

std::string_view Parent(std::string_view clean_path);    // "/" is its own parent
std::string_view Basename(std::string_view clean_path);  // "" for "/"
std::string Join(std::string_view clean_directory, std::string_view name);

}  // namespace landgate

#endif  // LANDGATE_BASE_PATHS_H_
