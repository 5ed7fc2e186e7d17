#include "policy/nearest.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace landgate::policy {
namespace {

constexpr size_t kLongestWord = 64;  // a longer one is no slip of the finger
constexpr size_t kQuotedBytes = 120;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr size_t kEdit = 8;  // what an edit costs; a difference of case costs one

size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = kEdit * j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = kEdit * i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const char x = a[i - 1], y = b[j - 1];
      const size_t replace = x == y ? 0 : Lower(x) == Lower(y) ? 1 : kEdit;
      row[j] = std::min({last[j] + kEdit, row[j - 1] + kEdit, last[j - 1] + replace});
      if (i > 1 && j > 1 && x == b[j - 2] && a[i - 2] == y) {
        row[j] = std::min(row[j], before_last[j - 2] + kEdit);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view nearest;
  if (word.empty() || word.size() > kLongestWord) return nearest;
  size_t limit = kEdit * std::max<size_t>(1, (word.size() + 1) / 3) + 1;
  for (std::string_view candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const size_t distance = Distance(word, candidate);
    if (distance < limit) {
      limit = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string DidYouMean(std::string_view name) {
  if (name.empty()) return "";
  return " (did you mean \"" + std::string(name) + "\"?)";
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  size_t end = std::min(text.size(), kQuotedBytes);
  // Not in the middle of a UTF-8 sequence.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  for (char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      char escaped[5];
      (void)snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      quoted += escaped;
    } else {
      quoted += c;
    }
  }
  quoted += end < text.size() ? "…\"" : "\"";
  return quoted;
}

}  // namespace landgate::policy
