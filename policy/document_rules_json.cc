#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "policy/destination.h"
#include "policy/document_decoder.h"
#include "policy/glob.h"

namespace landgate::policy {
namespace {

bool HasKind(const PathRule& rule, PathKind kind) {
  return std::any_of(rule.targets.begin(), rule.targets.end(),
                     [kind](const PathTarget& target) { return target.kind == kind; });
}

}  // namespace

void Decoder::Target(const JsonCursor& path, PathKind kind, PathRule& into) {
  std::string text = Take(path.String(kLongestPath));
  if (kind == PathKind::kGlob) {
    if (const Status status = CheckGlob(text); !status) {
      Reject(path, status.error().message);
      return;
    }
  } else if (const std::string problem = PathProblem(text); !problem.empty()) {
    Reject(path, problem);
    return;
  } else if (kind == PathKind::kFile && text == "/") {
    Reject(path, "\"/\" is a directory; say beneath");
    return;
  }
  into.targets.push_back({kind, std::move(text)});
}

void Decoder::Verify(const JsonCursor& section, PathRule& into) {
  if (!Check(section.OnlyOf(keys::kVerify))) return;
  if (!section.Has("sha256")) {
    Reject(section, "verify needs a list \"sha256\"");
    return;
  }
  const JsonCursor list = section.At("sha256");
  const auto items = Take(list.Items());
  if (items.empty()) Reject(list, "an empty list; name at least one SHA-256");
  for (const JsonCursor& item : items) {
    std::string digest = Take(item.String());
    for (char& c : digest) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
      Reject(item, "expected the 64 hexadecimal digits of a SHA-256");
    }
    into.verify_sha256.push_back(std::move(digest));
  }
}

// Options that would mean nothing where they stand are errors: whoever wrote them relies on them.
void Decoder::CheckOptions(const JsonCursor& rule, const PathRule& decoded) {
  const bool allow = decoded.effect == Effect::kAllow, deny = decoded.effect == Effect::kDeny;
  if (allow && HasKind(decoded, PathKind::kGlob)) {
    Reject(rule.At("glob"),
           "allow takes no globs: what they match changes with every new file; allow the "
           "directory with beneath");
  }
  if (rule.Has("required") && !allow) {
    Reject(rule.At("required"),
           "only an allow rule takes it: it says that the container's user must be able to reach "
           "the path");
  }
  if (rule.Has("runtime") && allow) {
    Reject(rule.At("runtime"), "only deny and ask take it; allow beneath covers new files anyway");
  }
  if (rule.Has("hardlinks") && !deny) Reject(rule.At("hardlinks"), "only a deny rule takes it");
  if (rule.Has("mask")) {
    const JsonCursor mask = rule.At("mask");
    constexpr Rights kWholeObject = kAll & ~kUnix;
    if (!deny || HasKind(decoded, PathKind::kBeneath) || decoded.runtime ||
        (decoded.rights & kWholeObject) != kWholeObject) {
      Reject(mask,
             "only a rule that denies all on files takes it (deny [\"all\"] with file or "
             "glob, without runtime)");
    }
  }
  if (rule.Has("verify")) {
    if (!allow || HasKind(decoded, PathKind::kBeneath) || (decoded.rights & ~kRead) != 0) {
      Reject(rule.At("verify"),
             "only a rule that allows reading of files takes it (allow "
             "[\"read\"] with file)");
    }
  }
}

void Decoder::Path(const JsonCursor& rule) {
  PathRule decoded;
  std::string_view effect_key;
  if (!Check(rule.OnlyOf(keys::kPathRule)) || !EffectOf(rule, &decoded.effect, &effect_key)) return;
  decoded.origin = OriginOf(rule);
  decoded.rights = RightsOf(rule.At(effect_key), &decoded.names_unix);
  for (const keys::Choice<PathKind>& kind : keys::kTargets) {
    if (!rule.Has(kind.word)) continue;
    const JsonCursor list = rule.At(kind.word);
    const auto items = Take(list.Items());
    if (items.empty()) Reject(list, "an empty list; name at least one path");
    for (const JsonCursor& item : items) Target(item, kind.value, decoded);
  }
  if (!rule.Has("beneath") && !rule.Has("file") && !rule.Has("glob")) {
    Reject(rule, decoded.effect == Effect::kAllow
                     ? "a rule needs at least one of beneath, file"
                     : "a rule needs at least one of beneath, file, glob");
  }
  decoded.optional = Flag(rule, "optional");
  decoded.required = Flag(rule, "required");
  decoded.runtime = Flag(rule, "runtime");
  decoded.final = Flag(rule, "final");
  if (rule.Has("hardlinks")) {
    decoded.accept_hardlinks = Choose(rule.At("hardlinks"), keys::kHardlinks);
  }
  if (rule.Has("mask")) decoded.mask = Choose(rule.At("mask"), keys::kMask);
  if (rule.Has("verify")) Verify(rule.At("verify"), decoded);
  CheckOptions(rule, decoded);
  policy_.paths->push_back(std::move(decoded));
}

void Decoder::Network(const JsonCursor& rule) {
  NetworkRule decoded;
  std::string_view effect_key;
  if (!Check(rule.OnlyOf(keys::kNetworkRule)) || !EffectOf(rule, &decoded.effect, &effect_key))
    return;
  decoded.origin = OriginOf(rule);
  const JsonCursor operations = rule.At(effect_key);
  const auto items = Take(operations.Items());
  if (items.empty()) Reject(operations, "an empty list; say connect, bind, or both");
  for (const JsonCursor& item : items) {
    const std::string word = Take(item.String());
    decoded.connect = decoded.connect || word == "connect";
    decoded.bind = decoded.bind || word == "bind";
    if (std::find(std::begin(keys::kOperations), std::end(keys::kOperations), word) ==
        std::end(keys::kOperations)) {
      Reject(item, OneOf(word, keys::kOperations));
    }
  }
  if (!rule.Has("to")) {
    Reject(rule, "a network rule needs a list \"to\"");
    return;
  }
  const JsonCursor to = rule.At("to");
  const auto destinations = Take(to.Items());
  if (destinations.empty()) Reject(to, "an empty list; name at least one destination");
  for (const JsonCursor& item : destinations) {
    const Result<std::string> text = item.String(kLongestPath);
    if (!text) {
      Note(text.error());
      continue;
    }
    Result<Destination> destination = ParseDestination(*text);
    if (!destination) {
      Reject(item, destination.error().message);
      continue;
    }
    for (const Operation operation : {Operation::kConnect, Operation::kBind}) {
      if (!(operation == Operation::kConnect ? decoded.connect : decoded.bind)) continue;
      if (const Status fits = CheckDestinationFor(operation, *destination); !fits) {
        Reject(item, fits.error().message);
      }
    }
    decoded.to.push_back(std::move(*destination));
  }
  decoded.optional = Flag(rule, "optional");
  decoded.final = Flag(rule, "final");
  policy_.network->push_back(std::move(decoded));
}

}  // namespace landgate::policy
