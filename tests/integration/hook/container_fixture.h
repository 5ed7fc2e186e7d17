// A bundle with busybox, a configuration, and the programs under test, for tests that run a real
// runc.
#ifndef LANDGATE_TESTS_INTEGRATION_HOOK_CONTAINER_FIXTURE_H_
#define LANDGATE_TESTS_INTEGRATION_HOOK_CONTAINER_FIXTURE_H_

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace landgate::hook {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Outcome {
  int status = -1;     // exit status, 128 + signal
  std::string output;  // stdout and stderr
};

inline Outcome Sh(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "re");
  if (!pipe) return outcome;
  char buffer[4096];
  while (const size_t count = fread(buffer, 1, sizeof buffer, pipe)) {
    outcome.output.append(buffer, count);
  }
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

inline void WriteText(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
inline std::string ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class ContainerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (system("command -v runc >/dev/null 2>&1") != 0) GTEST_SKIP() << "runc is not installed";
    if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "busybox-static is not installed";
    for (const char* name : {"landgate-hook", "landgate-runtime", "landgate-init"}) {
      if (!fs::exists(fs::path(LANDGATE_BIN_DIR) / name)) GTEST_SKIP() << name << " is not built";
    }
    umask(022);
    char pattern[] = "/tmp/landgate-hook-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(pattern));
    dir_ = pattern;
    fs::permissions(dir_, fs::perms(0755));
    id_ = dir_.filename();
    const fs::path rootfs = dir_ / "bundle/rootfs";
    for (const char* name :
         {"bin", "dev", "proc", "sys", "etc", "tmp", "data/open", "data/closed"}) {
      fs::create_directories(rootfs / name);
    }
    fs::create_directories(dir_ / "policies");
    fs::copy("/bin/busybox", rootfs / "bin/busybox");
    for (const char* name : {"sh", "cat", "ls", "touch", "mv", "rm", "mkdir", "mount", "umount",
                             "sleep", "grep", "id", "ln", "cp", "kill"}) {
      fs::create_symlink("busybox", rootfs / "bin" / name);
    }
    WriteText(rootfs / "data/open/file", "open\n");
    WriteText(rootfs / "data/closed/file", "closed\n");
    Configure(Json::object());
    WritePolicy("work", Json::object());
    ASSERT_EQ(Sh("cd " + bundle() + " && runc spec").status, 0);
    original_ = Json::parse(ReadText(bundle() + "/config.json"));
    original_["process"]["terminal"] = false;
    original_["root"]["readonly"] = false;
  }

  void TearDown() override {
    if (dir_.empty()) return;
    (void)Sh("runc delete -f " + id_);
    std::error_code ignored;  // a mount that is left keeps the directory, which the next line shows
    fs::remove_all(dir_, ignored);
    EXPECT_FALSE(fs::exists(dir_)) << ignored.message();
  }

  std::string bundle() const { return dir_ / "bundle"; }
  std::string config_file() const { return dir_ / "config.json"; }
  std::string run_dir() const { return dir_ / "run"; }
  fs::path container_dir() const { return dir_ / "run/containers" / id_; }
  std::string Program(const std::string& name) const {
    return "LANDGATE_CONFIG=" + config_file() + " " + LANDGATE_BIN_DIR + "/" + name;
  }
  std::string Runtime() const { return Program("landgate-runtime"); }

  void Configure(Json extra) {
    Json config = {{"policyDirs", {dir_ / "policies"}}, {"runDir", run_dir()}, {"runtime", "runc"}};
    config.update(extra);
    WriteText(config_file(), config.dump());
  }

  // Everything may be read and run, /tmp and /dev written; /data/closed is denied.
  void WritePolicy(const std::string& name, const Json& extra) {
    Json policy = Json::parse(R"({
      "landgate": 1,
      "paths": [
        {"allow": ["read", "execute"], "beneath": ["/"]},
        {"allow": ["modify"], "beneath": ["/tmp"]},
        {"allow": ["write"], "beneath": ["/dev"]},
        {"deny": ["all"], "beneath": ["/data/closed"]}]})");
    policy.update(extra);
    WriteText(dir_ / "policies" / (name + ".json"), policy.dump());
  }

  void WriteBundle(const std::vector<std::string>& args, const Json& extra = Json::object()) {
    Json config = original_;
    config["process"]["args"] = args;
    config["annotations"] = {{"io.landgate.policy", "work"}};
    config.update(extra);
    WriteText(bundle() + "/config.json", config.dump(1));
  }
  void EditBundle(const std::function<void(Json&)>& edit) {
    Json config = Json::parse(ReadText(bundle() + "/config.json"));
    edit(config);
    WriteText(bundle() + "/config.json", config.dump(1));
  }

  Outcome Inject() { return Sh(Program("landgate-hook") + " inject --bundle " + bundle()); }
  Outcome RuncRun() { return Sh("runc run --bundle " + bundle() + " " + id_ + " </dev/null"); }
  Outcome StartSleeping(const std::string& runtime) {
    return Sh(runtime + " run -d --bundle " + bundle() + " " + id_ + " </dev/null >" +
              (dir_ / "out").string() + " 2>&1; status=$?; cat " + (dir_ / "out").string() +
              "; exit $status");
  }

  fs::path dir_;
  std::string id_;
  Json original_;
};

}  // namespace landgate::hook

#endif  // LANDGATE_TESTS_INTEGRATION_HOOK_CONTAINER_FIXTURE_H_
