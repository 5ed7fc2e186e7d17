#include "policy/network_floor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "policy/decide_network.h"

namespace landgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

NetworkRule Rule(Effect effect, const char* operations, const std::vector<std::string>& to,
                 bool final = false) {
  NetworkRule rule;
  rule.effect = effect;
  rule.connect = std::string(operations).find('c') != std::string::npos;
  rule.bind = std::string(operations).find('b') != std::string::npos;
  for (const std::string& text : to) rule.to.push_back(ParseDestination(text).value());
  rule.final = final;
  return rule;
}

Policy PolicyOf(std::vector<NetworkRule> rules) {
  Policy policy;
  for (size_t i = 0; i < rules.size(); ++i) {
    rules[i].origin = {"p.json", "/network/" + std::to_string(i)};
  }
  policy.network = std::move(rules);
  return policy;
}

NetworkFloor FloorOf(std::vector<NetworkRule> rules) {
  return CompileNetworkFloor(PolicyOf(std::move(rules)));
}

std::vector<std::string> Pointers(const NetworkFloor& floor) {
  std::vector<std::string> pointers;
  for (const auto& entry : floor.needs_agent) pointers.push_back(entry.origin.pointer);
  return pointers;
}

constexpr auto kAllow = Effect::kAllow;
constexpr auto kDeny = Effect::kDeny;
constexpr auto kAsk = Effect::kAsk;

TEST(NetworkFloorTest, NoSectionRestrictsNothingAndAnEmptyOneEverything) {
  EXPECT_FALSE(CompileNetworkFloor(Policy{}).restricts);
  const NetworkFloor empty = FloorOf({});
  EXPECT_TRUE(empty.restricts);
  EXPECT_TRUE(empty.handle_connect);
  EXPECT_TRUE(empty.handle_bind);
  EXPECT_THAT(empty.connect_ports, IsEmpty());
  EXPECT_THAT(empty.bind_ports, IsEmpty());
  EXPECT_FALSE(empty.allow_listen);
  EXPECT_FALSE(empty.allow_unix);
  EXPECT_FALSE(empty.allow_mptcp);
  EXPECT_THAT(empty.needs_agent, IsEmpty());
}

TEST(NetworkFloorTest, PortsOfAnyAddress) {
  const NetworkFloor floor =
      FloorOf({Rule(kAllow, "c", {"*:443", "*:80-82"}), Rule(kDeny, "c", {"*:81"}),
               Rule(kAllow, "b", {"*:0", "*:8080"})});
  EXPECT_TRUE(floor.handle_connect);
  EXPECT_THAT(floor.connect_ports, ElementsAre(80, 82, 443));
  EXPECT_TRUE(floor.handle_bind);
  EXPECT_THAT(floor.bind_ports, ElementsAre(0, 8080));
  EXPECT_TRUE(floor.allow_listen);
  EXPECT_THAT(floor.needs_agent, IsEmpty());
}

TEST(NetworkFloorTest, AnyPortNeedsNoRules) {
  const NetworkFloor floor = FloorOf({Rule(kAllow, "cb", {"*"})});
  EXPECT_TRUE(floor.restricts);
  EXPECT_FALSE(floor.handle_connect);
  EXPECT_FALSE(floor.handle_bind);
  EXPECT_TRUE(floor.allow_listen);
  EXPECT_THAT(floor.connect_ports, IsEmpty());
  EXPECT_THAT(floor.needs_agent, IsEmpty());
  EXPECT_FALSE(FloorOf({Rule(kAllow, "c", {"*:1-65535"})}).handle_connect);
}

TEST(NetworkFloorTest, CarvingAPortOutOfAllOfThemIsTooMany) {
  const NetworkFloor floor = FloorOf({Rule(kAllow, "c", {"*"}), Rule(kDeny, "c", {"*:25"})});
  EXPECT_TRUE(floor.handle_connect);
  EXPECT_THAT(floor.connect_ports, IsEmpty());
  EXPECT_THAT(Pointers(floor), ElementsAre("/network/0/to/0"));
  EXPECT_THAT(floor.needs_agent[0].why, HasSubstr("8192"));
  // Few enough remain: enumerated.
  const NetworkFloor few =
      FloorOf({Rule(kAllow, "c", {"*"}), Rule(kDeny, "c", {"*:1-60000", "*:0"})});
  EXPECT_EQ(few.connect_ports.size(), 5535U);
  EXPECT_EQ(few.connect_ports.front(), 60001);
  EXPECT_THAT(few.needs_agent, IsEmpty());
  EXPECT_THAT(FloorOf({Rule(kAllow, "c", {"*:1-8192"})}).needs_agent, IsEmpty());
  EXPECT_THAT(FloorOf({Rule(kAllow, "c", {"*:1-8193"})}).needs_agent, testing::SizeIs(1));
}

TEST(NetworkFloorTest, BoundPortsWithoutAnEphemeralOneNeedAnAgentForListen) {
  const NetworkFloor floor = FloorOf({Rule(kAllow, "b", {"*:8080"})});
  EXPECT_FALSE(floor.allow_listen);
  EXPECT_THAT(floor.bind_ports, ElementsAre(8080));
  ASSERT_THAT(Pointers(floor), ElementsAre("/network/0/to/0"));
  EXPECT_THAT(floor.needs_agent[0].why, HasSubstr("*:0"));
}

TEST(NetworkFloorTest, AddressesNamesAndOtherTransportsNeedAnAgent) {
  const NetworkFloor floor =
      FloorOf({Rule(kAllow, "c", {"*:443", "10.0.0.0/8:80", "db.internal:5432"}),
               Rule(kDeny, "c", {"169.254.169.254"}), Rule(kAsk, "c", {"*:22"}),
               Rule(kAllow, "c", {"udp://10.0.0.2:53", "icmp://*", "unix:/run/a"})});
  EXPECT_THAT(Pointers(floor),
              testing::UnorderedElementsAre("/network/0/to/1", "/network/0/to/2", "/network/1/to/0",
                                            "/network/2/to/0", "/network/3/to/0", "/network/3/to/1",
                                            "/network/3/to/2"));
  EXPECT_THAT(floor.connect_ports, ElementsAre(443));
  for (const auto& entry : floor.needs_agent) {
    if (entry.origin.pointer == "/network/0/to/1") {
      EXPECT_EQ(entry.why, "10.0.0.0/8:80: Landlock knows ports, not addresses");
    }
    EXPECT_EQ(entry.origin.file, "p.json");
  }
}

TEST(NetworkFloorTest, RulesThatChangeNothingAreHarmless) {
  EXPECT_THAT(FloorOf({Rule(kAllow, "c", {"*:443"}), Rule(kDeny, "c", {"10.0.0.0/8:80", "name:25"}),
                       Rule(kDeny, "c", {"udp://*", "icmp://*", "unix:/run/x", "unix:*"}),
                       Rule(kDeny, "b", {"127.0.0.1", "unix:@x"})})
                  .needs_agent,
              IsEmpty());
  EXPECT_THAT(
      FloorOf({Rule(kAllow, "c", {"*"}), Rule(kAllow, "c", {"10.0.0.1:80", "db:1"})}).needs_agent,
      IsEmpty());
  EXPECT_THAT(FloorOf({Rule(kDeny, "c", {"*"}, /*final=*/true), Rule(kAllow, "c", {"10.0.0.1:80"}),
                       Rule(kAsk, "c", {"*:443"})})
                  .needs_agent,
              IsEmpty());
  EXPECT_THAT(FloorOf({Rule(kAsk, "c", {"*:443"}), Rule(kDeny, "c", {"*:443"})}).needs_agent,
              IsEmpty());
  // The same denial under an allow of everything changes something.
  EXPECT_THAT(Pointers(FloorOf({Rule(kAllow, "c", {"*"}), Rule(kDeny, "c", {"10.0.0.0/8:80"})})),
              ElementsAre("/network/1/to/0"));
}

TEST(NetworkFloorTest, UnixSocketsAreAllOrNothing) {
  const NetworkFloor all = FloorOf({Rule(kAllow, "c", {"unix:*"})});
  EXPECT_TRUE(all.allow_unix);
  EXPECT_THAT(all.needs_agent, IsEmpty());
  const NetworkFloor carved =
      FloorOf({Rule(kAllow, "c", {"unix:*"}), Rule(kDeny, "c", {"unix:/run/dbus"})});
  EXPECT_TRUE(carved.allow_unix);
  EXPECT_THAT(Pointers(carved), ElementsAre("/network/1/to/0"));
  const NetworkFloor one = FloorOf({Rule(kAllow, "c", {"unix:@x"})});
  EXPECT_FALSE(one.allow_unix);
  EXPECT_THAT(Pointers(one), ElementsAre("/network/0/to/0"));
  const NetworkFloor denied =
      FloorOf({Rule(kAllow, "c", {"unix:*"}), Rule(kDeny, "c", {"unix:*"})});
  EXPECT_FALSE(denied.allow_unix);
  EXPECT_THAT(denied.needs_agent, IsEmpty());
  const NetworkFloor asked = FloorOf({Rule(kAsk, "c", {"unix:*"})});
  EXPECT_FALSE(asked.allow_unix);
  EXPECT_THAT(Pointers(asked), ElementsAre("/network/0/to/0"));
  // A server needs listen, which is denied for every family without bind to *:0.
  EXPECT_THAT(Pointers(FloorOf({Rule(kAllow, "cb", {"unix:*"})})), ElementsAre("/network/0/to/0"));
  EXPECT_THAT(FloorOf({Rule(kAllow, "cb", {"unix:*"}), Rule(kAllow, "b", {"*:0"})}).needs_agent,
              IsEmpty());
}

// Up to `most` values. Not by gen::resize, which would shrink the range of every number within.
template <class T>
rc::Gen<std::vector<T>> UpTo(int most, rc::Gen<T> gen) {
  return rc::gen::resize(rc::kNominalSize, rc::gen::exec([most, gen] {
                           const auto count = *rc::gen::inRange<std::size_t>(
                               0, static_cast<std::size_t>(most) + 1);
                           return *rc::gen::container<std::vector<T>>(count, gen);
                         }));
}

rc::Gen<NetworkRule> GenRule(bool addresses) {
  return rc::gen::exec([addresses] {
    const auto destination = rc::gen::exec([addresses] {
      const std::string host =
          addresses ? *rc::gen::element<std::string>("*", "*", "10.0.0.0/8", "10.1.2.3", "[::1]")
                    : std::string("*");
      if (*rc::gen::inRange(0, 4) == 0) return host;
      const int low = *rc::gen::element(0, 1, 2, 80, 443, 8190, 60000, 65535);
      const int high = std::min(65535, low + *rc::gen::element(0, 0, 1, 5, 400, 9000, 65535));
      return host + ":" + std::to_string(low) + "-" + std::to_string(high);
    });
    return Rule(*rc::gen::element(kAllow, kAllow, kDeny), *rc::gen::element("c", "b", "cb"),
                *UpTo<std::string>(3, destination), *rc::gen::inRange(0, 6) == 0);
  });
}

bool FloorAllows(const NetworkFloor& floor, Operation operation, uint16_t port) {
  const bool connect = operation == Operation::kConnect;
  if (!(connect ? floor.handle_connect : floor.handle_bind)) return true;
  const std::vector<uint16_t>& ports = connect ? floor.connect_ports : floor.bind_ports;
  return std::binary_search(ports.begin(), ports.end(), port);
}

// Over every port: what the floor allows is what the policy allows, whenever the floor claims to be
// enough; and where only ports are named, it never allows more.
void CheckAgainstDecisions(bool addresses) {
  const std::vector<IpPrefix> samples = {
      ParseEndpoint("10.1.2.3:1")->address, ParseEndpoint("10.9.9.9:1")->address,
      ParseEndpoint("192.0.2.1:1")->address, ParseEndpoint("[::1]:1")->address,
      ParseEndpoint("[2001:db8::1]:1")->address};
  EXPECT_TRUE(rc::check([&] {
    const Policy policy = PolicyOf(*UpTo<NetworkRule>(4, GenRule(addresses)));
    const NetworkFloor floor = CompileNetworkFloor(policy);
    RC_ASSERT(std::is_sorted(floor.connect_ports.begin(), floor.connect_ports.end()));
    RC_ASSERT(floor.connect_ports.size() <= kMaxPortRules);
    RC_ASSERT(floor.bind_ports.size() <= kMaxPortRules);
    RC_CLASSIFY(floor.needs_agent.empty(), "exact");
    if (addresses && !floor.needs_agent.empty()) return;
    Endpoint endpoint;
    const size_t how_many = addresses ? samples.size() : 1;
    for (size_t which = 0; which < how_many; ++which) {
      endpoint.address = samples[which];
      for (const Operation operation : {Operation::kConnect, Operation::kBind}) {
        for (unsigned port = operation == Operation::kConnect ? 1 : 0; port <= 65535; ++port) {
          // Ends of the generated ranges and their neighbours, and a sample of the rest.
          if (port > 500 && port % 97 != 0 && port != 65535 && port != 60000 && port != 59999 &&
              (port < 8180 || port > 9000)) {
            continue;
          }
          endpoint.port = static_cast<uint16_t>(port);
          const bool policy_allows =
              DecideNetwork(policy, operation, endpoint, {}).verdict == Verdict::kAllow;
          const bool floor_allows = FloorAllows(floor, operation, endpoint.port);
          if (floor.needs_agent.empty() ? floor_allows != policy_allows
                                        : floor_allows && !policy_allows) {
            RC_FAIL("port " + std::to_string(port));
          }
        }
        if (operation == Operation::kBind && floor.allow_listen) {
          endpoint.port = 0;
          RC_ASSERT(DecideNetwork(policy, operation, endpoint, {}).verdict == Verdict::kAllow);
        }
      }
    }
  }));
}

TEST(NetworkFloorProperty, PortsOfAnyAddressAreExact) { CheckAgainstDecisions(false); }
TEST(NetworkFloorProperty, AddressRulesAreHarmlessOrReported) { CheckAgainstDecisions(true); }

TEST(NetworkFloorTest, CheapEnoughForAHook) {
  std::vector<NetworkRule> rules;
  for (int i = 0; i < 200; ++i) {
    const std::string port = std::to_string(1000 + 3 * i);
    rules.push_back(Rule(kAllow, "cb", {"*:" + port, "10.0.0.0/8:" + port}));
  }
  const Policy policy = PolicyOf(rules);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(CompileNetworkFloor(policy).connect_ports.size(), 200U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace landgate::policy
