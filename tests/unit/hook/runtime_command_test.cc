#include "hook/runtime_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace landgate::hook {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

RuntimeCommand Parse(const Arguments& arguments) {
  Result<RuntimeCommand> command = ParseRuntimeCommand(arguments);
  EXPECT_TRUE(command) << command.error().message;
  return command ? *command : RuntimeCommand();
}

std::string Refusal(const Arguments& arguments) {
  const Result<RuntimeCommand> command = ParseRuntimeCommand(arguments);
  if (command) return "";
  EXPECT_EQ(command.error().status, ExitStatus::kUsage);
  return command.error().message;
}

TEST(RuntimeCommand, FindsBundleAndIdInEverySpelling) {
  const std::vector<Arguments> spellings = {
      {"create", "--bundle", "/b", "--pid-file", "p", "id"},
      {"create", "--bundle=/b", "--pid-file=p", "id"},
      {"create", "-b", "/b", "id"},
      {"create", "-b/b", "id"},
      {"create", "-b", "/b", "--", "id"},
      {"--root", "/r", "--log=l", "--log-format", "json", "--systemd-cgroup", "run", "-d", "-b",
       "/b", "id"},
      {"run", "-db", "/b", "id"},
      {"run", "-db/b", "id"},
      {"create", "--console-socket", "--bundle", "-b", "/b",
       "id"},  // a value that looks like a flag
  };
  for (const Arguments& arguments : spellings) {
    const RuntimeCommand command = Parse(arguments);
    EXPECT_EQ(command.bundle, "/b") << testing::PrintToString(arguments);
    EXPECT_EQ(command.id, "id") << testing::PrintToString(arguments);
    EXPECT_EQ(command.arguments, arguments);
  }
}

TEST(RuntimeCommand, ReadsTheGlobalFlagsThatItNeeds) {
  const RuntimeCommand command = Parse(
      {"--root=/r", "--log", "/l", "--log-format=json", "--debug", "-criu", "c", "state", "id"});
  EXPECT_EQ(command.root, "/r");
  EXPECT_EQ(command.log, "/l");
  EXPECT_EQ(command.log_format, "json");
  EXPECT_EQ(command.command, "state");
}

TEST(RuntimeCommand, TakesOutItsOwnFlagsAndNothingElse) {
  const RuntimeCommand command = Parse(
      {"--landgate-policy", "p", "--root", "/r", "--landgate-config=c", "delete", "--force", "x"});
  EXPECT_EQ(command.policy, "p");
  EXPECT_EQ(command.config, "c");
  EXPECT_THAT(command.arguments, ElementsAre("--root", "/r", "delete", "--force", "x"));
  // Behind the command they are the runtime's business.
  EXPECT_THAT(Parse({"kill", "--landgate-policy", "p"}).arguments,
              ElementsAre("kill", "--landgate-policy", "p"));
}

TEST(RuntimeCommand, FindsTheProcessDocument) {
  for (const Arguments& arguments :
       std::vector<Arguments>{{"exec", "--process", "F", "--detach", "--pid-file", "p", "id"},
                              {"exec", "--process=F", "id"},
                              {"exec", "-p", "F", "id"},
                              {"exec", "-pF", "id"},
                              {"exec", "-tdp", "F", "id"}}) {
    const RuntimeCommand command = Parse(arguments);
    ASSERT_TRUE(command.process) << testing::PrintToString(arguments);
    EXPECT_EQ(command.arguments[command.process->index].substr(command.process->offset), "F");
    EXPECT_EQ(command.id, "id");
    EXPECT_EQ(command.exec_command, 0U);
  }
}

TEST(RuntimeCommand, FindsWhereTheCommandOfAnExecSessionBegins) {
  for (const Arguments& arguments : std::vector<Arguments>{
           {"exec", "-t", "--cwd", "/", "-e", "A=B", "--user=1000:1000", "id", "ls", "-l"},
           {"exec", "-tu1000", "--env=X", "--cap", "CAP_KILL", "--", "id", "ls", "--process"},
           {"--root", "x", "exec", "--preserve-fds", "2", "id", "ls"}}) {
    const RuntimeCommand command = Parse(arguments);
    EXPECT_EQ(command.id, "id");
    ASSERT_NE(command.exec_command, 0U);
    EXPECT_EQ(command.arguments[command.exec_command], "ls");
    EXPECT_FALSE(command.process);
  }
  EXPECT_EQ(Parse({"exec", "--preserve-fds=2", "id", "ls"}).preserve_fds, 2);
}

TEST(RuntimeCommand, RefusesWhatItWouldHaveToGuess) {
  EXPECT_THAT(Refusal({"--mystery", "create", "id"}), HasSubstr("--mystery"));
  EXPECT_THAT(Refusal({"create", "--mystery", "x", "id"}), HasSubstr("--mystery"));
  EXPECT_THAT(Refusal({"exec", "--mystery", "id", "ls"}), HasSubstr("--mystery"));
  EXPECT_THAT(Refusal({"exec", "-ty", "id", "ls"}), HasSubstr("-ty"));
  EXPECT_THAT(Refusal({"create", "-b=/b", "id"}), HasSubstr("next argument"));
  EXPECT_THAT(Refusal({"create", "id", "--bundle", "/b"}), HasSubstr("follows the container's id"));
  EXPECT_THAT(Refusal({"create", "--config", "other.json", "id"}), HasSubstr("--config"));
  EXPECT_THAT(Refusal({"create", "--bundle"}), HasSubstr("needs a value"));
  EXPECT_THAT(Refusal({"exec", "--preserve-fds", "many", "id", "ls"}), HasSubstr("not a number"));
  EXPECT_THAT(Refusal({"--landgate-polcy=x", "create", "id"}), HasSubstr("--landgate-polcy"));
  EXPECT_THAT(Refusal({"--landgate-policy=", "create", "id"}), HasSubstr("policy's name"));
  // With its value attached a flag can't be misread.
  EXPECT_EQ(Parse({"--mystery=1", "create", "--riddle=2", "id"}).id, "id");
}

// Each of these once started something that this program had not looked at.
TEST(RuntimeCommand, RefusesWhatIsGivenTwice) {
  for (const Arguments& twice : std::vector<Arguments>{
           {"run", "--bundle", "/a", "-b", "/b", "id"},
           {"exec", "--process=a", "--process", "b", "id"},
           {"--root", "/a", "--root=/b", "exec", "id", "ls"},
       }) {
    EXPECT_THAT(Refusal(twice), HasSubstr("is given twice")) << testing::PrintToString(twice);
  }
}

TEST(RuntimeCommand, RefusesWhatRuncAndCrunReadDifferently) {
  EXPECT_THAT(Refusal({"create", "--help=false", "--bundle", "/b", "id"}),
              HasSubstr("takes no value"));
  EXPECT_THAT(Refusal({"exec", "--h=false", "id", "ls"}), HasSubstr("takes no value"));
  for (const Arguments& abbreviated : std::vector<Arguments>{
           {"run", "--bundl=/b", "id"},
           {"run", "--bundl", "/b", "id"},
           {"run", "--conf=other.json", "id"},
           {"exec", "--process-l=x", "id", "ls"},
           {"exec", "--proc=p.json", "id"},
           {"--roo=/r", "exec", "id", "ls"},
       }) {
    EXPECT_THAT(Refusal(abbreviated), HasSubstr("write the whole name"))
        << testing::PrintToString(abbreviated);
  }
  for (const Arguments& one_dash : std::vector<Arguments>{
           {"run", "-bundle", "id"},
           {"run", "-bundle=/b", "id"},
           {"exec", "-env", "id", "sh", "-c", "id"},
           {"exec", "-cwd", "id", "sh"},
           {"exec", "-process", "id"},
           {"-root", "/r", "exec", "id", "ls"},
       }) {
    EXPECT_THAT(Refusal(one_dash), HasSubstr("write two dashes"))
        << testing::PrintToString(one_dash);
  }
  // No flag of crun's begins like these, and ours never reach it.
  EXPECT_EQ(Parse({"create", "-no-pivot", "-b", "/b", "id"}).bundle, "/b");
  EXPECT_EQ(Parse({"-landgate-policy", "p", "create", "id"}).policy, "p");
}

TEST(RuntimeCommand, LeavesHelpAndOtherCommandsAlone) {
  EXPECT_TRUE(Parse({"exec", "--help"}).asks_for_help);
  EXPECT_TRUE(Parse({"create", "-h"}).asks_for_help);
  EXPECT_EQ(Parse({}).command, "");
  EXPECT_EQ(Parse({"--version"}).command, "");
  EXPECT_EQ(Parse({"kill", "--mystery", "id"}).command, "kill");
}

// Whatever the arguments are: without flags of ours the real runtime gets all of them.
TEST(RuntimeCommand, HandsOnEveryArgument) {
  EXPECT_TRUE(rc::check([](const Arguments& arguments) {
    const Result<RuntimeCommand> command = ParseRuntimeCommand(arguments);
    if (!command) return;
    RC_ASSERT(command->arguments == arguments);
    if (command->exec_command != 0) RC_ASSERT(command->exec_command < arguments.size());
    if (command->process) {
      RC_ASSERT(command->process->index < arguments.size());
      RC_ASSERT(command->process->offset <= arguments[command->process->index].size());
    }
  }));
}

}  // namespace
}  // namespace landgate::hook
