#include "base/printable.h"

#include <gtest/gtest.h>

#include <string>

namespace landgate {
namespace {

TEST(Printable, TextStaysWhatItIs) {
  for (const char* text : {"", "/usr/bin/env -S", "Zürich", "東京", "🚪", "a\\x41", "\xc2\xa0"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(Printable, WhatSteersATerminalIsEscaped) {
  EXPECT_EQ(Printable("a\x1b[2J\nb\x7f"), "a\\x1b[2J\\x0ab\\x7f");
  EXPECT_EQ(Printable(std::string("\0x", 2)), "\\x00x");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");                                     // CSI in one character
  EXPECT_EQ(Printable("\xc2\x85"), "\\xc2\\x85");                 // next line
  EXPECT_EQ(Printable("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");        // line separator
  EXPECT_EQ(Printable("\xe2\x80\xaetxt"), "\\xe2\\x80\\xaetxt");  // right-to-left override
  EXPECT_EQ(Printable("\xe2\x81\xa6gpj"), "\\xe2\\x81\\xa6gpj");  // left-to-right isolate
}

TEST(Printable, WhatIsNoUtf8IsEscapedByteByByte) {
  EXPECT_EQ(Printable("\x9b"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(Printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(Printable("a\xc3"), "a\\xc3");                           // cut
  EXPECT_EQ(Printable("\xc3("), "\\xc3(");                           // no continuation
  EXPECT_EQ(Printable("\xc0\x9b"), "\\xc0\\x9b");                    // overlong
  EXPECT_EQ(Printable("\xe0\x82\x9b"), "\\xe0\\x82\\x9b");           // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond the last
  EXPECT_EQ(Printable("\xf8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80");
}

}  // namespace
}  // namespace landgate
