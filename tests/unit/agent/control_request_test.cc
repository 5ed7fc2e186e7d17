#include "agent/control/control_request.h"

#include <gtest/gtest.h>

namespace landgate::agent {
namespace {

ControlRequest Parse(const std::string& target) {
  auto request = ParseControlRequest("GET", target, Surface::kControl);
  EXPECT_TRUE(request) << target << ": " << (request ? "" : request.error().message);
  return request ? *request : ControlRequest{};
}
unsigned Refused(const std::string& target, const char* method = "GET",
                 Surface surface = Surface::kControl) {
  auto request = ParseControlRequest(method, target, surface);
  return request ? 0 : request.error().status;
}

TEST(ControlRequestTest, Endpoints) {
  EXPECT_EQ(Parse("/v1/containers").endpoint, Endpoint::kContainers);
  EXPECT_EQ(Parse("/v1/version").endpoint, Endpoint::kVersion);
  EXPECT_EQ(Parse("/metrics").endpoint, Endpoint::kMetrics);
  EXPECT_EQ(Parse("/v1/containers/abc").endpoint, Endpoint::kContainer);
  EXPECT_EQ(Parse("/v1/containers/a%2Db").container, "a-b");
  EXPECT_EQ(Parse("/v1/containers/policy").container, "policy");
  EXPECT_EQ(Parse("/v1/containers/abc/policy").endpoint, Endpoint::kPolicy);
  // An encoded slash belongs to the id, which no container has.
  EXPECT_EQ(Parse("/v1/containers/a%2Fpolicy").container, "a/policy");
}

TEST(ControlRequestTest, Filters) {
  EXPECT_FALSE(Parse("/v1/events").filter.denied_only);
  EXPECT_TRUE(Parse("/v1/events?denied=1").filter.denied_only);
  EXPECT_FALSE(Parse("/v1/events?denied=0").filter.denied_only);
  const ControlRequest both = Parse("/v1/events?container=a+b%2b&denied=1");
  EXPECT_EQ(both.filter.container, "a+b+");
  EXPECT_TRUE(both.filter.denied_only);
}

TEST(ControlRequestTest, WhatIsRefused) {
  for (const char* target :
       {"", "/", "*", "/v1", "/v1/", "/v1/containers/", "/v1/containers//policy",
        "/v1/containers/a/b", "/v1/containers/a/policy/", "/V1/containers", "/metrics/",
        "/v1/events/", "//metrics", "http://x/metrics"})
    EXPECT_EQ(Refused(target), 404u) << target;
  for (const char* target :
       {"/v1/containers/%", "/v1/containers/%4", "/v1/containers/%zz", "/v1/containers/%00",
        "/v1/containers/a%0ab", "/v1/containers/\xff", "/v1/containers?a=1", "/metrics?",
        "/v1/events?", "/v1/events?denied", "/v1/events?denied=", "/v1/events?denied=2",
        "/v1/events?denied=1&denied=1", "/v1/events?container=a&", "/v1/events?other=1",
        "/v1/events?container=%20"})
    EXPECT_EQ(Refused(target), 400u) << target;
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get", ""})
    EXPECT_EQ(Refused("/v1/containers", method), 405u) << method;
  EXPECT_EQ(Refused("/nothing", "POST"), 404u);
  EXPECT_TRUE(ParseControlRequest("HEAD", "/metrics", Surface::kMetricsOnly));
  for (const char* target : {"/v1/containers", "/v1/version", "/v1/events"})
    EXPECT_EQ(Refused(target, "GET", Surface::kMetricsOnly), 404u) << target;
}

}  // namespace
}  // namespace landgate::agent
