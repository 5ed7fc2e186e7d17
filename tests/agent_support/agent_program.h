// A test program that is the agent's other processes too: run as `PROGRAM hold …` it is a holder,
// as `PROGRAM helper` a helper with the test's own operations. So tests of several processes need
// no installed program. Define main with LANDGATE_AGENT_TEST_MAIN(operations).
#ifndef LANDGATE_TESTS_AGENT_SUPPORT_AGENT_PROGRAM_H_
#define LANDGATE_TESTS_AGENT_SUPPORT_AGENT_PROGRAM_H_

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "agent/helper/helper.h"
#include "agent/holder/holder.h"
#include "base/files.h"

namespace landgate::test {

inline constexpr const char* kThisProgram = "/proc/self/exe";

inline std::optional<int> RunAsAgent(int argc, char** argv,
                                     std::span<const agent::NamedOperation> operations) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "helper") return agent::HelperMain(operations);
  if (mode != "hold") return std::nullopt;
  agent::HoldOptions options;
  for (int i = 2; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--socket" && i + 1 < argc) options.socket_path = argv[++i];
    if (argument == "--stay") options.stay = true;
    if (argument == "--background") options.background = true;
  }
  return agent::HoldMain(options);
}

// Tests end the holders and helpers that they start; what is left after all of them is a failure.
// Every process that is executed from here on has the mark in its environment.
class NothingIsLeft : public testing::Environment {
 public:
  void SetUp() override { (void)setenv(kMark, Mark().c_str(), 1); }
  void TearDown() override {
    std::vector<pid_t> left = Marked();
    for (int i = 0; i < 500 && !left.empty(); ++i) {  // what was killed takes a moment to go
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      left = Marked();
    }
    for (const pid_t pid : left) {
      ADD_FAILURE() << "process " << pid << ", which tests started, is still there";
      (void)kill(pid, SIGKILL);
    }
  }

 private:
  static constexpr const char* kMark = "LANDGATE_TEST";
  static std::string Mark() { return std::to_string(getpid()); }
  static std::vector<pid_t> Marked() {
    const std::string entry = std::string(kMark) + "=" + Mark() + '\0';
    std::vector<pid_t> found;
    std::error_code gone;
    for (const auto& process : std::filesystem::directory_iterator("/proc", gone)) {
      const Result<std::string> environment = ReadFile(process.path() / "environ");
      if (environment && environment->find(entry) != std::string::npos) {
        found.push_back(static_cast<pid_t>(std::stol(process.path().filename())));
      }
    }
    return found;
  }
};

}  // namespace landgate::test

#define LANDGATE_AGENT_TEST_MAIN(operations)                                        \
  int main(int argc, char** argv) {                                                 \
    if (const auto status = landgate::test::RunAsAgent(argc, argv, (operations))) { \
      return *status;                                                               \
    }                                                                               \
    testing::InitGoogleTest(&argc, argv);                                           \
    testing::AddGlobalTestEnvironment(new landgate::test::NothingIsLeft);           \
    return RUN_ALL_TESTS();                                                         \
  }

#endif  // LANDGATE_TESTS_AGENT_SUPPORT_AGENT_PROGRAM_H_
