#include "oci-specs/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

namespace landgate::oci {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

JsonText MustParse(std::string_view text) {
  Result<JsonText> document = JsonText::Parse(text, "f.json");
  EXPECT_TRUE(document) << (document ? "" : document.error().message);
  return std::move(*document);
}

std::string ErrorOf(std::string_view text) {
  Result<JsonText> document = JsonText::Parse(text, "f.json");
  return document ? "accepted" : document.error().message;
}

TEST(JsonTextTest, WritesItsOwnBytesWhereNothingWasEdited) {
  const std::string text =
      "\n { \"a\" : [1e3, 18446744073709551615,1.10 ,-0, "
      "1E+2,0.10e-07],\t\"b\":\"\\u00e9\\/\\ud83d\\ude00\" }\n\n";
  JsonText document = MustParse(text);
  EXPECT_FALSE(document.edited());
  EXPECT_EQ(document.Write(), text);
}

TEST(JsonTextTest, EditsKeepEveryOtherToken) {
  const std::string text =
      R"({"a":[1e3, 18446744073709551616,1.10,-0],"x" :"\u00e9\/","b":{"c":1}})";
  JsonText document = MustParse(text);
  JsonNode* b = document.root().Find("b");
  ASSERT_NE(b, nullptr);
  document.Set(*b, "c", document.String("new"));
  document.Set(*b, "d", document.Strings({"x", "y\n\"\\"}));
  EXPECT_EQ(
      document.Write(),
      R"({"a":[1e3, 18446744073709551616,1.10,-0],"x":"\u00e9\/","b":{"c":"new","d":["x","y\u000a\"\\"]}})");
}

TEST(JsonTextTest, KeepsTheIndentationOfWhatItEdits) {
  JsonText document = MustParse("{\n\t\"a\": [\n\t\t1\n\t],\n\t\"b\": []\n}\n");
  document.Append(*document.root().Find("a"), document.String("two"));
  document.Append(*document.root().Find("b"), document.String("one"));
  EXPECT_EQ(document.Write(), "{\n\t\"a\": [\n\t\t1,\n\t\t\"two\"\n\t],\n\t\"b\": [\"one\"]\n}\n");
  JsonText emptied = MustParse("[\n  1\n]");
  emptied.RemoveItem(emptied.root(), 0);
  EXPECT_EQ(emptied.Write(), "[]");
}

TEST(JsonTextTest, ReadsStringsAsTheyAreMeant) {
  JsonText document = MustParse(R"({"\u0061b":"\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00\u0000"})");
  const JsonNode* node = document.root().Find("ab");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->String(), std::string("\"\\/\b\f\n\r\té€😀\0", 18));
  EXPECT_EQ(node->Key(), "ab");
}

TEST(JsonTextTest, UnsignedTakesPlainDigitsAlone) {
  JsonText document = MustParse("[0,18446744073709551615,18446744073709551616,-0,1.0,1e3,\"1\"]");
  const auto& items = document.root().children();
  EXPECT_EQ(items[0].Unsigned(), 0U);
  EXPECT_EQ(items[1].Unsigned(), 18446744073709551615U);
  for (size_t i = 2; i < items.size(); ++i) EXPECT_EQ(items[i].Unsigned(), std::nullopt) << i;
}

TEST(JsonTextTest, SameAsLooksAtValuesAndNotAtSpelling) {
  JsonText a = MustParse(R"({"x":["<",1],"y":null})");
  JsonText b = MustParse(R"({ "y": null, "x": [ "\u003c", 1 ] })");
  JsonText c = MustParse(R"({ "y": null, "x": [ "\u003c", 1.0 ] })");
  EXPECT_TRUE(a.root().SameAs(b.root()));
  EXPECT_FALSE(a.root().SameAs(c.root()));
}

TEST(JsonTextTest, RefusesWhatReadersDisagreeOn) {
  EXPECT_THAT(ErrorOf(R"({"a":1,"\u0061":2})"), HasSubstr("the key \"a\" twice"));
  EXPECT_THAT(ErrorOf("{\"a\":1}\n x"), StartsWith("f.json:2:2: not valid JSON: text behind"));
  for (const char* text : {"",
                           "{",
                           "[1,]",
                           "{\"a\":1,}",
                           "{\"a\" 1}",
                           "01",
                           "+1",
                           "1.",
                           ".5",
                           "1e",
                           "-",
                           "nul",
                           "tru",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\ud800\\u0041\"",
                           "\"\\udc00\"",
                           "\"a\nb\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "'a'",
                           "{a:1}",
                           "[1] //x",
                           "\"\\",
                           "\"\xe2\x82\""}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("not valid JSON")) << text;
  }
  EXPECT_THAT(ErrorOf(std::string("1\0", 2)), HasSubstr("not valid JSON"));
}

TEST(JsonTextTest, NestingEndsAt64) {
  EXPECT_EQ(ErrorOf(std::string(64, '[') + std::string(64, ']')), "accepted");
  EXPECT_THAT(ErrorOf(std::string(66, '[') + std::string(66, ']')), HasSubstr("deeper than 64"));
  EXPECT_THAT(ErrorOf(std::string(1 << 20, '[')), HasSubstr("deeper than 64"));
}

TEST(JsonTextTest, LookalikesOfKnownKeysAreRefused) {
  for (const char* text :
       {R"({"Process":1})", R"({"proce\u017f\u017f":1})", "{\"MOUNT\xc5\xbf\":1}"}) {
    JsonText document = MustParse(text);
    Status status = RefuseLookalikes(document, document.root(), "", {"process", "mounts"});
    ASSERT_FALSE(status) << text;
    EXPECT_THAT(status.error().message, HasSubstr("runc takes this key for"));
  }
  JsonText document = MustParse(R"({"process":1,"processes":2,"Other":3})");
  EXPECT_TRUE(RefuseLookalikes(document, document.root(), "", {"process", "mounts"}));
}

// Strings of every kind survive quoting and reading by somebody else's parser.
RC_GTEST_PROP(JsonTextTest, QuotedStringsReadBackTheSame, ()) {
  const auto points = *rc::gen::container<std::vector<uint32_t>>(
      rc::gen::oneOf(rc::gen::inRange<uint32_t>(0, 0x80), rc::gen::inRange<uint32_t>(0x80, 0xd800),
                     rc::gen::inRange<uint32_t>(0xe000, 0x110000)));
  std::string content;
  for (uint32_t point : points) {
    char escaped[32];
    if (point >= 0x10000) {
      snprintf(escaped, sizeof escaped, "\"\\u%04x\\u%04x\"", 0xd800 + ((point - 0x10000) >> 10),
               0xdc00 + ((point - 0x10000) & 0x3ff));
    } else {
      snprintf(escaped, sizeof escaped, "\"\\u%04x\"", point);
    }
    Result<JsonText> one = JsonText::Parse(escaped, "f");
    RC_ASSERT(bool(one));
    const std::string read = one->root().String();
    RC_ASSERT(read == nlohmann::json::parse(escaped).get<std::string>());
    content += read;
  }
  const std::string token = QuoteJson(content);
  Result<JsonText> document = JsonText::Parse(token, "f");
  RC_ASSERT(bool(document));
  RC_ASSERT(document->root().String() == content);
  RC_ASSERT(nlohmann::json::parse(token).get<std::string>() == content);
}

// The parser accepts what nlohmann's accepts (but for duplicate keys), on mutated documents.
RC_GTEST_PROP(JsonTextTest, AgreesWithAnotherParser, ()) {
  std::string text = R"({"a":[1,-2.5e+3,true,null],"b":{"c":"x\n\u00e9","d":""}})";
  const auto edits = *rc::gen::inRange(0, 4);
  for (int i = 0; i < edits; ++i) {
    const auto at = *rc::gen::inRange<size_t>(0, text.size());
    text[at] = *rc::gen::elementOf(std::string("{}[]\",:\\ 01.eE+-ntu\xc3\xa9\x01x"));
  }
  const bool ours = bool(JsonText::Parse(text, "f"));
  const bool theirs = nlohmann::json::accept(text);
  if (ours != theirs) {
    RC_ASSERT(theirs);
    RC_ASSERT(ErrorOf(text).find("twice") != std::string::npos);
  }
}

}  // namespace
}  // namespace landgate::oci
