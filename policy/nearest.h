// "Did you mean …": the known name nearest to a misspelt one. Pure.
#ifndef LANDGATE_POLICY_NEAREST_H_
#define LANDGATE_POLICY_NEAREST_H_

#include <span>
#include <string>
#include <string_view>

namespace landgate::policy {

// By edit distance (insert, delete, replace, swap of neighbours; a difference of case
// hardly counts). Empty where
// no candidate is nearer than about a third of the word's length; the first of equally near ones.
std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates);

// " (did you mean "NAME"?)", or "" where `name` is empty.
std::string DidYouMean(std::string_view name);

// Fit for a one-line message: in double quotes, control characters as \xNN, cut after 120 bytes.
std::string Quoted(std::string_view text);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_NEAREST_H_
