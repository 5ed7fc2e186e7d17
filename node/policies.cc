#include "node/policies.h"

#include <errno.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/paths.h"
#include "oci-specs/annotations.h"
#include "policy/document_json.h"
#include "policy/json_reader.h"
#include "policy/merge.h"
#include "policy/rights.h"
#include "policy/supported.h"

namespace landgate::node {
namespace {

// Labels are no part of config.json; CRI-O hands them over in this annotation, as a JSON object.
constexpr std::string_view kLabelsAnnotation = "io.kubernetes.cri-o.Labels";

constexpr std::string_view kModePlace = "annotation io.landgate.mode";

using Labels = std::map<std::string, std::string>;

Result<policy::Policy> FindPolicy(const std::vector<std::string>& dirs, const std::string& name) {
  if (!IsPolicyName(name)) {
    return Refuse(
        "policy \"" + name +
        "\": not a policy's name (letters, digits, . _ - only); put the file into a policy "
        "directory and name it without .json");
  }
  std::string searched;
  for (const std::string& dir : dirs) {
    const std::string file = Join(dir, name + ".json");
    Result<std::string> text = ReadTrustedFile(file, geteuid());
    if (text) return policy::DecodePolicy(*text, name, file);
    if (text.error().error_number != ENOENT) return Context("policy", text);
    searched += (searched.empty() ? "" : ", ") + dir;
  }
  return Refuse("policy \"" + name + "\": there is no " + name + ".json in " + searched);
}

// `protected` beats every policy. Where a policy restricts no files, all of them stay allowed.
void AddProtected(const Config& config, policy::Policy& policy) {
  if (config.protected_paths.empty()) return;
  if (!policy.paths) {
    policy::PathRule everything;
    everything.effect = policy::Effect::kAllow;
    everything.rights = policy::kAll;
    everything.targets = {{policy::PathKind::kBeneath, "/"}};
    everything.origin = {config.file, "/protected"};
    policy.paths = {everything};
  }
  for (size_t i = 0; i < config.protected_paths.size(); ++i) {
    policy::PathRule rule;
    rule.effect = policy::Effect::kDeny;
    rule.rights = policy::kAll;
    rule.targets = {{policy::PathKind::kBeneath, config.protected_paths[i]}};
    rule.optional = true;  // the list is the node's; few containers have all of it
    rule.final = true;
    rule.is_protected = true;
    rule.origin = {config.file, "/protected/" + std::to_string(i)};
    policy.paths->push_back(std::move(rule));
  }
}

Result<policy::Policy> Finish(const Config& config, const policy::Policy& document,
                              const policy::PolicyLookup& lookup) {
  Result<policy::Policy> merged = policy::ResolveExtends(document, lookup);
  if (!merged) return merged;
  AddProtected(config, *merged);
  if (Status ok = policy::CheckSupported(*merged); !ok) return Forward(ok);
  return merged;
}

bool Matches(const std::map<std::string, std::string>& globs,
             const std::map<std::string, std::string>& values) {
  for (const auto& [key, glob] : globs) {
    const auto value = values.find(key);
    // Without FNM_PATHNAME: values are image names and the like, where * means anything.
    if (value == values.end() || fnmatch(glob.c_str(), value->second.c_str(), 0) != 0) return false;
  }
  return true;
}

// Absent: this engine hands no labels over.
Result<std::optional<Labels>> ReadLabels(const std::map<std::string, std::string>& annotations) {
  const auto found = annotations.find(std::string(kLabelsAnnotation));
  if (found == annotations.end()) return std::optional<Labels>();
  const std::string place = "annotation " + std::string(kLabelsAnnotation);
  Result<policy::Json> json = policy::ParseJson(found->second, place, policy::Comments::kRefused);
  if (!json) return Forward(json);
  const policy::JsonCursor root(*json, place);
  if (Status ok = root.IsObject(); !ok) return Forward(ok);
  Labels labels;
  for (const std::string& key : root.Keys()) {
    Result<std::string> value = root.At(key).String();
    if (!value) return Forward(value);
    labels[key] = std::move(*value);
  }
  return std::optional<Labels>(std::move(labels));
}

// The first rule that matches; nullptr where none does.
Result<const SelectionRule*> MatchRules(const Config& config,
                                        const std::map<std::string, std::string>& annotations) {
  const SelectionRule* none = nullptr;
  std::optional<Labels> labels;
  bool read = false;
  for (size_t i = 0; i < config.rules.size(); ++i) {
    const SelectionRule& rule = config.rules[i];
    if (!Matches(rule.annotations, annotations)) continue;
    if (!rule.labels.empty()) {
      if (!read) {
        Result<std::optional<Labels>> decoded = ReadLabels(annotations);
        if (!decoded) return Forward(decoded);
        labels = std::move(*decoded);
        read = true;
      }
      if (!labels) {
        // Going on would leave out a policy that the administrator wants for some containers.
        return Refuse(config.file + ": /rules/" + std::to_string(i) +
                      "/match/labels: this engine hands no labels to the runtime (CRI-O does); "
                      "match annotations instead");
      }
      if (!Matches(rule.labels, *labels)) continue;
    }
    return &rule;
  }
  return none;
}

Result<policy::Policy> LoadInline(const Config& config, const oci::Annotations& annotations) {
  const std::string place = "annotation " + annotations.policy_key;
  if (config.inline_policies == InlinePolicies::kDeny) {
    return Refuse(place + ": inline policies are switched off by " + config.file +
                  ": /inlinePolicies; name a policy of the node");
  }
  Result<policy::Policy> document =
      policy::DecodeInlinePolicy(*annotations.policy, annotations.policy_key);
  if (!document) return document;
  return Finish(config, *document, [&](const std::string&) -> Result<policy::Policy> {
    return Refuse(place + ": /extends: an inline policy extends nothing");
  });
}

// `by_node`: the node itself chose a policy for this container.
Status CheckAudit(const Config& config, const SelectionRule* rule, bool by_node, bool is_inline,
                  bool named) {
  const std::string place(kModePlace);
  if (is_inline) {
    return Refuse(place +
                  ": audit takes no inline policy, which can only take away; name a policy "
                  "of the node");
  }
  if (!by_node && !named) {
    return Refuse(place + ": audit of what? No policy is selected; name one by io.landgate.policy");
  }
  if (by_node && (rule == nullptr || !rule->annotations.contains("io.landgate.mode"))) {
    return Refuse(place + ": audit would take away what this node requires of the container; let " +
                  (config.file.empty() ? "config.json" : config.file) +
                  " allow it, by a rule whose match names io.landgate.mode, or remove the "
                  "annotation");
  }
  return {};
}

}  // namespace

Result<policy::Policy> LoadPolicy(const Config& config, const std::string& name) {
  const policy::PolicyLookup lookup = [&](const std::string& extended) {
    return FindPolicy(config.policy_dirs, extended);
  };
  Result<policy::Policy> document = lookup(name);
  if (!document) return document;
  return Finish(config, *document, lookup);
}

Result<policy::Policy> LoadPolicyFile(const Config& config, const std::string& path) {
  Result<std::string> text = ReadTrustedFile(path, geteuid());
  if (!text) return Context("policy", text);
  const size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.ends_with(".json")) name.resize(name.size() - 5);
  Result<policy::Policy> document = policy::DecodePolicy(*text, name, path);
  if (!document) return document;
  std::vector<std::string> dirs = {slash == std::string::npos ? "." : path.substr(0, slash + 1)};
  dirs.insert(dirs.end(), config.policy_dirs.begin(), config.policy_dirs.end());
  return Finish(config, *document,
                [&](const std::string& extended) { return FindPolicy(dirs, extended); });
}

Result<Selection> SelectPolicies(const Config& config,
                                 const std::map<std::string, std::string>& annotations,
                                 const std::string& forced) {
  Result<oci::Annotations> chosen = oci::ReadAnnotations(annotations);
  if (!chosen) return Forward(chosen);
  if (chosen->mode == oci::Mode::kLearn) {
    return Refuse(std::string(kModePlace) +
                  ": learn is not supported in this build; remove the annotation");
  }
  Result<const SelectionRule*> rule = MatchRules(config, annotations);
  if (!rule) return Forward(rule);

  const bool is_inline = chosen->policy && chosen->policy->starts_with('{');
  if (chosen->mode == oci::Mode::kAudit) {
    const bool by_node = config.default_policy || *rule || !forced.empty();
    if (Status ok = CheckAudit(config, *rule, by_node, is_inline, chosen->policy.has_value());
        !ok) {
      return Forward(ok);
    }
  }
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  // The rule lets its policy stand in for the default one, so nothing else may have been chosen.
  const bool replaced =
      *rule && (*rule)->replace_default && (!chosen->policy || *chosen->policy == (*rule)->policy);
  if (config.default_policy && !replaced) add(*config.default_policy);
  if (*rule) add((*rule)->policy);
  if (!forced.empty()) add(forced);
  if (chosen->policy && !is_inline) add(*chosen->policy);

  Selection selection;
  selection.mode = chosen->mode.value_or(oci::Mode::kEnforce);
  for (const std::string& name : names) {
    Result<policy::Policy> policy = LoadPolicy(config, name);
    if (!policy) {
      const bool by_annotation = chosen->policy && *chosen->policy == name;
      if (by_annotation) return Context("annotation " + chosen->policy_key, policy);
      return Forward(policy);
    }
    selection.policies.push_back(std::move(*policy));
  }
  if (is_inline) {
    Result<policy::Policy> policy = LoadInline(config, *chosen);
    if (!policy) return Forward(policy);
    selection.policies.push_back(std::move(*policy));
  }
  return selection;
}

}  // namespace landgate::node
