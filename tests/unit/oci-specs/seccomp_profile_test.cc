#include "oci-specs/seccomp_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

namespace landgate::oci {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::ordered_json;

struct Opened {
  std::string text;
  ProfileChange change;
};

Opened Open(const std::string& profile) {
  Result<JsonText> document = JsonText::Parse(profile, "config.json");
  EXPECT_TRUE(document) << profile;
  Result<ProfileChange> change = OpenForLauncher(*document, document->root());
  EXPECT_TRUE(change) << (change ? "" : change.error().message);
  return {document->Write(), change ? *change : ProfileChange{}};
}

// The same once more must change nothing and report the same.
Opened OpenTwice(const std::string& profile) {
  Opened first = Open(profile);
  const Opened second = Open(first.text);
  EXPECT_EQ(first.text, second.text);
  EXPECT_EQ(first.change.opened, second.change.opened);
  EXPECT_EQ(first.change.profile_errno, second.change.profile_errno);
  return first;
}

std::string Add(const std::string& profile, const std::vector<std::string>& names,
                Status (*add)(JsonText&, JsonNode&, const std::vector<std::string>&)) {
  Result<JsonText> document = JsonText::Parse(profile, "config.json");
  EXPECT_TRUE(document) << profile;
  Status status = add(*document, document->root(), names);
  return status ? document->Write() : "error: " + status.error().message;
}

std::string Notify(const std::string& profile, const std::vector<std::string>& names) {
  const std::string once = Add(profile, names, AddNotify);
  EXPECT_EQ(once.starts_with("error") ? once : Add(once, names, AddNotify), once);
  return once;
}

std::string NotifyObsolete(const std::string& profile, const std::vector<std::string>& names) {
  const std::string once = Add(profile, names, AddObsoleteNotify);
  EXPECT_EQ(once.starts_with("error") ? once : Add(once, names, AddObsoleteNotify), once);
  return once;
}

std::string Remove(const std::string& profile, const std::vector<std::string>& keep) {
  Result<JsonText> document = JsonText::Parse(profile, "config.json");
  EXPECT_TRUE(document) << profile;
  RemoveNotify(*document, document->root(), keep);
  return document->Write();
}

constexpr char kAllLauncher[] =
    R"("landlock_create_ruleset","landlock_add_rule","landlock_restrict_self","prctl","capset","capget","seccomp","openat2","statx")";
const std::string kAllAllowed =
    std::string(R"({"names":[)") + kAllLauncher + R"(],"action":"SCMP_ACT_ALLOW"})";

std::string Profile(const std::string& default_action, const std::string& entries,
                    const std::string& more = "") {
  return R"({"defaultAction":")" + default_action + "\"" + more + R"(,"syscalls":[)" + entries +
         "]}";
}

TEST(OpenForLauncherTest, WhatIsAllowedStaysUntouched) {
  for (const std::string& profile :
       {Profile("SCMP_ACT_ALLOW", ""), Profile("SCMP_ACT_LOG", ""),
        std::string(R"({"defaultAction":"SCMP_ACT_ALLOW"})"),
        std::string(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":null})"),
        Profile("SCMP_ACT_ERRNO", kAllAllowed),
        Profile("SCMP_ACT_KILL",
                std::string(R"({"names":[)") + kAllLauncher + R"(],"action":"SCMP_ACT_LOG"})")}) {
    const Opened opened = OpenTwice(profile);
    EXPECT_EQ(opened.text, profile);
    EXPECT_THAT(opened.change.opened, IsEmpty());
  }
}

TEST(OpenForLauncherTest, ADenyingDefaultIsOpenedInOneLastEntry) {
  for (const char* action : {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                             "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_TRACE"}) {
    const std::string entry =
        R"({"names":["read","prctl","capget"],"action":"SCMP_ACT_ALLOW","args":[]})";
    const Opened opened = OpenTwice(Profile(action, entry));
    EXPECT_THAT(opened.change.opened,
                ElementsAre("landlock_create_ruleset", "landlock_add_rule",
                            "landlock_restrict_self", "capset", "seccomp", "openat2", "statx"));
    const Json changed = Json::parse(opened.text);
    ASSERT_EQ(changed["syscalls"].size(), 2U);
    EXPECT_EQ(changed["syscalls"][0], Json::parse(entry));
    std::vector<std::string> marked = opened.change.opened;
    marked.push_back(marked.front());
    EXPECT_EQ(changed["syscalls"][1], Json({{"names", marked}, {"action", "SCMP_ACT_ALLOW"}}));
  }
}

TEST(OpenForLauncherTest, ErrnoOfTheProfile) {
  const auto errno_of = [](const std::string& action, const std::string& more) {
    return OpenTwice(Profile(action, "", more)).change.profile_errno;
  };
  EXPECT_EQ(errno_of("SCMP_ACT_ERRNO", ""), 1);
  EXPECT_EQ(errno_of("SCMP_ACT_ERRNO", R"(,"defaultErrnoRet":38)"), 38);
  EXPECT_EQ(errno_of("SCMP_ACT_TRACE", R"(,"defaultErrnoRet":38)"), 38);
  EXPECT_EQ(errno_of("SCMP_ACT_KILL", R"(,"defaultErrnoRet":38)"), 1);
  EXPECT_EQ(errno_of("SCMP_ACT_ERRNO", R"(,"defaultErrnoRet":null)"), 1);
}

TEST(OpenForLauncherTest, ExplicitDeniesLoseOurNamesAlone) {
  for (const char* action : {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                             "SCMP_ACT_TRAP", "SCMP_ACT_TRACE"}) {
    const std::string deny = std::string(R"(,"action":")") + action + R"(","errnoRet":1})";
    const Opened opened =
        OpenTwice(Profile("SCMP_ACT_ALLOW", R"({"names":["bpf","prctl","mount"])" + deny +
                                                R"(,{"names":["seccomp"])" + deny +
                                                R"(,{"names":["prctl","ptrace"])" + deny));
    EXPECT_THAT(opened.change.opened, ElementsAre("prctl", "seccomp"));
    EXPECT_EQ(opened.text,
              Profile("SCMP_ACT_ALLOW",
                      R"({"names":["bpf","mount"])" + deny + R"(,{"names":["ptrace"])" + deny +
                          R"(,{"names":["prctl","seccomp","prctl"],"action":"SCMP_ACT_ALLOW"})"));
  }
}

TEST(OpenForLauncherTest, TheLastUnconditionalRuleWins) {
  const std::string allow = R"({"names":["prctl"],"action":"SCMP_ACT_ALLOW"})";
  const std::string deny = R"({"names":["prctl"],"action":"SCMP_ACT_KILL"})";
  const std::string rest =
      std::string(R"({"names":["landlock_create_ruleset","landlock_add_rule",)") +
      R"("landlock_restrict_self","capset","capget","seccomp","openat2","statx"],"action":"SCMP_ACT_ALLOW"},)";
  EXPECT_THAT(OpenTwice(Profile("SCMP_ACT_ERRNO", rest + deny + "," + allow)).change.opened,
              IsEmpty());
  EXPECT_THAT(OpenTwice(Profile("SCMP_ACT_ERRNO", rest + allow + "," + deny)).change.opened,
              ElementsAre("prctl"));
  // An entry with the default's own action and errno is no rule at all.
  const std::string same = R"({"names":["prctl"],"action":"SCMP_ACT_ERRNO"})";
  EXPECT_THAT(OpenTwice(Profile("SCMP_ACT_ERRNO", rest + allow + "," + same)).change.opened,
              IsEmpty());
  const std::string other = R"({"names":["prctl"],"action":"SCMP_ACT_ERRNO","errnoRet":38})";
  EXPECT_THAT(OpenTwice(Profile("SCMP_ACT_ERRNO", rest + allow + "," + other)).change.opened,
              ElementsAre("prctl"));
}

TEST(OpenForLauncherTest, ConditionsAreLeftToTheLauncher) {
  const std::string condition =
      R"("args":[{"index":0,"value":18446744073709551615,"valueTwo":0,"op":"SCMP_CMP_EQ"}])";
  const std::string deny =
      R"({"names":["prctl","seccomp"],"action":"SCMP_ACT_ERRNO",)" + condition + "}";
  Opened opened = OpenTwice(Profile("SCMP_ACT_ALLOW", deny));
  EXPECT_EQ(opened.text, Profile("SCMP_ACT_ALLOW", deny));
  EXPECT_THAT(opened.change.opened, IsEmpty());

  const std::string allow =
      R"({"names":["prctl","personality"],"action":"SCMP_ACT_ALLOW",)" + condition + "}";
  opened = OpenTwice(Profile("SCMP_ACT_ERRNO", allow));
  EXPECT_THAT(opened.change.opened, ::testing::Not(::testing::Contains("prctl")));
  EXPECT_THAT(opened.text, HasSubstr(allow));

  // An unconditional deny beside the condition swallows it: then it is denied, and opened.
  opened = OpenTwice(
      Profile("SCMP_ACT_ALLOW", deny + R"(,{"names":["prctl"],"action":"SCMP_ACT_ERRNO"})"));
  EXPECT_THAT(opened.change.opened, ElementsAre("prctl"));
  EXPECT_EQ(Json::parse(opened.text)["syscalls"][0]["names"], Json({"seccomp"}));
}

TEST(OpenForLauncherTest, NotifiedForSomebodyElseStays) {
  const std::string entry = R"({"names":["prctl"],"action":"SCMP_ACT_NOTIFY"})";
  const Opened opened = OpenTwice(Profile("SCMP_ACT_ALLOW", entry));
  EXPECT_EQ(opened.text, Profile("SCMP_ACT_ALLOW", entry));
}

TEST(OpenForLauncherTest, ADenyAddedBehindOurEntryIsOpenedAgain) {
  const Opened first = OpenTwice(Profile("SCMP_ACT_ERRNO", kAllAllowed));
  EXPECT_THAT(first.change.opened, IsEmpty());
  const Opened patched = OpenTwice(Profile("SCMP_ACT_ERRNO", ""));
  EXPECT_THAT(patched.change.opened, ElementsAreArray(kLauncherSyscalls));
  Json tampered = Json::parse(patched.text);
  tampered["syscalls"].push_back(
      Json::parse(R"({"names":["prctl","bpf"],"action":"SCMP_ACT_KILL"})"));
  const Opened again = OpenTwice(tampered.dump());
  EXPECT_THAT(again.change.opened, ElementsAreArray(kLauncherSyscalls));
  EXPECT_EQ(Json::parse(again.text)["syscalls"][1]["names"], Json({"bpf"}));
}

// The launcher's first act is a call that no kernel has; a profile that kills for it must not.
TEST(OpenForLauncherTest, TheLaunchersQuestionMustNotKill) {
  const auto open = [](const std::string& profile, bool without_listener) {
    std::string text = profile;
    std::vector<std::string> opened;
    for (int time = 0; time < 2; ++time) {
      Result<JsonText> document = JsonText::Parse(text, "config.json");
      EXPECT_TRUE(document);
      Result<ProfileChange> change = OpenForLauncher(*document, document->root(), without_listener);
      EXPECT_TRUE(change);
      if (time == 1) {
        EXPECT_EQ(document->Write(), text);
      }
      text = document->Write();
      opened = change->opened;
    }
    return opened;
  };
  const std::string marked = R"({"names":["nfsservctl"],"action":)";
  for (const char* kills :
       {"SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"}) {
    EXPECT_THAT(open(Profile(kills, kAllAllowed), true), ElementsAre("nfsservctl"));
    EXPECT_THAT(open(Profile("SCMP_ACT_ALLOW", marked + '"' + kills + "\"}"), true),
                ElementsAre("nfsservctl"));
    EXPECT_THAT(open(Profile(kills, kAllAllowed), false), IsEmpty());
  }
  for (const char* harmless : {"SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"}) {
    EXPECT_THAT(open(Profile(harmless, kAllAllowed), true), IsEmpty());
  }
}

TEST(OpenForLauncherTest, UnknownFieldsAndArchitecturesStay) {
  const std::string more =
      R"(,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"new":1.10)";
  const Opened opened = OpenTwice(Profile(
      "SCMP_ACT_ERRNO", R"({"names":["prctl","x"],"action":"SCMP_ACT_KILL","note":-0})", more));
  EXPECT_THAT(opened.text, HasSubstr(more));
  EXPECT_THAT(opened.text, HasSubstr(R"({"names":["x"],"action":"SCMP_ACT_KILL","note":-0})"));
}

TEST(OpenForLauncherTest, MalformedProfilesAreRefusedWithTheirPlace) {
  const auto error_of = [](const std::string& profile) {
    Result<JsonText> document = JsonText::Parse(profile, "config.json");
    EXPECT_TRUE(document);
    Result<ProfileChange> change = OpenForLauncher(*document, document->root());
    return change ? "accepted" : change.error().message;
  };
  EXPECT_THAT(error_of("[]"), HasSubstr("config.json: /linux/seccomp: "));
  EXPECT_THAT(error_of("{}"), HasSubstr("/linux/seccomp/defaultAction"));
  EXPECT_THAT(error_of(R"({"defaultAction":1})"), HasSubstr("/defaultAction"));
  EXPECT_THAT(error_of(R"({"defaultAction":"SCMP_ACT_ERRNO","DefaultAction":"SCMP_ACT_ALLOW"})"),
              HasSubstr("/DefaultAction"));
  EXPECT_THAT(error_of(R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000})"),
              HasSubstr("/defaultErrnoRet"));
  EXPECT_THAT(error_of(Profile("SCMP_ACT_ALLOW", "1")), HasSubstr("/syscalls/0"));
  EXPECT_THAT(error_of(Profile("SCMP_ACT_ALLOW", R"({"names":["a"]})")),
              HasSubstr("/syscalls/0/action"));
  EXPECT_THAT(error_of(Profile("SCMP_ACT_ALLOW", R"({"action":"SCMP_ACT_KILL"})")),
              HasSubstr("/syscalls/0/names"));
  EXPECT_THAT(error_of(Profile("SCMP_ACT_ALLOW", R"({"names":[1],"action":"SCMP_ACT_KILL"})")),
              HasSubstr("/names"));
  EXPECT_THAT(
      error_of(Profile("SCMP_ACT_ALLOW", R"({"names":["a"],"action":"SCMP_ACT_KILL","args":{}})")),
      HasSubstr("/args"));
  EXPECT_THAT(error_of(Profile("SCMP_ACT_ALLOW",
                               R"({"names":["a"],"NAMES":["b"],"action":"SCMP_ACT_KILL"})")),
              HasSubstr("/NAMES"));
}

TEST(AddNotifyTest, AllowedCallsAreNotifiedDeniedOnesStayDenied) {
  EXPECT_EQ(
      Notify(Profile("SCMP_ACT_ERRNO",
                     R"({"names":["open","openat","read"],"action":"SCMP_ACT_ALLOW"})"),
             {"open", "openat", "mount"}),
      Profile("SCMP_ACT_ERRNO", R"({"names":["open","openat","open"],"action":"SCMP_ACT_NOTIFY"},)"
                                R"({"names":["read"],"action":"SCMP_ACT_ALLOW"})"));
  EXPECT_EQ(Notify(Profile("SCMP_ACT_ALLOW", R"({"names":["mount"],"action":"SCMP_ACT_ERRNO"})"),
                   {"open", "mount"}),
            Profile("SCMP_ACT_ALLOW", R"({"names":["open","open"],"action":"SCMP_ACT_NOTIFY"},)"
                                      R"({"names":["mount"],"action":"SCMP_ACT_ERRNO"})"));
}

TEST(AddNotifyTest, ConditionallyAllowedCallsAreNotifiedByTheSameCondition) {
  const std::string args = R"("args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}])";
  const std::string both =
      R"({"names":["personality","socket"],"action":"SCMP_ACT_ALLOW",)" + args + "}";
  EXPECT_EQ(Notify(Profile("SCMP_ACT_ERRNO", both), {"socket"}),
            Profile("SCMP_ACT_ERRNO",
                    R"({"names":["socket","socket"],"action":"SCMP_ACT_NOTIFY",)" + args +
                        R"(},{"names":["personality"],"action":"SCMP_ACT_ALLOW",)" + args + "}"));
}

TEST(AddNotifyTest, WhatCantBeMergedIsRefused) {
  const std::string args = R"("args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}])";
  EXPECT_THAT(Notify(Profile("SCMP_ACT_ALLOW",
                             R"({"names":["socket"],"action":"SCMP_ACT_ERRNO",)" + args + "}"),
                     {"socket"}),
              HasSubstr("denies socket by its arguments"));
  EXPECT_THAT(
      Notify(Profile("SCMP_ACT_ALLOW", R"({"names":["socket"],"action":"SCMP_ACT_NOTIFY"})"),
             {"socket"}),
      HasSubstr("somebody else"));
}

TEST(AddNotifyTest, WhatIsOpenForTheLauncherAloneIsNotNotified) {
  const std::string opened = Open(Profile("SCMP_ACT_ERRNO", "")).text;
  EXPECT_EQ(Notify(opened, {"prctl"}), opened);
}

TEST(AddNotifyTest, ObsoleteCallsAreNotifiedWhateverTheProfileSays) {
  const std::string rule = R"({"names":["nfsservctl","nfsservctl"],"action":"SCMP_ACT_NOTIFY"})";
  EXPECT_EQ(NotifyObsolete(Profile("SCMP_ACT_ERRNO", ""), {kExecRefusalSyscall}),
            Profile("SCMP_ACT_ERRNO", rule));
  EXPECT_EQ(NotifyObsolete(Profile("SCMP_ACT_ALLOW", ""), {kExecRefusalSyscall}),
            Profile("SCMP_ACT_ALLOW", rule));
  EXPECT_EQ(
      NotifyObsolete(Profile("SCMP_ACT_ERRNO",
                             R"({"names":["nfsservctl"],"action":"SCMP_ACT_ERRNO","errnoRet":1})"),
                     {kExecRefusalSyscall}),
      Profile("SCMP_ACT_ERRNO", rule));
  EXPECT_THAT(NotifyObsolete(Profile("SCMP_ACT_ALLOW", ""), {"mount"}),
              HasSubstr("mount is in use"));
}

TEST(RemoveNotifyTest, GivesBackWhatTheEngineHad) {
  const std::string args = R"("args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}])";
  const std::string entry = R"({"names":["socket"],"action":"SCMP_ACT_ALLOW",)" + args +
                            R"(},{"names":["open"],"action":"SCMP_ACT_ALLOW"})";
  const std::string notified =
      NotifyObsolete(Notify(Profile("SCMP_ACT_ERRNO", entry), {"open", "socket"}), {"uselib"});
  const Json removed = Json::parse(Remove(notified, {}));
  const Json engines = Json::parse(Profile("", entry));
  for (const Json& rule : engines["syscalls"]) {
    EXPECT_THAT(removed["syscalls"], ::testing::Contains(rule));
  }
  EXPECT_EQ(removed["syscalls"].size(), 2U);
  EXPECT_EQ(Remove(notified, {"open", "socket", "uselib"}), notified);
  EXPECT_EQ(Remove(NotifyObsolete(Profile("SCMP_ACT_ALLOW", ""), {"uselib"}), {}),
            Profile("SCMP_ACT_ALLOW", ""));
}

TEST(FindNotifyEntriesTest, TellsOursFromOthers) {
  const auto find = [](const std::string& profile) {
    Result<JsonText> document = JsonText::Parse(profile, "f");
    const NotifyEntries found = FindNotifyEntries(document->root());
    return std::pair(found.ours, found.foreign);
  };
  EXPECT_EQ(find(Profile("SCMP_ACT_ERRNO", "")), std::pair(false, false));
  EXPECT_EQ(find(Profile("SCMP_ACT_NOTIFY", "")), std::pair(false, true));
  EXPECT_EQ(find(NotifyObsolete(Profile("SCMP_ACT_ERRNO", ""), {"uselib"})),
            std::pair(true, false));
  EXPECT_EQ(find(NotifyObsolete(
                Profile("SCMP_ACT_ERRNO", R"({"names":["open"],"action":"SCMP_ACT_NOTIFY"})"),
                {"uselib"})),
            std::pair(true, true));
}

// --- properties ------------------------------------------------------------------------------

// Generators hand out text: rapidcheck could not show a Json.
rc::Gen<std::string> GenEntry() {
  return rc::gen::exec([] {
    const std::vector<std::string> names = {"prctl", "seccomp", "capset", "landlock_add_rule",
                                            "read",  "bpf",     "open",   "statx"};
    Json entry;
    entry["names"] = Json::array({*rc::gen::elementOf(names)});
    for (const std::string& name : names) {
      if (entry["names"][0] != name && *rc::gen::inRange(0, 4) == 0) entry["names"].push_back(name);
    }
    entry["action"] =
        *rc::gen::element<std::string>("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",
                                       "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY");
    if (*rc::gen::arbitrary<bool>()) entry["errnoRet"] = *rc::gen::element(1, 38);
    if (*rc::gen::inRange(0, 3) == 0) {
      entry["args"] = Json::array({Json{{"index", *rc::gen::inRange(0, 3)},
                                        {"value", *rc::gen::inRange(0, 9)},
                                        {"op", "SCMP_CMP_EQ"}}});
    }
    return entry.dump();
  });
}

rc::Gen<std::string> GenProfile() {
  return rc::gen::exec([] {
    Json profile;
    profile["defaultAction"] =
        *rc::gen::element<std::string>("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL");
    if (*rc::gen::arbitrary<bool>()) profile["defaultErrnoRet"] = 38;
    profile["syscalls"] = Json::array();
    for (const std::string& entry : *rc::gen::container<std::vector<std::string>>(GenEntry())) {
      profile["syscalls"].push_back(Json::parse(entry));
    }
    return profile.dump();
  });
}

// The rules of one name, in order, without the names of others.
std::vector<Json> RulesOf(const Json& profile, const std::string& name) {
  std::vector<Json> rules;
  for (Json entry : profile["syscalls"]) {
    const auto& names = entry["names"];
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    entry.erase("names");
    rules.push_back(entry);
  }
  return rules;
}

RC_GTEST_PROP(OpenForLauncherTest, EveryOtherNameKeepsItsRules, ()) {
  const Json before = Json::parse(*GenProfile());
  const Opened opened = OpenTwice(before.dump());
  const Json after = Json::parse(opened.text);
  const auto& names = opened.change.opened;
  for (const char* name :
       {"prctl", "seccomp", "capset", "landlock_add_rule", "read", "bpf", "open", "statx"}) {
    const auto rules = RulesOf(after, name);
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      RC_ASSERT((rules == RulesOf(before, name)));
    } else {
      RC_ASSERT((rules == std::vector<Json>(1, Json({{"action", "SCMP_ACT_ALLOW"}}))));
    }
  }
}

// A notification never stands where the engine's profile denied.
RC_GTEST_PROP(AddNotifyTest, NeverGrantsWhatTheProfileDenies, ()) {
  const Json before = Json::parse(*GenProfile());
  const std::string text = Add(before.dump(), {"read", "bpf"}, AddNotify);
  if (text.starts_with("error")) return;
  RC_ASSERT(Add(text, {"read", "bpf"}, AddNotify) == text);
  const Json after = Json::parse(text);
  RC_ASSERT((RulesOf(after, "open") == RulesOf(before, "open")));
  for (const char* name : {"read", "bpf"}) {
    const std::string fallback = before["defaultAction"];
    std::string last = fallback;  // the last unconditional rule, as libseccomp has it
    bool conditional_allow = false;
    for (const Json& rule : RulesOf(before, name)) {
      const std::string action = rule["action"];
      const bool skipped =
          action == fallback && (action != "SCMP_ACT_ERRNO" ||
                                 rule.value("errnoRet", 1) == before.value("defaultErrnoRet", 1));
      if (skipped) continue;
      if (rule.contains("args")) {
        conditional_allow |= action == "SCMP_ACT_ALLOW" || action == "SCMP_ACT_LOG";
      } else {
        last = action;
      }
    }
    for (const Json& rule : RulesOf(after, name)) {
      const std::vector<Json> engine = RulesOf(before, name);
      const bool foreign = std::find(engine.begin(), engine.end(), rule) != engine.end();
      if (rule["action"] != "SCMP_ACT_NOTIFY" || foreign) continue;
      if (rule.contains("args")) {
        RC_ASSERT(conditional_allow);
      } else {
        RC_ASSERT((last == "SCMP_ACT_ALLOW" || last == "SCMP_ACT_LOG"));
      }
    }
  }
}

}  // namespace
}  // namespace landgate::oci
