#include "agent/ctl/ctl_policy_list.h"

#include <dirent.h>

#include <map>
#include <memory>

#include "base/files.h"
#include "node/policies.h"
#include "policy/document_json.h"

namespace landgate::ctl {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { (void)closedir(directory); }
};

std::string DescriptionOf(const std::string& name, const std::string& file) {
  Result<std::string> text = ReadFile(file);
  if (!text) return "";
  Result<policy::Policy> decoded = policy::DecodePolicy(*text, name, file);
  return decoded ? decoded->description : "";
}

}  // namespace

std::vector<ListedPolicy> ListPolicies(const node::Config& config) {
  std::map<std::string, ListedPolicy> found;
  for (const std::string& directory : config.policy_dirs) {
    const std::unique_ptr<DIR, CloseDirectory> open(opendir(directory.c_str()));
    if (!open) continue;
    while (const dirent* entry = readdir(open.get())) {
      std::string name = entry->d_name;
      if (!name.ends_with(".json")) continue;
      name.resize(name.size() - 5);
      if (!node::IsPolicyName(name) || found.contains(name)) continue;
      ListedPolicy listed{name, directory + "/" + entry->d_name, "", ""};
      listed.description = DescriptionOf(name, listed.file);
      if (Result<policy::Policy> loaded = node::LoadPolicy(config, name); !loaded)
        listed.problem = loaded.error().message;
      found.emplace(name, std::move(listed));
    }
  }
  std::vector<ListedPolicy> sorted;
  for (auto& [name, listed] : found) sorted.push_back(std::move(listed));
  return sorted;
}

}  // namespace landgate::ctl
