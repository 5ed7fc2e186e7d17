#include "policy/decide_network.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <vector>

namespace landgate::policy {
namespace {

constexpr auto kConnect = Operation::kConnect;
constexpr auto kBind = Operation::kBind;

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

struct Expectation {
  Operation operation;
  std::string endpoint;
  Verdict verdict;
  std::string rule;
};

void Check(const Policy& policy, const std::vector<Expectation>& table,
           const PinnedNames& names = {}) {
  for (const Expectation& row : table) {
    const Decision decision =
        DecideNetwork(policy, row.operation, ParseEndpoint(row.endpoint).value(), names);
    const std::string what = (row.operation == kBind ? "bind " : "connect ") + row.endpoint;
    EXPECT_EQ(VerdictName(decision.verdict), VerdictName(row.verdict)) << what;
    EXPECT_EQ(decision.rule, row.rule) << what;
    EXPECT_EQ(decision.error_number, row.verdict == Verdict::kAllow ? 0 : EACCES) << what;
  }
}

TEST(DecideNetworkTest, TheDocumentedExample) {
  const Policy policy = PolicyOf({
      Rule(Effect::kAllow, "c",
           {"10.1.0.0/16:443", "db.internal:5432", "udp://10.0.0.2:53", "unix:/run/app.sock"}),
      Rule(Effect::kDeny, "c", {"169.254.169.254"}),
      Rule(Effect::kAsk, "c", {"*:443"}),
      Rule(Effect::kAllow, "b", {"127.0.0.1:8080", "*:9000-9005"}),
  });
  const PinnedNames names = {{"db.internal", {ParseEndpoint("192.0.2.7:1")->address}}};
  Check(policy,
        {
            {kConnect, "10.1.2.3:443", Verdict::kAllow, "/network/0"},
            {kConnect, "[::ffff:10.1.2.3]:443", Verdict::kAllow, "/network/0"},
            {kConnect, "10.1.2.3:80", Verdict::kDeny, ""},
            {kConnect, "10.2.2.3:443", Verdict::kAsk, "/network/2"},
            {kConnect, "[2001:db8::1]:443", Verdict::kAsk, "/network/2"},
            {kConnect, "169.254.169.254:443", Verdict::kDeny, "/network/1"},
            {kConnect, "[::ffff:169.254.169.254]:443", Verdict::kDeny, "/network/1"},
            {kConnect, "169.254.169.254:80", Verdict::kDeny, "/network/1"},
            {kConnect, "192.0.2.7:5432", Verdict::kAllow, "/network/0"},
            {kConnect, "192.0.2.7:5433", Verdict::kDeny, ""},
            {kConnect, "192.0.2.8:5432", Verdict::kDeny, ""},
            {kConnect, "udp://10.0.0.2:53", Verdict::kAllow, "/network/0"},
            {kConnect, "10.0.0.2:53", Verdict::kDeny, ""},
            {kConnect, "udp://10.1.2.3:443", Verdict::kDeny, ""},
            {kConnect, "unix:/run/app.sock", Verdict::kAllow, "/network/0"},
            {kConnect, "unix:/run/app.sock2", Verdict::kDeny, ""},
            {kConnect, "unix:@/run/app.sock", Verdict::kDeny, ""},
            {kBind, "127.0.0.1:8080", Verdict::kAllow, "/network/3"},
            {kBind, "127.0.0.2:8080", Verdict::kDeny, ""},
            {kBind, "127.0.0.2:9005", Verdict::kAllow, "/network/3"},
            {kBind, "127.0.0.2:9006", Verdict::kDeny, ""},
            {kBind, "127.0.0.1:0", Verdict::kDeny, ""},
        },
        names);
}

TEST(DecideNetworkTest, TheLongestPrefixThenTheNamedPortThenTheStricter) {
  const Policy policy = PolicyOf({
      Rule(Effect::kDeny, "c", {"10.0.0.0/8"}),
      Rule(Effect::kAllow, "c", {"10.1.0.0/16"}),
      Rule(Effect::kDeny, "c", {"10.1.0.0/16:22"}),
      Rule(Effect::kAllow, "c", {"10.1.1.1"}),
      Rule(Effect::kAsk, "c", {"*:80"}),
      Rule(Effect::kAllow, "c", {"*:80"}),
      Rule(Effect::kDeny, "c", {"10.1.1.2:80"}),
      Rule(Effect::kAllow, "c", {"10.1.1.2:80"}),
  });
  Check(policy, {{kConnect, "10.2.0.1:1", Verdict::kDeny, "/network/0"},
                 {kConnect, "10.1.0.1:1", Verdict::kAllow, "/network/1"},
                 {kConnect, "10.1.0.1:22", Verdict::kDeny, "/network/2"},
                 {kConnect, "10.1.1.1:22", Verdict::kAllow, "/network/3"},
                 {kConnect, "192.0.2.1:80", Verdict::kAsk, "/network/4"},
                 {kConnect, "10.1.1.2:80", Verdict::kDeny, "/network/6"}});
}

TEST(DecideNetworkTest, ANameIsAsPreciseAsItsAddresses) {
  const PinnedNames names = {{"api", {ParseEndpoint("10.0.0.9:1")->address}}};
  const Policy policy =
      PolicyOf({Rule(Effect::kDeny, "c", {"10.0.0.0/31", "10.0.0.8/31"}),
                Rule(Effect::kAllow, "c", {"api"}), Rule(Effect::kDeny, "c", {"10.0.0.9:25"})});
  Check(policy,
        {{kConnect, "10.0.0.9:1", Verdict::kAllow, "/network/1"},
         {kConnect, "10.0.0.8:1", Verdict::kDeny, "/network/0"},
         {kConnect, "10.0.0.9:25", Verdict::kDeny, "/network/2"}},
        names);
  Check(policy, {{kConnect, "10.0.0.9:1", Verdict::kDeny, "/network/0"}});  // nothing pinned
}

TEST(DecideNetworkTest, FinalBeatsPrecision) {
  Check(PolicyOf({Rule(Effect::kDeny, "c", {"10.0.0.0/8"}, /*final=*/true),
                  Rule(Effect::kAllow, "c", {"10.1.1.1:443"})}),
        {{kConnect, "10.1.1.1:443", Verdict::kDeny, "/network/0"}});
}

TEST(DecideNetworkTest, PortZeroIsCoveredOnlyWhereItIsMeant) {
  const auto decide = [](const char* to, const char* endpoint, Effect effect = Effect::kAllow) {
    const Policy policy =
        PolicyOf({Rule(effect, "b", {to}), Rule(Effect::kAllow, "b", {"0.0.0.0/0:0-9"})});
    const Decision decision = DecideNetwork(policy, kBind, ParseEndpoint(endpoint).value(), {});
    return decision.rule == "/network/0";
  };
  EXPECT_TRUE(decide("127.0.0.1:0", "127.0.0.1:0"));
  EXPECT_TRUE(decide("127.0.0.1:0-80", "127.0.0.1:0"));
  EXPECT_FALSE(decide("127.0.0.1", "127.0.0.1:0"));
  EXPECT_TRUE(decide("127.0.0.1", "127.0.0.1:1"));
  EXPECT_TRUE(decide("127.0.0.1", "127.0.0.1:0", Effect::kDeny));
  Check(PolicyOf({Rule(Effect::kAllow, "b", {"*"})}),
        {{kBind, "0.0.0.0:0", Verdict::kAllow, "/network/0"}});
  Check(PolicyOf({Rule(Effect::kAllow, "b", {"*:0"})}),
        {{kBind, "0.0.0.0:0", Verdict::kAllow, "/network/0"},
         {kBind, "0.0.0.0:1", Verdict::kDeny, ""}});
}

TEST(DecideNetworkTest, UnixSockets) {
  Check(PolicyOf({Rule(Effect::kAllow, "c", {"unix:*"}),
                  Rule(Effect::kDeny, "c", {"unix:/run/dbus/system_bus_socket", "unix:@x"})}),
        {{kConnect, "unix:/run/a", Verdict::kAllow, "/network/0"},
         {kConnect, "unix:@y", Verdict::kAllow, "/network/0"},
         {kConnect, "unix:/run/dbus/system_bus_socket", Verdict::kDeny, "/network/1"},
         {kConnect, "unix:@x", Verdict::kDeny, "/network/1"},
         {kConnect, "unix:/x", Verdict::kAllow, "/network/0"},
         {kBind, "unix:/run/a", Verdict::kDeny, ""}});
}

TEST(DecideNetworkTest, ReasonsAndAbsence) {
  const Policy connect_only = PolicyOf({Rule(Effect::kAllow, "c", {"*:80"})});
  const auto reason = [](const Policy& policy, Operation operation, const char* endpoint) {
    return DecideNetwork(policy, operation, ParseEndpoint(endpoint).value(), {}).reason;
  };
  EXPECT_EQ(reason(connect_only, kBind, "127.0.0.1:80"), Reason::kInsufficientAccess);
  EXPECT_EQ(reason(connect_only, kConnect, "127.0.0.1:81"), Reason::kNotCovered);
  EXPECT_EQ(reason(connect_only, kConnect, "127.0.0.1:80"), Reason::kRule);
  Check(PolicyOf({}), {{kConnect, "127.0.0.1:80", Verdict::kDeny, ""},
                       {kConnect, "icmp://127.0.0.1", Verdict::kDeny, ""}});
  Check(Policy{}, {{kConnect, "127.0.0.1:80", Verdict::kAllow, ""}});
}

TEST(DecideNetworkTest, ByName) {
  const Policy policy =
      PolicyOf({Rule(Effect::kAllow, "c", {"Registry.example:443"}),
                Rule(Effect::kAsk, "c", {"*:443"}), Rule(Effect::kDeny, "c", {"10.0.0.0/8"})});
  EXPECT_EQ(DecideNetworkByName(policy, Transport::kTcp, "registry.EXAMPLE", 443).rule,
            "/network/0");
  EXPECT_EQ(DecideNetworkByName(policy, Transport::kTcp, "other.example", 443).rule, "/network/1");
  EXPECT_EQ(DecideNetworkByName(policy, Transport::kTcp, "other.example", 80).verdict,
            Verdict::kDeny);
  EXPECT_EQ(DecideNetworkByName(policy, Transport::kUdp, "registry.example", 443).verdict,
            Verdict::kDeny);
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

rc::Gen<NetworkRule> GenRule() {
  return rc::gen::exec([] {
    const auto to = *UpTo<std::string>(
        3, rc::gen::element<std::string>("*", "*:1", "*:1-3", "10.0.0.0/8", "10.0.0.0/8:1",
                                         "10.0.0.0/9:2", "10.0.0.1", "10.0.0.1:3", "[::]/0",
                                         "[::1]:1", "name", "name:2", "udp://*:1"));
    return Rule(*rc::gen::element(Effect::kAllow, Effect::kDeny, Effect::kAsk),
                *rc::gen::element("c", "b", "cb"), to, *rc::gen::inRange(0, 6) == 0);
  });
}

int Permission(Verdict verdict) {
  return verdict == Verdict::kAllow ? 2 : verdict == Verdict::kAsk ? 1 : 0;
}

TEST(DecideNetworkProperty, OrderDoesNotMatterAndADenyNeverAllowsMore) {
  const PinnedNames names = {
      {"name", {ParseEndpoint("10.0.0.1:1")->address, ParseEndpoint("[::1]:1")->address}}};
  EXPECT_TRUE(rc::check([&] {
    std::vector<NetworkRule> rules = *UpTo<NetworkRule>(6, GenRule());
    const Endpoint endpoint =
        ParseEndpoint(*rc::gen::element<std::string>("10.0.0.1:1", "10.0.0.1:3", "10.200.0.1:2",
                                                     "[::1]:1", "192.0.2.1:2", "udp://[::1]:1"))
            .value();
    const Operation operation = *rc::gen::element(kConnect, kBind);
    const Policy before = PolicyOf(rules);
    const Verdict verdict = DecideNetwork(before, operation, endpoint, names).verdict;
    std::reverse(rules.begin(), rules.end());
    RC_ASSERT(DecideNetwork(PolicyOf(rules), operation, endpoint, names).verdict == verdict);
    NetworkRule added = *GenRule();
    added.effect = Effect::kDeny;
    rules.push_back(added);
    RC_ASSERT(Permission(DecideNetwork(PolicyOf(rules), operation, endpoint, names).verdict) <=
              Permission(verdict));
    Endpoint mapped = endpoint;
    if (!endpoint.address.v6) {
      mapped.address = {};
      mapped.address.v6 = true;
      mapped.address.length = 128;
      mapped.address.address[10] = mapped.address.address[11] = 0xff;
      std::copy_n(endpoint.address.address.begin(), 4, mapped.address.address.begin() + 12);
    }
    RC_ASSERT(DecideNetwork(before, operation, mapped, names).verdict == verdict);
  }));
}

}  // namespace
}  // namespace landgate::policy
