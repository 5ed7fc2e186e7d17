#include "policy/destination.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <utility>
#include <vector>

namespace landgate::policy {
namespace {

using Host = Destination::Host;
using testing::HasSubstr;
using testing::StartsWith;

std::string Show(const IpPrefix& prefix) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(prefix.v6 ? AF_INET6 : AF_INET, prefix.address.data(), text, sizeof text);
  return std::string(text) + "/" + std::to_string(prefix.length);
}

std::string Show(const std::vector<PortRange>& ports) {
  std::string text;
  for (const PortRange& range : ports) {
    text +=
        (text.empty() ? "" : ",") + std::to_string(range.low) + "-" + std::to_string(range.high);
  }
  return text;
}

std::string Show(const Destination& d) {
  static const char* const kTransports[] = {"tcp", "udp", "icmp", "unix"};
  std::string text = kTransports[static_cast<int>(d.transport)];
  switch (d.host) {
    case Host::kAny:
      text += " any";
      break;
    case Host::kPrefix:
      text += " " + Show(d.prefix);
      break;
    case Host::kName:
      text += " name " + d.name;
      break;
    case Host::kUnixPath:
      text += " path " + d.name;
      break;
    case Host::kUnixAbstract:
      text += " abstract " + d.name;
      break;
    case Host::kUnixAny:
      text += " any";
      break;
  }
  return d.ports.empty() ? text : text + " " + Show(d.ports);
}

TEST(DestinationTest, TheGrammar) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"*", "tcp any"},
      {"*:443", "tcp any 443-443"},
      {"*:0", "tcp any 0-0"},
      {"tcp://*:9000-9005", "tcp any 9000-9005"},
      {"10.1.0.0/16:443", "tcp 10.1.0.0/16 443-443"},
      {"0.0.0.0/0", "tcp 0.0.0.0/0"},
      {"169.254.169.254", "tcp 169.254.169.254/32"},
      {"db.internal:5432", "tcp name db.internal 5432-5432"},
      {"DB.Internal", "tcp name db.internal"},
      {"my_db-1:1", "tcp name my_db-1 1-1"},
      {"1password.com", "tcp name 1password.com"},
      {"udp://10.0.0.2:53", "udp 10.0.0.2/32 53-53"},
      {"udp://[::1]:53,67-68", "udp ::1/128 53-53,67-68"},
      {"icmp://*", "icmp any"},
      {"icmp://10.0.0.0/8", "icmp 10.0.0.0/8"},
      {"[2001:db8::]/32:443", "tcp 2001:db8::/32 443-443"},
      {"[2001:DB8::1]", "tcp 2001:db8::1/128"},
      {"[::]/0", "tcp ::/0"},
      {"[::ffff:10.1.2.3]:80", "tcp 10.1.2.3/32 80-80"},
      {"[::ffff:0:0]/96", "tcp 0.0.0.0/0"},
      {"[::ffff:10.0.0.0]/104", "tcp 10.0.0.0/8"},
      {"[::]/80", "tcp ::/80"},
      // Sorted, overlapping and adjacent ranges joined.
      {"*:443,80,81,400-500,65535", "tcp any 80-81,400-500,65535-65535"},
      {"unix:/run/app.sock", "unix path /run/app.sock"},
      {"unix:@name", "unix abstract name"},
      {"unix:@/a//b", "unix abstract /a//b"},
      {"unix:*", "unix any"},
  };
  for (const auto& [text, expected] : table) {
    const Result<Destination> parsed = ParseDestination(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    EXPECT_EQ(Show(*parsed), expected) << text;
    EXPECT_EQ(parsed->text, text);
  }
}

TEST(DestinationTest, ErrorsSayWhatWouldBeRight) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "host is missing"},
      {":443", "host is missing"},
      {"443", "*:PORT"},
      {"tcp://", "host is missing"},
      {"http://x", "tcp, udp or icmp"},
      {"TCP://x", "tcp, udp or icmp"},
      {"*:", "port behind the colon is missing"},
      {"*:65536", "0 to 65535"},
      {"*:99999999999999999999", "0 to 65535"},
      {"*:-1", "0 to 65535"},
      {"*:1-", "0 to 65535"},
      {"*:1,", "0 to 65535"},
      {"*:1,,2", "0 to 65535"},
      {"*: 80", "0 to 65535"},
      {"*:080", "0 to 65535"},
      {"*:http", "0 to 65535"},
      {"*:1-2-3", "0 to 65535"},
      {"*:90-80", "80-90"},
      {"10.1.2.3/16", "10.1.0.0/16"},
      {"10.1.2.3/0", "0.0.0.0/0"},
      {"[2001:db8::1]/32", "[2001:db8::]/32"},
      {"[::ffff:0:0]/90", "bits are set behind the prefix"},
      {"10.0.0.0/33", "0 to 32"},
      {"10.0.0.0/", "0 to 32"},
      {"10.0.0.0/08", "0 to 32"},
      {"[::]/129", "0 to 128"},
      {"[::1/128]", "[ADDRESS]/LENGTH"},
      {"[::1", "not closed"},
      {"[::1]x", "nothing or :PORT"},
      {"[::1]80", "nothing or :PORT"},
      {"[1.2.3.4]", "not an IPv6 address"},
      {"[fe80::1%eth0]", "zone ids"},
      {"::1", "in brackets"},
      {"2001:db8::1:443", "in brackets"},
      {"010.0.0.1", "no leading zeros"},
      {"256.0.0.1", "not an IPv4 address"},
      {"10.1", "not an IPv4 address"},
      {"0x7f000001", "not an IPv4 address"},
      {"1.2.3.0x4", "not an IPv4 address"},
      {"a/24", "not an IPv4 address"},
      {"*.example.com", "pattern of names"},
      {"*/0", "not an IPv4 address"},
      {"a..b", "no empty label"},
      {"a.", "dot at its end"},
      {"-a", "begins nor ends"},
      {"a-.b", "begins nor ends"},
      {"a b", "letters, digits"},
      {"b\xc3\xbc"
       "cher.de",
       "letters, digits"},
      {"user@host", "letters, digits"},
      {std::string(64, 'a'), "63"},
      {std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." +
           std::string(62, 'd'),
       "253"},
      {"icmp://10.0.0.1:1", "no ports"},
      {"unix:", "absolute path"},
      {"unix:run/x", "absolute path"},
      {"unix:/", "name a file"},
      {"unix:/a/../b", "\"..\""},
      {"unix:/a/", "slash at its end"},
      {"unix:@", "missing"},
      {"unix:@" + std::string(108, 'x'), "107"},
  };
  for (const auto& [text, why] : table) {
    const Result<Destination> parsed = ParseDestination(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr(why)) << text;
    EXPECT_THAT(parsed.error().message, StartsWith("destination \"" + text + "\": "));
    EXPECT_EQ(parsed.error().status, ExitStatus::kRefused);
  }
  EXPECT_FALSE(ParseDestination(std::string_view("a\0b", 3)));
  EXPECT_TRUE(ParseDestination(std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                               std::string(63, 'c') + "." + std::string(61, 'd')));
}

TEST(DestinationTest, WhatTheOperationAdds) {
  EXPECT_TRUE(CheckDestinationFor(Operation::kBind, *ParseDestination("*:0")));
  const Status connect = CheckDestinationFor(Operation::kConnect, *ParseDestination("*:0-80"));
  ASSERT_FALSE(connect);
  EXPECT_THAT(connect.error().message, HasSubstr("port 0"));
  EXPECT_TRUE(CheckDestinationFor(Operation::kConnect, *ParseDestination("*:1-80")));
  EXPECT_TRUE(CheckDestinationFor(Operation::kConnect, *ParseDestination("*")));
  EXPECT_FALSE(CheckDestinationFor(Operation::kBind, *ParseDestination("icmp://*")));
  EXPECT_TRUE(CheckDestinationFor(Operation::kConnect, *ParseDestination("icmp://*")));
}

TEST(DestinationTest, EndpointsAreOneDestination) {
  const Result<Endpoint> mapped = ParseEndpoint("[::ffff:10.1.2.3]:443");
  ASSERT_TRUE(mapped);
  EXPECT_EQ(Show(mapped->address), "10.1.2.3/32");
  EXPECT_EQ(mapped->port, 443);
  const Result<Endpoint> udp = ParseEndpoint("udp://[::1]:53");
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->transport, Transport::kUdp);
  const Result<Endpoint> abstract = ParseEndpoint("unix:@x");
  ASSERT_TRUE(abstract);
  EXPECT_TRUE(abstract->abstract);
  EXPECT_EQ(abstract->unix_name, "x");
  EXPECT_EQ(ParseEndpoint("unix:/run/x")->unix_name, "/run/x");
  EXPECT_TRUE(ParseEndpoint("icmp://10.0.0.1"));
  for (const char* bad : {"10.0.0.1", "10.0.0.1:1-2", "10.0.0.1:1,3", "10.0.0.0/8:1", "*:1",
                          "unix:*", "name:1", "10.0.0.1:65536"}) {
    EXPECT_FALSE(ParseEndpoint(bad)) << bad;
  }
}

TEST(DestinationTest, PrefixesCoverByBits) {
  const auto covers = [](const char* prefix, const char* address) {
    return PrefixCovers(ParseDestination(prefix)->prefix, ParseDestination(address)->prefix);
  };
  EXPECT_TRUE(covers("10.1.0.0/16", "10.1.255.255"));
  EXPECT_FALSE(covers("10.1.0.0/16", "10.2.0.0"));
  EXPECT_TRUE(covers("10.128.0.0/9", "10.200.0.1"));
  EXPECT_FALSE(covers("10.128.0.0/9", "10.127.0.1"));
  EXPECT_TRUE(covers("0.0.0.0/0", "255.255.255.255"));
  EXPECT_FALSE(covers("0.0.0.0/0", "[::1]"));
  EXPECT_FALSE(covers("[::]/0", "1.2.3.4"));
  EXPECT_TRUE(covers("[::]/0", "[2001:db8::1]"));
  EXPECT_FALSE(covers("10.0.0.1", "10.0.0.0/8"));
  EXPECT_TRUE(PortsCover({}, 7));
  EXPECT_TRUE(PortsCover({{5, 6}, {7, 9}}, 9));
  EXPECT_FALSE(PortsCover({{5, 6}, {8, 9}}, 7));
}

TEST(DestinationProperty, EveryNetworkIsReadAsItIsWritten) {
  EXPECT_TRUE(rc::check([] {
    IpPrefix prefix;
    prefix.v6 = *rc::gen::arbitrary<bool>();
    const int bits = prefix.v6 ? 128 : 32;
    prefix.length = static_cast<uint8_t>(*rc::gen::inRange(0, bits + 1));
    IpPrefix inside = prefix;
    for (int bit = 0; bit < bits; ++bit) {
      const bool set = *rc::gen::arbitrary<bool>();
      const auto mask = static_cast<uint8_t>(set ? 0x80U >> (bit % 8) : 0);
      inside.address[static_cast<size_t>(bit / 8)] |= mask;
      if (bit < prefix.length) prefix.address[static_cast<size_t>(bit / 8)] |= mask;
    }
    inside.length = static_cast<uint8_t>(bits);
    RC_PRE(!prefix.v6 || prefix.length == 0 || prefix.address[0] != 0);  // not v4-mapped
    RC_PRE(!inside.v6 || inside.address[0] != 0);
    const auto write = [](const IpPrefix& p) {
      const std::string shown = Show(p);
      const size_t slash = shown.find('/');
      return p.v6 ? "[" + shown.substr(0, slash) + "]" + shown.substr(slash) : shown;
    };
    const Result<Destination> parsed = ParseDestination(write(prefix));
    RC_ASSERT(static_cast<bool>(parsed));
    RC_ASSERT(Show(parsed->prefix) == Show(prefix));
    RC_ASSERT(PrefixCovers(parsed->prefix, inside));
    if (prefix.length > 0) {
      IpPrefix outside = inside;
      const size_t last = prefix.length - 1U;
      outside.address[last / 8] ^= static_cast<uint8_t>(0x80U >> (last % 8));
      RC_ASSERT(!PrefixCovers(parsed->prefix, outside));
    }
  }));
}

}  // namespace
}  // namespace landgate::policy
