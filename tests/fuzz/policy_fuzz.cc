// fuzz: policy
// A policy document's text, as it comes from a file or, from whoever starts the container, in an
// annotation: decoded, merged with itself under another name, examined and asked. Nothing may
// crash, every refusal is one line that names the place, and whatever is decided is decided twice
// alike.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policy/decide_network.h"
#include "policy/decide_path.h"
#include "policy/document_json.h"
#include "policy/merge.h"
#include "policy/supported.h"

namespace {

using namespace landgate;  // NOLINT: a program of one file

void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckMessage(const std::string& message, std::string_view begins_with) {
  Require(message.starts_with(begins_with));
  Require(message.find_first_of(std::string_view("\n\r\0", 3)) == std::string::npos);
}

void Use(const policy::Policy& decoded, std::string_view text) {
  for (const policy::Finding& finding : policy::Examine(decoded)) CheckMessage(finding.message, "");

  const Result<policy::Policy> merged = policy::ResolveExtends(
      decoded, [&](const std::string& name) { return policy::DecodePolicy(text, name, "other"); });
  if (!merged) {
    CheckMessage(merged.error().message, "");
    return;
  }
  Require(merged->landlock == decoded.landlock);
  Require(merged->paths.has_value() == decoded.paths.has_value());

  const policy::PathRules rules(*merged);
  for (const policy::ResolvedTarget& target : rules.targets()) {
    if (target.kind == policy::PathKind::kGlob) continue;
    const policy::Decision decision = rules.Decide(target.path, policy::kAll);
    const policy::Decision again = rules.Decide(target.path, policy::kAll);
    Require(decision.verdict == again.verdict && decision.rule == again.rule);
    const policy::Rights allowed = rules.Allowed(target.path, policy::kAll);
    Require((decision.verdict == policy::Verdict::kAllow) == (allowed == policy::kAll));
    if (rules.targets().size() > 200)
      break;  // quadratic by nature; depth is not what is looked for
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<policy::Policy> file = policy::DecodePolicy(text, "p", "p.json");
  const Result<policy::Policy> inline_policy = policy::DecodeInlinePolicy(text, "a");
  if (file) {
    Use(*file, text);
  } else {
    CheckMessage(file.error().message, "p.json:");
    Require(!inline_policy);  // an inline policy says nothing that a file could not
  }
  if (!inline_policy) {
    CheckMessage(inline_policy.error().message, "annotation a:");
  } else {
    Require(inline_policy->extends.empty());
  }
  return 0;
}
