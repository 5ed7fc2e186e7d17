#include "policy/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/nearest.h"

namespace landgate::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string ErrorOf(std::string_view text, Comments comments = Comments::kAllowed) {
  Result<Json> json = ParseJson(text, "f.json", comments);
  return json ? "" : json.error().message;
}

TEST(ParseJson, ReadsEveryKindOfValueInOrder) {
  Result<Json> json = ParseJson(R"({"z": [1, -2, 1.5, true, null, "ü\n"], "a": {"b": {}}})", "f",
                                Comments::kRefused);
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->dump(), R"({"z":[1,-2,1.5,true,null,"ü\n"],"a":{"b":{}}})");
}

TEST(ParseJson, DuplicateKeysAreErrorsWithTheirPlace) {
  EXPECT_EQ(ErrorOf("{\"a\": 1,\n  \"b\": {\"c\": 1},\n  \"a\": 2}"),
            "f.json:3:5: duplicate key \"a\"");
  EXPECT_THAT(ErrorOf(R"({"x": [{"y": 1, "\u0079": 2}]})"), HasSubstr("duplicate key \"y\""));
  EXPECT_EQ(ErrorOf(R"({"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]})"), "");
}

TEST(ParseJson, CommentsOnlyWhereAskedFor) {
  const char* text = "// one\n{ /* two */ \"a\": 1 } // three";
  EXPECT_EQ(ErrorOf(text, Comments::kAllowed), "");
  EXPECT_THAT(ErrorOf(text, Comments::kRefused), HasSubstr("comments are not allowed here"));
  EXPECT_THAT(ErrorOf("{} /* open", Comments::kAllowed), StartsWith("f.json:1:"));
}

TEST(ParseJson, RefusesWhatIsNotOneDocument) {
  EXPECT_EQ(ErrorOf(""), "f.json:1:1: the document is empty");
  EXPECT_EQ(ErrorOf(std::string_view()), "f.json:1:1: the document is empty");
  EXPECT_THAT(ErrorOf(" \n \t"), EndsWith("the document is empty"));
  EXPECT_THAT(ErrorOf("{} {}"), StartsWith("f.json:1:4: "));
  EXPECT_THAT(ErrorOf("{}x"), StartsWith("f.json:1:3: "));
  EXPECT_THAT(ErrorOf("{\"a\": 1"), StartsWith("f.json:1:"));
  EXPECT_THAT(ErrorOf("{\"a\": 1,}"), StartsWith("f.json:1:9: "));
  EXPECT_THAT(ErrorOf("{\"a\": NaN}"), StartsWith("f.json:1:"));
  EXPECT_THAT(ErrorOf("{\"a\": 1e999}"), StartsWith("f.json:1:"));
  EXPECT_THAT(ErrorOf("{'a': 1}"), StartsWith("f.json:1:2: "));
}

TEST(ParseJson, NulEndsNothing) {
  // The lexer alone takes it for the end of the input, and what follows would go unseen.
  EXPECT_EQ(ErrorOf(std::string_view("{}\0{\"deny\": 1}", 15)),
            "f.json:1:3: a NUL byte has no place in JSON");
}

TEST(ParseJson, BadUtf8IsAnErrorInCommentsToo) {
  EXPECT_EQ(ErrorOf("{\"a\": \"\xff\"}"), "f.json:1:8: not UTF-8");
  EXPECT_EQ(ErrorOf("{}\n// \xe4"), "f.json:2:4: not UTF-8");
  EXPECT_THAT(ErrorOf("{\"a\": \"\xc0\xaf\"}"), EndsWith("not UTF-8"));          // overlong
  EXPECT_THAT(ErrorOf("{\"a\": \"\xed\xa0\x80\"}"), EndsWith("not UTF-8"));      // surrogate
  EXPECT_THAT(ErrorOf("{\"a\": \"\xf4\x90\x80\x80\"}"), EndsWith("not UTF-8"));  // > U+10FFFF
  EXPECT_NE(ErrorOf(R"({"a": "\ud800"})"), "");
  EXPECT_EQ(ErrorOf("{\"a\": \"\xf0\x9f\x94\x92 ü €\"}"), "");
}

TEST(ParseJson, DepthIsBounded) {
  auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(ErrorOf(nested(64)), "");
  EXPECT_EQ(ErrorOf(nested(65)), "f.json:1:65: nested deeper than 64 levels");
  EXPECT_THAT(ErrorOf(std::string(8 << 20, '[')), EndsWith("nested deeper than 64 levels"));
  EXPECT_THAT(ErrorOf(std::string(1 << 20, '{')), StartsWith("f.json:1:2: "));
}

TEST(ParseJson, EightMebibytesOfKeysTakeNoQuadraticTime) {
  std::string text = "{";
  size_t number = 0;
  while (text.size() < (8U << 20)) text += "\"k" + std::to_string(number++) + "\":0,";
  text += "\"last\":1}";
  Result<Json> json = ParseJson(text, "f", Comments::kAllowed);
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->size(), number + 1);
}

TEST(ParseJson, MessagesAreOneShortLine) {
  const std::string message = ErrorOf("{\"a\": \"" + std::string(100000, 'x') + "\n\"}");
  EXPECT_LT(message.size(), 400U);
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  EXPECT_THAT(message, Not(HasSubstr("json.exception")));
}

class Cursor : public ::testing::Test {
 protected:
  JsonCursor Of(std::string_view text) {
    Result<Json> json = ParseJson(text, "p.json", Comments::kRefused);
    EXPECT_TRUE(json) << json.error().message;
    document_ = std::move(*json);
    return JsonCursor(document_, "p.json");
  }
  Json document_;
};

TEST_F(Cursor, UnknownKeysNameTheNearest) {
  EXPECT_EQ(Of(R"({"pahts": []})").Only({"paths", "network"}).error().message,
            "p.json: /pahts: unknown key \"pahts\" (did you mean \"paths\"?)");
  EXPECT_EQ(Of(R"({"xyz": []})").Only({"paths", "network"}).error().message,
            "p.json: /xyz: unknown key \"xyz\"; known here: paths network");
  EXPECT_TRUE(Of(R"({"paths": []})").Only({"paths", "network"}));
  EXPECT_EQ(Of("[]").Only({"a"}).error().message, "p.json: expected an object, found array");
}

TEST_F(Cursor, PointersAreEscaped) {
  const JsonCursor cursor = Of(R"({"a/b~c": [{"x": 1}]})");
  const JsonCursor inner = cursor.At("a/b~c").Items()->at(0).At("x");
  EXPECT_EQ(inner.pointer(), "/a~1b~0c/0/x");
  EXPECT_EQ(inner.String().error().message,
            "p.json: /a~1b~0c/0/x: expected a string, found number");
}

TEST_F(Cursor, KeysCantForgeLinesOfOutput) {
  const std::string message = Of(R"({"a\nlandgate: all is well": 1})").Only({"b"}).error().message;
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST_F(Cursor, WrongTypesAreErrorsAndNeverAborts) {
  for (const char* text : {"null", "true", "1", "-1", "1.5", "\"s\"", "[]", "{}"}) {
    const JsonCursor cursor = Of(text);
    EXPECT_EQ(cursor.Bool().has_value(), std::string_view(text) == "true") << text;
    EXPECT_EQ(cursor.String().has_value(), text[0] == '"') << text;
    EXPECT_EQ(cursor.Items().has_value(), text[0] == '[') << text;
    EXPECT_EQ(cursor.IsObject().has_value(), text[0] == '{') << text;
    EXPECT_EQ(cursor.Unsigned().has_value(), std::string_view(text) == "1") << text;
    (void)cursor.Integer(0, 1);
    (void)cursor.Number(0, 1);
    EXPECT_FALSE(cursor.Has("x"));
    EXPECT_FALSE(cursor.At("x").String());
    EXPECT_TRUE(cursor.Keys().empty());
  }
}

TEST_F(Cursor, NumbersHaveRanges) {
  EXPECT_EQ(*Of("5").Integer(1, 10), 5);
  EXPECT_EQ(*Of("-5").Integer(-10, 10), -5);
  EXPECT_FALSE(Of("11").Integer(1, 10));
  EXPECT_FALSE(Of("18446744073709551615").Integer(INT64_MIN, INT64_MAX));
  EXPECT_EQ(*Of("18446744073709551615").Unsigned(), UINT64_MAX);
  EXPECT_FALSE(Of("18446744073709551616").Unsigned());
  EXPECT_FALSE(Of("4.0").Integer(1, 10));
  EXPECT_EQ(*Of("0.5").Number(0, 1), 0.5);
  EXPECT_FALSE(Of("2").Number(0, 1));
}

TEST_F(Cursor, StringsAndListsAreBounded) {
  EXPECT_EQ(*Of("\"abc\"").String(3), "abc");
  EXPECT_FALSE(Of("\"abc\"").String(2));
  EXPECT_FALSE(Of(R"("a\u0000b")").String());
  EXPECT_TRUE(Of("[1,2]").Items(2));
  EXPECT_FALSE(Of("[1,2]").Items(1));
  EXPECT_THAT(Of(R"({"b": 1, "a": 2})").Keys(), ElementsAre("b", "a"));
}

TEST(Nearest, FindsSlipsOfTheFingerAndNothingElse) {
  const std::string_view known[] = {"read", "write", "execute", "CAP_SYS_ADMIN"};
  EXPECT_EQ(Nearest("raed", known), "read");
  EXPECT_EQ(Nearest("excute", known), "execute");
  EXPECT_EQ(Nearest("cap_sys_admin", known), "CAP_SYS_ADMIN");
  EXPECT_EQ(Nearest("zzzz", known), "");
  EXPECT_EQ(Nearest("", known), "");
  EXPECT_EQ(Nearest(std::string(100000, 'r'), known), "");
}

}  // namespace
}  // namespace landgate::policy
