// `check`: the kernel, and what surrounds us that could be in the way.
#include <sys/utsname.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "agent/ctl/ctl_probe.h"
#include "agent/ctl/ctl_report.h"
#include "base/files.h"
#include "base/syscalls.h"
#include "policy/rights.h"

namespace landgate::ctl {
namespace {

using policy::Json;

constexpr int kNewestKnownAbi = 11;

// The first release of each ABI.
const char* LinuxOfAbi(int abi) {
  static const std::map<int, const char*> kReleases = {
      {1, "5.13"}, {2, "5.19"}, {3, "6.2"}, {4, "6.7"}, {5, "6.10"},
      {6, "6.12"}, {7, "6.15"}, {8, "7.0"}, {9, "7.1"}, {10, "7.2"}};
  const auto found = kReleases.find(abi);
  return found == kReleases.end() ? "a newer one" : found->second;
}

struct KnownRight {
  std::string name;  // "fs.execute"
  int abi;
};

std::vector<KnownRight> KnownRights() {
  std::vector<KnownRight> rights;
  const auto add = [&rights](const char* kind, uint64_t all, const auto& names, const auto& abi) {
    for (int bit = 0; bit < 64; ++bit) {
      const uint64_t single = uint64_t{1} << bit;
      if ((all & single) == 0) continue;
      for (const std::string& name : names(single)) rights.push_back({kind + name, abi(single)});
    }
  };
  add("fs.", policy::FsRightsOfAbi(kNewestKnownAbi), policy::RightNames, policy::AbiOfRight);
  add("net.", policy::NetRightsOfAbi(kNewestKnownAbi), policy::NetRightNames,
      policy::AbiOfNetRight);
  add("scope.", policy::ScopesOfAbi(kNewestKnownAbi), policy::ScopeNames, policy::AbiOfScope);
  return rights;
}

Item CheckKernelVersion() {
  utsname name{};
  (void)uname(&name);  // can't fail with a valid buffer
  return {"kernel", std::string("Linux ") + name.release, State::kInfo, name.machine, "", nullptr};
}

// Landlock itself, then one item that tells every right.
void CheckLandlock(std::vector<Item>& items) {
  const int abi = LandlockAbi();
  if (abi == 0) {
    items.push_back({"landlock",
                     "Landlock",
                     State::kMissing,
                     WhyNoLandlock(),
                     "run Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y and landlock in the "
                     "boot parameter lsm=, for example lsm=landlock,yama,apparmor,bpf",
                     {{"abi", 0}}});
    return;
  }
  const std::string failure = TryLandlock();
  Item landlock{"landlock", "Landlock ABI " + std::to_string(abi),
                State::kOk, "tried: a domain denies",
                "",         {{"abi", abi}}};
  if (!failure.empty()) {
    landlock.state = State::kMissing;
    landlock.detail = failure;
    landlock.remedy =
        "if this runs in a container, allow landlock_create_ruleset, landlock_add_rule and "
        "landlock_restrict_self in its seccomp profile";
  }
  items.push_back(std::move(landlock));

  Json data = Json::array();
  std::string missing;
  size_t held = 0;
  for (const KnownRight& right : KnownRights()) {
    const bool available = right.abi <= abi;
    data.push_back({{"right", right.name}, {"abi", right.abi}, {"available", available}});
    if (available) {
      ++held;
      continue;
    }
    missing += (missing.empty() ? "" : ", ") + right.name + " (ABI " + std::to_string(right.abi) +
               ", Linux " + LinuxOfAbi(right.abi) + ")";
  }
  Item rights{"landlock.rights", "Landlock rights", State::kOk, "", "", std::move(data)};
  rights.detail = std::to_string(held) + " of " + std::to_string(rights.data.size()) +
                  " known ones can be enforced" + (missing.empty() ? "" : "; not " + missing);
  if ((policy::kHandledByDefault & ~policy::FsRightsOfAbi(abi)) != 0) {
    rights.state = State::kWarning;
    rights.remedy =
        "policies with a paths section are refused here unless they say "
        "\"compatibility\": {\"minAbi\": " +
        std::to_string(abi) + "} or \"landlock\": \"best-effort\"";
  }
  items.push_back(std::move(rights));
}

Item Tried(std::string id, std::string title, const std::string& failure, State if_failed,
           std::string remedy) {
  if (failure.empty()) return {std::move(id), std::move(title), State::kOk, "tried", "", nullptr};
  return {std::move(id), std::move(title), if_failed, failure, std::move(remedy), nullptr};
}

Item CheckLsmList() {
  const char* file = "/sys/kernel/security/lsm";
  Result<std::string> text = ReadFile(file);
  if (!text) {
    return {"lsm",
            "Security modules",
            State::kInfo,
            "unknown: " + text.error().message + " (securityfs is not mounted, or not for us)",
            "",
            nullptr};
  }
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return {"lsm", "Security modules", State::kInfo, *text, "", nullptr};
}

// "Seccomp:" of /proc/self/status and the like; empty where there is none.
std::string StatusField(const std::string& name) {
  Result<std::string> text = ReadFile("/proc/self/status");
  if (!text) return "";
  const size_t start = text->find("\n" + name + ":");
  if (start == std::string::npos) return "";
  const size_t value = text->find_first_not_of(" \t", start + name.size() + 2);
  if (value == std::string::npos) return "";
  return text->substr(value, text->find('\n', value) - value);
}

std::string ContainerName() {
  if (access("/run/.containerenv", F_OK) == 0) return "podman (/run/.containerenv)";
  if (access("/.dockerenv", F_OK) == 0) return "Docker (/.dockerenv)";
  Result<std::string> environment = ReadFile("/proc/1/environ");
  if (!environment) return "";
  const std::string key = "container=";  // systemd's convention, which lxc and nspawn follow
  for (size_t start = 0; start < environment->size();) {
    const std::string entry = environment->c_str() + start;
    if (entry.starts_with(key)) return entry.substr(key.size());
    start += entry.size() + 1;
  }
  return "";
}

Item CheckContainer() {
  const std::string name = ContainerName();
  if (name.empty())
    return {"container", "Container", State::kInfo, "no sign of one around us", "", nullptr};
  return {
      "container",
      "Surroundings",
      State::kWarning,
      "inside a container of " + name,
      "engines and runtimes that run in here need CAP_SYS_ADMIN and a seccomp profile that lets "
      "them mount and confine",
      nullptr};
}

Item CheckSeccompAround() {
  const std::string mode = StatusField("Seccomp");
  if (mode != "2")
    return {"seccomp.around", "Seccomp filter around us", State::kInfo, "none", "", nullptr};
  return {"seccomp.around",
          "Seccomp filter around us",
          State::kWarning,
          StatusField("Seccomp_filters") + " filter(s) bind this process and what it starts",
          "where a trial above failed with EPERM or ENOSYS, that filter may be the reason",
          nullptr};
}

}  // namespace

Section CheckKernel() {
  Section section{"Kernel", {}};
  section.items.push_back(CheckKernelVersion());
  CheckLandlock(section.items);
  section.items.push_back(CheckLsmList());
  section.items.push_back(Tried("seccomp.filter", "Seccomp filter", TrySeccompFilter(),
                                State::kMissing,
                                "the kernel needs CONFIG_SECCOMP_FILTER=y; inside a container "
                                "seccomp(2) must be allowed"));
  section.items.push_back(
      Tried("seccomp.listener", "Seccomp user notification", TrySeccompListener(), State::kMissing,
            "needs Linux 5.0, and no other listener around us: run this outside the container. "
            "Without it "
            "a policy needs \"execSessions\": \"unconfined\" with hooks, or landgate-runtime"));
  section.items.push_back(
      Tried("mount.api", "Mounts by descriptor (open_tree, mount_setattr, move_mount)",
            TryMountApi(), State::kMissing,
            "needs Linux 5.12, and root or user namespaces; inside a container CAP_SYS_ADMIN"));
  section.items.push_back(
      Tried("user.namespaces", "User namespaces", TryUserNamespace(), State::kWarning,
            "rootless engines need them: sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"));
  return section;
}

Section CheckSurroundings() {
  Section section{"Surroundings", {}};
  section.items.push_back(CheckContainer());
  section.items.push_back(CheckSeccompAround());
  return section;
}

}  // namespace landgate::ctl
