#include "oci-specs/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace landgate::oci {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(std::string_view json) {
  Result<State> state = DecodeState(json, "state");
  return state ? "accepted" : state.error().message;
}

TEST(StateTest, RuncCreating) {
  Result<State> state = DecodeState(
      R"({"ociVersion":"1.0.2-dev","id":"c1","status":"creating","pid":4711,"bundle":"/run/b","annotations":{"k":"v"},"new":1e3})",
      "state");
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->id, "c1");
  EXPECT_EQ(state->status, "creating");
  EXPECT_EQ(state->pid, 4711);
  EXPECT_EQ(state->bundle, "/run/b");
  EXPECT_EQ(state->annotations.at("k"), "v");
}

TEST(StateTest, CrunPrettyPrinted) {
  Result<State> state = DecodeState(
      "{\n  \"ociVersion\": \"1.0\",\n  \"id\": \"c-1_x.y+z\",\n  \"pid\": 12,\n  \"root\": "
      "\"/r\",\n"
      "  \"bundle\": \"/b\",\n  \"status\": \"created\",\n  \"annotations\": null\n}\n",
      "state");
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->id, "c-1_x.y+z");
  EXPECT_TRUE(state->annotations.empty());
}

TEST(StateTest, AbsentPidAndStatus) {
  Result<State> state = DecodeState(R"({"id":"a","bundle":"/"})", "state");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->pid, 0);
  EXPECT_EQ(state->status, "");
}

TEST(StateTest, IdsAreFitToBeFileNames) {
  for (const char* id : {"a", "A.b_c+d-e", "...", "0"}) EXPECT_TRUE(IsContainerId(id)) << id;
  EXPECT_TRUE(IsContainerId(std::string(255, 'a')));
  for (const char* id : {"", ".", "..", "a/b", "../x", "a b", "a\n", "ä", "a:b"}) {
    EXPECT_FALSE(IsContainerId(id)) << id;
  }
  EXPECT_FALSE(IsContainerId(std::string("a\0b", 3)));
  EXPECT_FALSE(IsContainerId(std::string(256, 'a')));
}

TEST(StateTest, WhatIsNotAStateIsRefusedWithItsPlace) {
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("state"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("state"));
  EXPECT_THAT(ErrorOf(R"({"bundle":"/b"})"), HasSubstr("id is missing"));
  EXPECT_THAT(ErrorOf(R"({"id":"a"})"), HasSubstr("bundle is missing"));
  EXPECT_THAT(ErrorOf(R"({"id":"../a","bundle":"/b"})"), HasSubstr("/id"));
  EXPECT_THAT(ErrorOf(R"({"id":1,"bundle":"/b"})"), HasSubstr("/id"));
  EXPECT_THAT(ErrorOf(R"({"id":"a","bundle":"."})"), HasSubstr("/bundle"));
  EXPECT_THAT(ErrorOf(R"({"id":"a","bundle":"b"})"), HasSubstr("/bundle"));
  EXPECT_THAT(ErrorOf(R"({"id":"a","bundle":"/b\u0000"})"), HasSubstr("/bundle"));
  EXPECT_THAT(ErrorOf(R"({"id":"a","id":"b","bundle":"/b"})"), HasSubstr("id"));
  for (const char* pid : {"-1", "4194305", "1.5", "\"1\"", "99999999999999999999"}) {
    EXPECT_THAT(ErrorOf(std::string(R"({"id":"a","bundle":"/b","pid":)") + pid + "}"),
                HasSubstr("/pid"))
        << pid;
  }
  EXPECT_THAT(ErrorOf(R"({"id":"a","bundle":"/b","annotations":{"k":1}})"),
              HasSubstr("/annotations/k"));
  EXPECT_THAT(ErrorOf(R"({"id":"a","bundle":"/b","annotations":[]})"), HasSubstr("/annotations"));
  EXPECT_THAT(ErrorOf(std::string((8 << 20) + 1, ' ')), HasSubstr("larger than"));
}

TEST(StateTest, AMebibyteOfAnnotations) {
  const std::string value(1 << 20, 'x');
  Result<State> state =
      DecodeState(R"({"id":"a","bundle":"/b","annotations":{"k":")" + value + "\"}}", "state");
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->annotations.at("k"), value);
}

TEST(ContainerProcessStateTest, Runc) {
  Result<ContainerProcessState> decoded = DecodeContainerProcessState(
      R"({"ociVersion":"1.0.2","fds":["pidFd","seccompFd"],"pid":7,"metadata":"m","state":{"id":"a","status":"running","pid":5,"bundle":"/b"}})");
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_THAT(decoded->fds, ElementsAre("pidFd", "seccompFd"));
  EXPECT_EQ(decoded->pid, 7);
  EXPECT_EQ(decoded->metadata, "m");
  EXPECT_EQ(decoded->state.pid, 5);
}

TEST(ContainerProcessStateTest, CrunExec) {
  Result<ContainerProcessState> decoded = DecodeContainerProcessState(
      "{\n \"ociVersion\": \"0.2.0\",\n \"fds\": [ \"seccompFd\" ],\n \"pid\": 0,\n \"metadata\": "
      "\"\",\n"
      " \"state\": { \"ociVersion\": \"0.2.0\", \"id\": \"a\", \"status\": \"running\", \"pid\": "
      "0, \"bundle\": \".\" }\n}");
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->pid, 0);
  EXPECT_EQ(decoded->state.bundle, ".");
}

TEST(ContainerProcessStateTest, Refusals) {
  for (const char* json :
       {"{}", R"({"fds":["seccompFd"]})", R"({"fds":"seccompFd","state":{"id":"a","bundle":"/b"}})",
        R"({"fds":[1],"state":{"id":"a","bundle":"/b"}})",
        R"({"fds":[],"state":{"id":"..","bundle":"/b"}})",
        R"({"fds":[],"pid":-1,"state":{"id":"a","bundle":"/b"}})",
        R"({"fds":[],"state":{"id":"a","bundle":"./b"}})", "null", "{"}) {
    EXPECT_FALSE(DecodeContainerProcessState(json)) << json;
  }
}

}  // namespace
}  // namespace landgate::oci
