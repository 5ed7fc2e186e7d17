// The control API as its clients see it, over an inventory of the test's own.
#include "agent/control/control_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "agent/control/control_socket.h"
#include "agent/limits.h"
#include "tests/integration/agent/control_client.h"

namespace landgate::agent {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class FakeInventory : public Inventory {
 public:
  void Add(node::Registration registration, std::vector<ListenerSnapshot> listeners = {}) {
    const std::lock_guard lock(mutex_);
    ContainerSnapshot snapshot;
    snapshot.container = std::make_shared<Container>(std::move(registration));
    snapshot.listeners = std::move(listeners);
    snapshot.denied = 3;
    snapshot.asked = 1;
    containers_.push_back(std::move(snapshot));
  }
  std::vector<ContainerSnapshot> Containers() const override {
    const std::lock_guard lock(mutex_);
    return containers_;
  }
  std::optional<ContainerSnapshot> Find(const std::string& id) const override {
    const std::lock_guard lock(mutex_);
    for (const ContainerSnapshot& container : containers_)
      if (container.container->id() == id) return container;
    return std::nullopt;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<ContainerSnapshot> containers_;
};

node::Registration Web() {
  node::Registration web;
  web.id = "web-1";
  web.pid = 4242;
  web.start_time = 100;
  web.bundle = "/run/bundles/web";
  web.root = "/srv/web";
  web.front_end = "runtime";
  web.pod = "shop";
  policy::Policy policy;
  policy.name = "web-service";
  policy.file = "/etc/landgate/policies/web-service.json";
  policy.denied_syscalls = {"bpf", "ptrace"};
  web.policies = {policy};
  web.floor_json =
      R"({"landlock":"partial","degraded":[{"policy":"web-service","right":"fs.ioctl_dev",)"
      R"("neededAbi":5,"foundAbi":4}],"rules":[],"mounts":[{"kind":"mask-file","path":"/x"}]})";
  return web;
}

class ControlApiTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "control-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    socket_ = directory_ + "/control.sock";
    inventory_.Add(Web(), {{7, true, Phase::kWorkload, 4242}, {8, false, Phase::kLauncher, 0}});
    Begin();
  }
  void TearDown() override {
    api_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Begin() {
    auto control = ListenOnControlSocket(socket_, "no-such-group");
    ASSERT_TRUE(control) << control.error().message;
    auto metrics = ListenOnTcp("127.0.0.1:0");
    ASSERT_TRUE(metrics) << metrics.error().message;
    struct sockaddr_in address = {};
    socklen_t length = sizeof address;
    ASSERT_EQ(getsockname(metrics->get(), reinterpret_cast<struct sockaddr*>(&address), &length),
              0);
    tcp_ = address;
    auto api = ControlApi::Start(std::move(*control), std::move(*metrics),
                                 {&inventory_, &events_, [] { return std::string("up 1\n"); }});
    ASSERT_TRUE(api) << api.error().message;
    api_ = std::move(*api);
  }
  ControlClient Tcp() {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<struct sockaddr*>(&tcp_), sizeof tcp_), 0);
    return ControlClient(std::move(fd));
  }
  void Publish(AuditVerdict verdict, const std::string& container, const std::string& path = "/p") {
    auto record = std::make_shared<AuditRecord>();
    record->verdict = verdict;
    record->container = container;
    record->path = path;
    events_.Publish(record);
  }

  std::string directory_, socket_;
  struct sockaddr_in tcp_ = {};
  FakeInventory inventory_;
  Events events_;
  std::unique_ptr<ControlApi> api_;
};

TEST_F(ControlApiTest, ContainersAreListed) {
  const HttpAnswer answer = Get(socket_, "/v1/containers");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Type"), "application/json");
  const policy::Json json = answer.Json();
  ASSERT_EQ(json["containers"].size(), 1u);
  const policy::Json& web = json["containers"][0];
  EXPECT_EQ(web["id"], "web-1");
  EXPECT_EQ(web["policy"], "web-service");
  EXPECT_EQ(web["mode"], "enforce");
  EXPECT_EQ(web["floor"], "partial");
  EXPECT_EQ(web["degraded"][0]["right"], "fs.ioctl_dev");
  EXPECT_EQ(web["listeners"], 2);
  EXPECT_EQ(web["denied"], 3);
  EXPECT_EQ(web["asked"], 1);
}

TEST_F(ControlApiTest, OneContainer) {
  const policy::Json json = Get(socket_, "/v1/containers/web-1").Json();
  EXPECT_EQ(json["id"], "web-1");
  EXPECT_EQ(json["frontEnd"], "runtime");
  EXPECT_EQ(json["listenerList"][0]["kind"], "container");
  EXPECT_EQ(json["listenerList"][1]["phase"], "launcher");
  EXPECT_EQ(json["enforcement"]["mounts"][0]["path"], "/x");
  EXPECT_EQ(Get(socket_, "/v1/containers/web%2D1").status, 200);
  const HttpAnswer missing = Get(socket_, "/v1/containers/web");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.Json()["error"], "web: no such container");
}

TEST_F(ControlApiTest, AuditModeHasNoFloor) {
  node::Registration audit = Web();
  audit.id = "watched";
  audit.mode = oci::Mode::kAudit;
  audit.floor_json.clear();
  inventory_.Add(std::move(audit));
  const policy::Json json = Get(socket_, "/v1/containers/watched").Json();
  EXPECT_EQ(json["mode"], "audit");
  EXPECT_EQ(json["floor"], "none");
  EXPECT_TRUE(json["enforcement"].is_null());
}

TEST_F(ControlApiTest, PolicyIsADocument) {
  const policy::Json json = Get(socket_, "/v1/containers/web-1/policy").Json();
  ASSERT_EQ(json["policies"].size(), 1u);
  EXPECT_EQ(json["policies"][0]["name"], "web-service");
  EXPECT_EQ(json["policies"][0]["policy"]["landgate"], 1);
  EXPECT_EQ(json["policies"][0]["policy"]["syscalls"]["deny"][1], "ptrace");
}

TEST_F(ControlApiTest, VersionAndMetrics) {
  EXPECT_EQ(Get(socket_, "/v1/version").Json()["version"], LANDGATE_VERSION);
  const HttpAnswer metrics = Get(socket_, "/metrics");
  EXPECT_EQ(metrics.body, "up 1\n");
  EXPECT_THAT(metrics.Header("Content-Type"), StartsWith("text/plain; version=0.0.4"));
}

TEST_F(ControlApiTest, TcpShowsMetricsAlone) {
  ControlClient client = Tcp();
  ASSERT_TRUE(client.Get("/metrics"));
  EXPECT_EQ(client.Answer().body, "up 1\n");
  for (const char* target :
       {"/v1/containers", "/v1/containers/web-1", "/v1/events", "/v1/version"}) {
    ASSERT_TRUE(client.Get(target));
    const HttpAnswer answer = client.Answer();
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_THAT(answer.body, testing::Not(HasSubstr("web-1")));
  }
}

TEST_F(ControlApiTest, ErrorsAreJson) {
  const auto expect = [&](int status, const std::string& request) {
    ControlClient client(socket_);
    ASSERT_TRUE(client.Send(request + " HTTP/1.1\r\nHost: x\r\n\r\n"));
    const HttpAnswer answer = client.Answer();
    EXPECT_EQ(answer.status, status) << request;
    EXPECT_TRUE(answer.Json()["error"].is_string()) << request;
    EXPECT_EQ(answer.Header("Allow"), status == 405 ? "GET, HEAD" : "");
  };
  expect(404, "GET /");
  expect(404, "GET /v1");
  expect(404, "GET /v1/containers/");
  expect(404, "GET /v1/containers/a/b");
  expect(404, "GET /v2/containers");
  expect(404, "POST /nothing");
  expect(405, "POST /v1/containers");
  expect(405, "DELETE /v1/containers/web-1");
  expect(400, "GET /v1/containers/%zz");
  expect(400, "GET /v1/containers?all=1");
  expect(400, "GET /v1/events?denied=yes");
  expect(400, "GET /v1/events?container=");
  expect(400, "GET /v1/events?unknown=1");
}

TEST_F(ControlApiTest, ABodyIsNotRead) {
  ControlClient client(socket_);
  ASSERT_TRUE(
      client.Send("POST /v1/containers HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"));
  EXPECT_EQ(client.Answer().status, 405);
  EXPECT_TRUE(client.ReadToEnd());
}

TEST_F(ControlApiTest, HeadHasNoBody) {
  ControlClient client(socket_);
  ASSERT_TRUE(client.Send("HEAD /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_TRUE(client.ReadToEnd());
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(client.received().ends_with("\r\n\r\n"));
}

TEST_F(ControlApiTest, PipelinedRequestsAreAnsweredInOrder) {
  ControlClient client(socket_);
  ASSERT_TRUE(client.Get("/v1/version"));
  ASSERT_TRUE(client.Get("/v1/containers/web-1"));
  EXPECT_EQ(client.Answer().Json()["api"], "v1");
  EXPECT_EQ(client.Answer().Json()["id"], "web-1");
}

TEST_F(ControlApiTest, WhatIsTooLargeIsRefused) {
  for (const bool in_target : {true, false}) {
    ControlClient client(socket_);
    const std::string huge(4 * kMaxControlRequestBytes, 'a');
    (void)client.Send(in_target
                          ? "GET /" + huge + " HTTP/1.1\r\nHost: x\r\n\r\n"
                          : "GET /v1/version HTTP/1.1\r\nHost: x\r\nX-A: " + huge + "\r\n\r\n");
    EXPECT_TRUE(client.ReadToEnd());
    EXPECT_TRUE(client.received().empty() || client.received().starts_with("HTTP/1.1 4"))
        << client.received();
  }
  EXPECT_EQ(Get(socket_, "/v1/version").status, 200);
}

TEST_F(ControlApiTest, GarbageEndsItsConnectionOnly) {
  ControlClient client(socket_);
  (void)client.Send(std::string("\x16\x03\x01\0\0\xff\xff\r\n\r\n\r\n", 13));
  EXPECT_TRUE(client.ReadToEnd());
  EXPECT_EQ(Get(socket_, "/v1/version").status, 200);
}

TEST_F(ControlApiTest, SixtyFourClientsAtOnce) {
  std::vector<std::unique_ptr<ControlClient>> clients;
  for (unsigned i = 0; i < kMaxControlConnections; ++i) {
    clients.push_back(std::make_unique<ControlClient>(socket_));
    ASSERT_TRUE(clients.back()->Send("GET /v1/containers HT"));
  }
  // One more waits until a place is free, and is then served.
  ControlClient waiting(socket_);
  ASSERT_TRUE(waiting.Get("/v1/version"));
  for (const auto& client : clients) ASSERT_TRUE(client->Send("TP/1.1\r\nHost: x\r\n\r\n"));
  for (const auto& client : clients) EXPECT_EQ(client->Answer().status, 200);
  clients.clear();
  EXPECT_EQ(waiting.Answer().status, 200);
}

TEST_F(ControlApiTest, EventsReachEveryReaderThatAskedForThem) {
  ControlClient all(socket_), denied(socket_), of_web(socket_);
  ASSERT_TRUE(all.Get("/v1/events"));
  ASSERT_TRUE(denied.Get("/v1/events?denied=1"));
  ASSERT_TRUE(of_web.Get("/v1/events?container=web-1"));
  for (ControlClient* client : {&all, &denied, &of_web}) {
    ASSERT_TRUE(client->ReadUntilText(": landgate events\n\n"));
    EXPECT_THAT(client->received(), HasSubstr("text/event-stream"));
  }
  Publish(AuditVerdict::kAllow, "web-1", "/allowed");
  Publish(AuditVerdict::kDeny, "db-1", "/denied");
  Publish(AuditVerdict::kAudit, "db-1", "/audited");
  Publish(AuditVerdict::kDeny, "web-1", "/last");
  for (ControlClient* client : {&all, &denied, &of_web})
    ASSERT_TRUE(client->ReadUntilText("/last"));
  const auto saw = [](const ControlClient& client, const char* path) {
    return client.received().find(path) != std::string::npos;
  };
  EXPECT_TRUE(saw(all, "/allowed") && saw(all, "/denied") && saw(all, "/audited"));
  EXPECT_TRUE(!saw(denied, "/allowed") && saw(denied, "/denied") && saw(denied, "/audited"));
  EXPECT_TRUE(saw(of_web, "/allowed") && !saw(of_web, "/denied") && !saw(of_web, "/audited"));
}

TEST_F(ControlApiTest, ASlowReaderLosesRecordsAndIsTold) {
  ControlClient slow(socket_), quick(socket_);
  ASSERT_TRUE(slow.Get("/v1/events"));
  ASSERT_TRUE(quick.Get("/v1/events?container=last"));
  ASSERT_TRUE(slow.ReadUntilText(": landgate events\n\n"));
  ASSERT_TRUE(quick.ReadUntilText(": landgate events\n\n"));
  const std::string path(4000, 'x');
  const int published = 3 * static_cast<int>(kEventBacklog);
  for (int i = 0; i < published; ++i) Publish(AuditVerdict::kDeny, "web-1", path);
  Publish(AuditVerdict::kDeny, "last", "/end");
  // Nobody else waits for the slow one.
  ASSERT_TRUE(quick.ReadUntilText("/end"));
  EXPECT_EQ(Get(socket_, "/v1/version").status, 200);
  ASSERT_TRUE(slow.ReadUntilText("/end"));
  const std::string& text = slow.received();
  uint64_t lost = 0;
  for (size_t at = 0; (at = text.find("{\"lost\":", at)) != std::string::npos; ++at)
    lost += strtoull(text.c_str() + at + 8, nullptr, 10);
  int seen = 0;
  for (size_t at = 0; (at = text.find("data: {\"time\"", at)) != std::string::npos; ++at) ++seen;
  EXPECT_GT(lost, 0u);
  EXPECT_EQ(lost + static_cast<uint64_t>(seen), static_cast<uint64_t>(published) + 1);
}

TEST_F(ControlApiTest, ReadersOfEventsLeaveRoomForOthers) {
  std::vector<std::unique_ptr<ControlClient>> readers;
  for (unsigned i = 0; i < kMaxEventReaders; ++i) {
    readers.push_back(std::make_unique<ControlClient>(socket_));
    ASSERT_TRUE(readers.back()->Get("/v1/events"));
    ASSERT_TRUE(readers.back()->ReadUntilText(": landgate events\n\n"));
  }
  EXPECT_EQ(Get(socket_, "/v1/events").status, 503);
  EXPECT_EQ(Get(socket_, "/v1/containers").status, 200);
  // One that has hung up is noticed although nothing is sent to it.
  readers.pop_back();
  for (int i = 0; i < 1000; ++i) {
    ControlClient next(socket_);
    ASSERT_TRUE(next.Get("/v1/events"));
    ASSERT_TRUE(next.ReadUntilText("\r\n\r\n"));
    if (next.received().starts_with("HTTP/1.1 200")) return;
    ASSERT_TRUE(next.received().starts_with("HTTP/1.1 503"));
  }
  FAIL() << "the place of the one that hung up is never free";
}

TEST_F(ControlApiTest, StopsWithClientsOfEveryKind) {
  ControlClient idle(socket_), half(socket_), reader(socket_);
  ASSERT_TRUE(half.Send("GET /v1/ev"));
  ASSERT_TRUE(reader.Get("/v1/events"));
  ASSERT_TRUE(reader.ReadUntilText(": landgate events\n\n"));
  api_.reset();
  for (ControlClient* client : {&idle, &half, &reader}) EXPECT_TRUE(client->ReadToEnd());
  Publish(AuditVerdict::kDeny, "web-1");  // nobody is there any more
}

TEST_F(ControlApiTest, PublishingWhileReadersComeAndGo) {
  std::atomic<bool> stop{false};
  std::thread publisher([&] {
    while (!stop) Publish(AuditVerdict::kDeny, "web-1");
  });
  for (int i = 0; i < 200; ++i) {
    ControlClient client(socket_);
    ASSERT_TRUE(client.Get("/v1/events"));
    ASSERT_TRUE(client.ReadUntilText("\"container\":\"web-1\""));
  }
  stop = true;
  publisher.join();
}

// Named so that a quick run can leave it out: it takes as long as the limit it tests.
TEST_F(ControlApiTest, SlowlorisIsCutOff) {
  using std::chrono::steady_clock;
  ControlClient slow(socket_), silent(socket_), deaf(socket_);
  ASSERT_TRUE(slow.Send("GET /v1/version HTTP/1.1\r\n"));
  const auto start = steady_clock::now();
  bool cut_off = false;
  while (!cut_off &&
         steady_clock::now() - start < std::chrono::seconds(2 * kControlTimeoutSeconds)) {
    // A byte now and then keeps any inactivity timer content.
    cut_off = !slow.Send("X");
    struct pollfd entry = {slow.fd(), POLLIN, 0};
    if (poll(&entry, 1, 200) > 0) cut_off = cut_off || slow.ReadToEnd();
  }
  EXPECT_TRUE(cut_off);
  EXPECT_GE(steady_clock::now() - start, std::chrono::seconds(kControlTimeoutSeconds - 1));
  EXPECT_TRUE(silent.ReadToEnd());
  EXPECT_EQ(Get(socket_, "/v1/version").status, 200);
}

}  // namespace
}  // namespace landgate::agent
