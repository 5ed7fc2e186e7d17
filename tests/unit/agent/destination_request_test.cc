#include "agent/handlers/destination_request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace landgate::agent {
namespace {

using policy::Operation;

constexpr SocketKind kTcp{AF_INET, SOCK_STREAM, IPPROTO_TCP}, kTcp6{AF_INET6, SOCK_STREAM, 0},
    kUdp{AF_INET, SOCK_DGRAM, 0}, kUdp6{AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
    kMptcp{AF_INET, SOCK_STREAM, 262}, kPing{AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
    kRaw{AF_INET, SOCK_RAW, IPPROTO_ICMP}, kUnixStream{AF_UNIX, SOCK_STREAM, 0},
    kNetlink{AF_NETLINK, SOCK_RAW, 0};

template <class T>
std::vector<std::byte> Bytes(const T& value, size_t size = sizeof(T)) {
  std::vector<std::byte> bytes(size);
  std::memcpy(bytes.data(), &value, std::min(size, sizeof value));
  return bytes;
}

std::vector<std::byte> V4(const char* host, uint16_t port, sa_family_t family = AF_INET,
                          size_t size = sizeof(sockaddr_in)) {
  struct sockaddr_in address {};
  address.sin_family = family;
  address.sin_port = htons(port);
  EXPECT_EQ(1, inet_pton(AF_INET, host, &address.sin_addr));
  return Bytes(address, size);
}
std::vector<std::byte> V6(const char* host, uint16_t port, size_t size = sizeof(sockaddr_in6)) {
  struct sockaddr_in6 address {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  EXPECT_EQ(1, inet_pton(AF_INET6, host, &address.sin6_addr));
  return Bytes(address, size);
}
std::vector<std::byte> Unix(std::string_view name, size_t extra = 0) {
  std::vector<std::byte> bytes(2 + name.size() + extra);
  const sa_family_t family = AF_UNIX;
  std::memcpy(bytes.data(), &family, 2);
  std::memcpy(bytes.data() + 2, name.data(), name.size());
  return bytes;
}

// The endpoint in words, "nothing" where there is nothing to decide, or the errno's name.
std::string Decoded(Operation operation, const SocketKind& socket,
                    const std::vector<std::byte>& raw) {
  const auto request = DecodeAddress(operation, socket, raw);
  if (!request) return strerrorname_np(request.error());
  if (!*request) return "nothing";
  EXPECT_EQ(operation, (*request)->operation);
  return DescribeEndpoint((*request)->endpoint);
}
std::string Connect(const SocketKind& socket, const std::vector<std::byte>& raw) {
  return Decoded(Operation::kConnect, socket, raw);
}
std::string Bind(const SocketKind& socket, const std::vector<std::byte>& raw) {
  return Decoded(Operation::kBind, socket, raw);
}

TEST(Destination, TheSocketSaysWhatItIs) {
  EXPECT_EQ("tcp://10.0.0.7:443", Connect(kTcp, V4("10.0.0.7", 443)));
  EXPECT_EQ("tcp://10.0.0.7:443", Connect(kMptcp, V4("10.0.0.7", 443)));
  EXPECT_EQ("udp://10.0.0.7:53", Connect(kUdp, V4("10.0.0.7", 53)));
  EXPECT_EQ("icmp://10.0.0.7", Connect(kPing, V4("10.0.0.7", 0)));
  EXPECT_EQ("udp://[2001:db8::1]:53", Connect(kUdp6, V6("2001:db8::1", 53)));
  EXPECT_EQ("nothing", Connect(kRaw, V4("10.0.0.7", 0)));
  EXPECT_EQ("nothing", Connect(kNetlink, V4("10.0.0.7", 0)));
  // Bytes that say AF_UNIX on a TCP socket are no UNIX address, and the other way round.
  EXPECT_EQ("EAFNOSUPPORT", Connect(kTcp, Unix("/run/x.sock", 20)));
  EXPECT_EQ("EINVAL", Connect(kUnixStream, V4("10.0.0.7", 443)));
}

TEST(Destination, OneHostHasOneName) {
  EXPECT_EQ("tcp://10.0.0.7:443", Connect(kTcp6, V6("::ffff:10.0.0.7", 443)));
  EXPECT_EQ("tcp://10.0.0.7:443", Connect(kTcp6, V4("10.0.0.7", 443)));
  EXPECT_EQ("EINVAL", Bind(kTcp6, V4("10.0.0.7", 443)));
}

TEST(Destination, Unspecified) {
  EXPECT_EQ("nothing", Connect(kTcp, V4("0.0.0.0", 0, AF_UNSPEC)));
  EXPECT_EQ("nothing", Connect(kUdp, V4("1.2.3.4", 5, AF_UNSPEC)));
  // bind takes it for an address.
  EXPECT_EQ("tcp://0.0.0.0:80", Bind(kTcp, V4("0.0.0.0", 80, AF_UNSPEC)));
  EXPECT_EQ("EAFNOSUPPORT", Bind(kTcp, V4("1.2.3.4", 80, AF_UNSPEC)));
}

TEST(Destination, LengthsAsTheKernelTakesThem) {
  EXPECT_EQ("EINVAL", Connect(kTcp, {}));
  EXPECT_EQ("EINVAL", Connect(kTcp, V4("10.0.0.7", 1, AF_INET, 1)));
  EXPECT_EQ("EINVAL", Connect(kTcp, V4("10.0.0.7", 1, AF_INET, 15)));
  EXPECT_EQ("tcp://10.0.0.7:1", Connect(kTcp, V4("10.0.0.7", 1, AF_INET, 128)));
  EXPECT_EQ("EINVAL", Connect(kTcp6, V6("::1", 1, 23)));
  EXPECT_EQ("tcp://[::1]:1", Connect(kTcp6, V6("::1", 1, 24)));
}

TEST(Destination, UnixNames) {
  using namespace std::string_literals;
  using namespace std::string_view_literals;
  EXPECT_EQ("unix:/run/x.sock", Connect(kUnixStream, Unix("/run/x.sock")));
  EXPECT_EQ("unix:/run/x.sock", Connect(kUnixStream, Unix("/run/x.sock\0junk"sv)));
  EXPECT_EQ("unix:x.sock", Bind(kUnixStream, Unix("x.sock", 1)));
  // An abstract name is all its bytes, zeros too.
  EXPECT_EQ("unix:@a\0b"s + '\0', Connect(kUnixStream, Unix("\0a\0b"sv, 1)));
  EXPECT_EQ("EINVAL", Connect(kUnixStream, Unix("")));
  EXPECT_EQ("nothing", Bind(kUnixStream, Unix("")));
  EXPECT_EQ("EINVAL", Connect(kUnixStream, Unix(std::string(109, 'x'))));
  EXPECT_EQ("unix:" + std::string(108, 'x'), Connect(kUnixStream, Unix(std::string(108, 'x'))));
}

TEST(Destination, LibcsProbeOfAddressFamilies) {
  EXPECT_EQ("nothing", Connect(kUdp, V4("127.0.0.1", 65535)));
  EXPECT_EQ("nothing", Connect(kUdp6, V6("::1", 65535)));
  EXPECT_EQ("udp://127.0.0.1:65534", Connect(kUdp, V4("127.0.0.1", 65534)));
  EXPECT_EQ("udp://10.0.0.7:65535", Connect(kUdp, V4("10.0.0.7", 65535)));
  EXPECT_EQ("tcp://127.0.0.1:65535", Connect(kTcp, V4("127.0.0.1", 65535)));
  EXPECT_EQ("udp://127.0.0.1:65535", Bind(kUdp, V4("127.0.0.1", 65535)));
}

TEST(Destination, AnyBytesAreDecodedOrRefused) {
  rc::check([](const std::vector<uint8_t>& bytes, bool connect, uint8_t kind) {
    const SocketKind kinds[] = {kTcp, kTcp6, kUdp, kUdp6, kPing, kRaw, kUnixStream, kNetlink};
    std::vector<std::byte> raw;
    for (size_t i = 0; i < std::min<size_t>(bytes.size(), 128); ++i) {
      raw.push_back(static_cast<std::byte>(bytes[i]));
    }
    const auto request =
        DecodeAddress(connect ? Operation::kConnect : Operation::kBind, kinds[kind % 8], raw);
    if (!request) RC_ASSERT(request.error() == EINVAL || request.error() == EAFNOSUPPORT);
  });
}

uint64_t At(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

tl::expected<RawAddress, int> Read(uint64_t address, uint64_t size) {
  struct seccomp_notif notification {};
  notification.pid = static_cast<uint32_t>(gettid());
  notification.data.args[1] = address;
  notification.data.args[2] = size;
  return ReadAddress(*FindCall("connect"), notification);
}

TEST(ReadAddress, ExactlyAsManyBytesAsTheCallerSaid) {
  const std::vector<std::byte> raw = V4("10.0.0.7", 443, AF_INET, 128);
  const auto address = Read(At(raw.data()), 16);
  ASSERT_TRUE(address);
  EXPECT_EQ(16u, address->text().size());
  EXPECT_EQ(0, std::memcmp(raw.data(), address->text().data(), 16));
  EXPECT_EQ(128u, Read(At(raw.data()), 128)->size);
  EXPECT_EQ(0u, Read(8, 0)->size);
  EXPECT_EQ(EINVAL, Read(At(raw.data()), 129).error());
  EXPECT_EQ(EINVAL, Read(At(raw.data()), 0xffffffff).error());
  // The upper half of an int is the kernel's to ignore.
  EXPECT_EQ(16u, Read(At(raw.data()), 1ULL << 32 | 16)->size);
  EXPECT_EQ(EFAULT, Read(8, 16).error());
}

TEST(KindOfSocket, OfThisProcess) {
  const UniqueFd udp6(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!udp6.valid()) GTEST_SKIP() << "no IPv6: " << strerror(errno);
  const auto kind = KindOfSocket(gettid(), udp6.get());
  ASSERT_TRUE(kind) << kind.error().message;
  EXPECT_EQ(AF_INET6, kind->domain);
  EXPECT_EQ(SOCK_DGRAM, kind->type);
  EXPECT_EQ(IPPROTO_UDP, kind->protocol);
  EXPECT_EQ(EBADF, KindOfSocket(gettid(), 12345).error().error_number);
  const UniqueFd file(memfd_create("x", MFD_CLOEXEC));
  EXPECT_EQ(ENOTSOCK, KindOfSocket(gettid(), file.get()).error().error_number);
}

}  // namespace
}  // namespace landgate::agent
