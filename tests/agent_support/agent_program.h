// A test program that is the agent's other processes too: run as `PROGRAM hold …` it is a holder,
// as `PROGRAM helper` a helper with the test's own operations. So tests of several processes need
// no installed program. Define main with LANDGATE_AGENT_TEST_MAIN(operations).
#ifndef LANDGATE_TESTS_AGENT_SUPPORT_AGENT_PROGRAM_H_
#define LANDGATE_TESTS_AGENT_SUPPORT_AGENT_PROGRAM_H_

#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <string_view>

#include "agent/helper/helper.h"
#include "agent/holder/holder.h"

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

}  // namespace landgate::test

#define LANDGATE_AGENT_TEST_MAIN(operations)                                        \
  int main(int argc, char** argv) {                                                 \
    if (const auto status = landgate::test::RunAsAgent(argc, argv, (operations))) { \
      return *status;                                                               \
    }                                                                               \
    testing::InitGoogleTest(&argc, argv);                                           \
    return RUN_ALL_TESTS();                                                         \
  }

#endif  // LANDGATE_TESTS_AGENT_SUPPORT_AGENT_PROGRAM_H_
