// A client of the control API as bytes on a socket, so that a test can be slow, wrong or rude.
#ifndef LANDGATE_TESTS_INTEGRATION_AGENT_CONTROL_CLIENT_H_
#define LANDGATE_TESTS_INTEGRATION_AGENT_CONTROL_CLIENT_H_

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "policy/json_reader.h"

namespace landgate::agent {

struct HttpAnswer {
  int status = 0;
  std::string head, body;
  std::string Header(std::string name) const {
    std::string lower = head;
    for (std::string* text : {&lower, &name})
      std::transform(text->begin(), text->end(), text->begin(), ::tolower);
    const size_t at = lower.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t start = at + name.size() + 4;
    return head.substr(start, head.find('\r', start) - start);
  }
  policy::Json Json() const {
    auto parsed = policy::ParseJson(body, "answer", policy::Comments::kRefused);
    EXPECT_TRUE(parsed) << body;
    return parsed ? *parsed : policy::Json();
  }
};

class ControlClient {
 public:
  static constexpr std::chrono::seconds kPatience{30};

  explicit ControlClient(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    connected_ =
        ::connect(fd_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) == 0;
    error_number_ = connected_ ? 0 : errno;
  }
  explicit ControlClient(UniqueFd connected) : fd_(std::move(connected)), connected_(true) {}

  bool connected() const { return connected_; }
  int error_number() const { return error_number_; }
  int fd() const { return fd_.get(); }
  const std::string& received() const { return received_; }

  // False: the other side has closed.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  bool Get(const std::string& target) {
    return Send("GET " + target + " HTTP/1.1\r\nHost: landgate\r\n\r\n");
  }
  // Reads until `enough` or the end; false: neither came in time.
  bool ReadUntil(const std::function<bool(const std::string&)>& enough,
                 std::chrono::milliseconds patience = kPatience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!enough(received_)) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      struct pollfd entry = {fd_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&entry, 1, static_cast<int>(left.count())) <= 0) return false;
      char buffer[65536];
      const ssize_t count = ::read(fd_.get(), buffer, sizeof buffer);
      if (count <= 0) {
        ended_ = true;
        return enough(received_);
      }
      received_.append(buffer, static_cast<size_t>(count));
    }
    return true;
  }
  bool ReadUntilText(const std::string& text) {
    return ReadUntil([&](const std::string& all) { return all.find(text) != std::string::npos; });
  }
  bool ReadToEnd(std::chrono::milliseconds patience = kPatience) {
    (void)ReadUntil([](const std::string&) { return false; }, patience);
    return ended_;
  }
  // One whole answer with a length; what follows stays.
  HttpAnswer Answer() {
    HttpAnswer answer;
    EXPECT_TRUE(ReadUntilText("\r\n\r\n")) << received_;
    const size_t end = received_.find("\r\n\r\n");
    if (end == std::string::npos) return answer;
    answer.head = received_.substr(0, end + 2);
    answer.status = received_.size() > 12 ? atoi(received_.c_str() + 9) : 0;
    const size_t length = strtoul(answer.Header("Content-Length").c_str(), nullptr, 10);
    EXPECT_TRUE(ReadUntil([&](const std::string& all) { return all.size() >= end + 4 + length; }));
    answer.body = received_.substr(end + 4, length);
    received_.erase(0, end + 4 + length);
    return answer;
  }

 private:
  UniqueFd fd_;
  bool connected_ = false, ended_ = false;
  int error_number_ = 0;
  std::string received_;
};

inline HttpAnswer Get(const std::string& socket, const std::string& target) {
  ControlClient client(socket);
  EXPECT_TRUE(client.Get(target));
  return client.Answer();
}

}  // namespace landgate::agent

#endif  // LANDGATE_TESTS_INTEGRATION_AGENT_CONTROL_CLIENT_H_
