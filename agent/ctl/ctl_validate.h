// Everything there is to say about a policy file, not only its first mistake.
#ifndef LANDGATE_AGENT_CTL_CTL_VALIDATE_H_
#define LANDGATE_AGENT_CTL_CTL_VALIDATE_H_

#include <string>
#include <string_view>
#include <vector>

#include "node/config.h"
#include "policy/supported.h"

namespace landgate::ctl {

struct Validated {
  std::string file;  // as the user named it
  std::vector<policy::Finding> findings;
  size_t refusals() const;
  size_t warnings() const;
};

// `file` is a path, or "-" for stdin.
Validated ValidateFile(const node::Config& config, const std::string& file);

// Mistakes of decoding: all of them, as far as they can be told apart. The decoder stops at the
// first; what it named is taken out and it is asked again, so an entry of `paths`, `network` or
// `landlock` shows its unknown keys and one further mistake, any other section likewise.
std::vector<policy::Finding> DecodeFindings(std::string_view text, const std::string& name,
                                            const std::string& file);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_VALIDATE_H_
