#include "agent/server/json_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "policy/json_reader.h"

namespace landgate::agent {
namespace {

using policy::Json;
using State = JsonScan::State;

JsonScan Scanned(std::string_view text) {
  JsonScan scan;
  (void)scan.Feed(text);
  return scan;
}

TEST(JsonScan, EndsWithTheLastBracket) {
  for (const std::string text : {"{}", " \n{ }", R"({"a":[{},{"b":"}"}]})", R"({"a":"\"}"})",
                                 R"({"a":"\\"})", R"({"[":"]{"})"}) {
    const JsonScan scan = Scanned(text + "{} and more");
    EXPECT_EQ(scan.state(), State::kComplete) << text;
    EXPECT_EQ(scan.length(), text.size()) << text;
  }
}

TEST(JsonScan, WaitsForMore) {
  for (const std::string text :
       {"", " ", "{", R"({"a)", R"({"a":"})", R"({"a":"\)", R"({"a":[{})"}) {
    EXPECT_EQ(Scanned(text).state(), State::kMore) << text;
  }
}

TEST(JsonScan, WhatIsNoObject) {
  const std::string with_nul("{\0}", 3);
  for (const std::string text : {"[", "1", "}", "{]", "GET /", "\xEF\xBB\xBF{"}) {
    EXPECT_EQ(Scanned(text).state(), State::kNoObject) << text;
  }
  EXPECT_EQ(Scanned(with_nul).state(), State::kNoObject);
  // Nothing changes any more.
  JsonScan scan = Scanned("x");
  EXPECT_EQ(scan.Feed("{}"), State::kNoObject);
}

Json AnyJson(int depth) {
  const int kind = *rc::gen::inRange(0, depth > 0 ? 5 : 3);
  Json value;
  switch (kind) {
    case 0:
      return *rc::gen::arbitrary<int>();
    case 1:
      return *rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab\"\\{}[]\n ")));
    case 2:
      return *rc::gen::arbitrary<bool>();
    case 3:
      value = Json::array();
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i) value.push_back(AnyJson(depth - 1));
      return value;
    default:
      value = Json::object();
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
        value[*rc::gen::container<std::string>(rc::gen::elementOf(std::string("k\"\\{}")))] =
            AnyJson(depth - 1);
      }
      return value;
  }
}

RC_GTEST_PROP(JsonScan, FindsTheEndOfEveryObjectHoweverItIsCut, ()) {
  Json object = Json::object();
  object["x"] = AnyJson(4);
  const std::string text = object.dump(*rc::gen::element(-1, 2));
  const std::string more = *rc::gen::element<std::string>("", "}", "{", "\"", " ");
  std::string rest = text + more;
  JsonScan scan;
  while (!rest.empty()) {
    const auto cut = *rc::gen::inRange<size_t>(1, rest.size() + 1);
    const State before = scan.state();
    (void)scan.Feed(std::string_view(rest).substr(0, cut));
    rest.erase(0, cut);
    if (before == State::kComplete) RC_ASSERT(scan.state() == State::kComplete);
  }
  RC_ASSERT(scan.state() == State::kComplete);
  RC_ASSERT(scan.length() == text.size());
}

}  // namespace
}  // namespace landgate::agent
