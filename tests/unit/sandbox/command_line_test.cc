#include "sandbox/command_line.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>

namespace landgate::sandbox {
namespace {

std::string AnyString() {
  std::string text = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
  std::replace(text.begin(), text.end(), '\0', '\x01');
  return text;
}

std::vector<std::string> AnyStrings() {
  std::vector<std::string> texts(static_cast<size_t>(*rc::gen::inRange(0, 8)));
  for (std::string& text : texts) text = AnyString();
  return texts;
}

TEST(CommandLine, ComesBackAsItWas) {
  EXPECT_TRUE(rc::check([] {
    const CommandLine command{AnyString(), AnyStrings(), AnyStrings()};
    const Result<CommandLine> decoded = DecodeCommandLine(EncodeCommandLine(command));
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == command);
  }));
}

TEST(CommandLine, TheFormatThatTheHeaderGives) {
  using std::string_literals::operator""s;
  EXPECT_EQ(EncodeCommandLine({"/bin/ls", {"ls", ""}, {"A=b"}}),
            "LGX1\2\0\0\0\1\0\0\0/bin/ls\0ls\0\0A=b\0"s);
}

TEST(CommandLine, NothingThatIsCutOrLongerIsTaken) {
  EXPECT_TRUE(rc::check([] {
    const CommandLine command{AnyString(), AnyStrings(), AnyStrings()};
    const std::string bytes = EncodeCommandLine(command);
    const size_t cut = *rc::gen::inRange<size_t>(0, bytes.size());
    RC_ASSERT(!DecodeCommandLine(bytes.substr(0, cut)).has_value());
    RC_ASSERT(!DecodeCommandLine(bytes + *rc::gen::arbitrary<char>()).has_value());
  }));
}

TEST(CommandLine, AnyBytesAreDecodedOrRefused) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) {
    const Result<CommandLine> decoded = DecodeCommandLine("LGX1" + bytes);
    if (decoded) RC_ASSERT(EncodeCommandLine(*decoded) == "LGX1" + bytes);
  }));
}

TEST(CommandLine, CountsThatTheBytesCanNotHoldAllocateNothing) {
  std::string bytes = EncodeCommandLine({"/bin/ls", {}, {}});
  for (size_t i = 4; i < 12; ++i) bytes[i] = '\xff';
  EXPECT_FALSE(DecodeCommandLine(bytes).has_value());
}

}  // namespace
}  // namespace landgate::sandbox
