#include "agent/control/metrics_text.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>

namespace landgate::agent {
namespace {

// The text format 0.0.4 as the specification has it, read without mercy: what a scraper might
// forgive is a failure here.
class StrictText {
 public:
  using Labels = std::map<std::string, std::string>;
  struct Family {
    std::string help, type;
    std::map<std::string, std::map<Labels, double>> samples;  // name, labels, value
  };

  explicit StrictText(const std::string& text) {
    if (text.empty() || text.back() != '\n') Fail("does not end with a newline", "");
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) Line(line);
    for (const auto& [name, family] : families) Check(name, family);
  }

  std::map<std::string, Family> families;
  std::vector<std::string> errors;

  double Value(const std::string& name, const Labels& labels = {}) const {
    for (const auto& [base, family] : families) {
      const auto samples = family.samples.find(name);
      if (samples == family.samples.end()) continue;
      const auto found = samples->second.find(labels);
      if (found != samples->second.end()) return found->second;
    }
    ADD_FAILURE() << "no sample " << name;
    return std::numeric_limits<double>::quiet_NaN();
  }

 private:
  void Fail(const std::string& what, const std::string& where) {
    errors.push_back(what + ": " + where);
  }
  static bool IsName(const std::string& name) {
    if (name.empty() || isdigit(static_cast<unsigned char>(name[0]))) return false;
    return std::all_of(name.begin(), name.end(),
                       [](unsigned char c) { return isalnum(c) || c == '_' || c == ':'; });
  }

  void Line(const std::string& line) {
    if (line.starts_with("# HELP ")) return Describe(line.substr(7), &Family::help);
    if (line.starts_with("# TYPE ")) return Describe(line.substr(7), &Family::type);
    if (line.empty() || line[0] == '#') return Fail("neither sample, HELP nor TYPE", line);
    Sample(line);
  }

  void Describe(const std::string& text, std::string Family::*what) {
    const size_t space = text.find(' ');
    const std::string name = text.substr(0, space);
    if (!IsName(name) || space == std::string::npos) return Fail("bad description", text);
    if (current_ != name) {
      if (families.contains(name)) return Fail("family in two pieces", name);
      current_ = name;
    }
    Family& family = families[name];
    if (!(family.*what).empty()) Fail("described twice", name);
    if (!family.samples.empty()) Fail("described after its samples", name);
    family.*what = text.substr(space + 1);
  }

  void Sample(const std::string& line) {
    size_t at = line.find_first_of("{ ");
    if (at == std::string::npos) return Fail("no value", line);
    const std::string name = line.substr(0, at);
    if (!IsName(name)) return Fail("bad name", line);
    Labels labels;
    if (line[at] == '{') {
      const std::optional<size_t> end = ReadLabels(line, at + 1, labels);
      if (!end) return;
      at = *end;
    }
    if (at >= line.size() || line[at] != ' ') return Fail("no value", line);
    const std::string number = line.substr(at + 1);
    char* end = nullptr;
    const double value = strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0') return Fail("bad value", line);
    Family& family = families[current_];
    const bool histogram = family.type == "histogram";
    const bool fits = histogram ? name == current_ + "_bucket" || name == current_ + "_sum" ||
                                      name == current_ + "_count"
                                : name == current_;
    if (!fits) return Fail("sample outside of its family", line);
    if (!family.samples[name].emplace(labels, value).second) Fail("sample twice", line);
  }

  std::optional<size_t> ReadLabels(const std::string& line, size_t at, Labels& labels) {
    while (at < line.size() && line[at] != '}') {
      const size_t equals = line.find("=\"", at);
      if (equals == std::string::npos) break;
      const std::string key = line.substr(at, equals - at);
      if (!IsName(key) || key.find(':') != std::string::npos || key.starts_with("__")) break;
      std::string value;
      size_t i = equals + 2;
      for (; i < line.size() && line[i] != '"'; ++i) {
        if (line[i] == '\\') {
          ++i;
          if (i >= line.size() || std::string("\\\"n").find(line[i]) == std::string::npos) {
            Fail("bad escape", line);
            return std::nullopt;
          }
        }
        value += line[i];
      }
      if (!labels.emplace(key, value).second) Fail("label twice", line);
      at = i + 1;
      if (at < line.size() && line[at] == ',') ++at;
    }
    if (at < line.size() && line[at] == '}') return at + 1;
    Fail("bad labels", line);
    return std::nullopt;
  }

  void Check(const std::string& name, const Family& family) {
    if (family.help.empty()) Fail("no HELP", name);
    if (family.samples.empty()) Fail("no samples", name);
    if (family.type == "counter") {
      if (!name.ends_with("_total")) Fail("counter without _total", name);
    } else if (family.type == "gauge") {
      if (name.ends_with("_total")) Fail("gauge with _total", name);
    } else if (family.type == "histogram") {
      CheckHistogram(name, family);
    } else {
      Fail("bad TYPE " + family.type, name);
    }
    for (const auto& [sample, values] : family.samples)
      for (const auto& [labels, value] : values)
        if (std::isnan(value) || value < 0) Fail("negative or no number", sample);
  }

  void CheckHistogram(const std::string& name, const Family& family) {
    if (!name.ends_with("_seconds")) Fail("histogram without a unit", name);
    std::map<double, double> buckets;
    for (const auto& [labels, value] : family.samples.at(name + "_bucket")) {
      const std::string bound = labels.at("le");
      buckets[bound == "+Inf" ? std::numeric_limits<double>::infinity() : std::stod(bound)] = value;
    }
    double before = 0;
    for (const auto& [bound, count] : buckets) {
      if (count < before) Fail("buckets are not cumulative", name);
      before = count;
    }
    if (!std::isinf(buckets.rbegin()->first)) Fail("no +Inf bucket", name);
    if (before != family.samples.at(name + "_count").at({})) Fail("+Inf is not the count", name);
    if (buckets.begin()->first > 1e-6) Fail("no bucket for a microsecond", name);
  }

  std::string current_;
};

class EmptyInventory : public Inventory {
 public:
  std::vector<ContainerSnapshot> Containers() const override { return containers; }
  std::optional<ContainerSnapshot> Find(const std::string&) const override { return std::nullopt; }
  std::vector<ContainerSnapshot> containers;
};

class MetricsTextTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "metrics-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    AuditLogOptions options;
    options.file = directory_ + "/audit.jsonl";
    auto log = AuditLog::Open(options);
    ASSERT_TRUE(log) << log.error().message;
    log_ = std::move(*log);
  }
  void TearDown() override {
    log_.reset();
    std::filesystem::remove_all(directory_);
  }
  StrictText Text() {
    const std::string text = MetricsText({&metrics_, log_.get(), &inventory_});
    StrictText strict(text);
    for (const std::string& error : strict.errors) ADD_FAILURE() << error;
    if (!strict.errors.empty()) std::cerr << text;
    return strict;
  }

  std::string directory_;
  Metrics metrics_;
  EmptyInventory inventory_;
  std::unique_ptr<AuditLog> log_;
};

TEST_F(MetricsTextTest, NothingHasHappened) {
  const StrictText text = Text();
  EXPECT_EQ(text.Value("landgate_notifications_received_total"), 0);
  EXPECT_EQ(text.Value("landgate_listeners"), 0);
  EXPECT_EQ(text.Value("landgate_containers", {{"mode", "enforce"}}), 0);
  EXPECT_EQ(text.Value("landgate_audit_dropped_total", {{"reason", "queue_full"}}), 0);
  EXPECT_EQ(text.Value("landgate_build_info", {{"version", LANDGATE_VERSION}}), 1);
}

TEST_F(MetricsTextTest, WhatIsCountedIsShown) {
  metrics_.shards[0].received = 5;
  metrics_.shards[3].received = 7;
  metrics_.shards[3].continued = 6;
  metrics_.shards[3].denied = 4;
  metrics_.shards[1].Answered(700);
  metrics_.shards[2].Answered(700);
  metrics_.shards[2].Answered(1'500'000);
  metrics_.shards[2].Answered(20'000'000'000);
  metrics_.listeners = 2;
  const StrictText text = Text();
  EXPECT_EQ(text.Value("landgate_notifications_received_total"), 12);
  EXPECT_EQ(text.Value("landgate_notifications_answered_total", {{"answer", "continue"}}), 6);
  EXPECT_EQ(text.Value("landgate_notifications_answered_total", {{"answer", "errno"}}), 4);
  EXPECT_EQ(text.Value("landgate_listeners"), 2);
  const auto& family = text.families.at("landgate_notification_seconds");
  EXPECT_EQ(family.type, "histogram");
  const auto& buckets = family.samples.at("landgate_notification_seconds_bucket");
  EXPECT_EQ(buckets.size(), kLatencyBounds.size() + 1);
  const auto at = [&](double seconds) {
    for (const auto& [labels, count] : buckets)
      if (labels.at("le") != "+Inf" && std::abs(std::stod(labels.at("le")) / seconds - 1) < 1e-9)
        return count;
    ADD_FAILURE() << "no bucket " << seconds;
    return -1.0;
  };
  EXPECT_EQ(at(5e-7), 0);
  EXPECT_EQ(at(1e-6), 2);
  EXPECT_EQ(at(1e-3), 2);
  EXPECT_EQ(at(2e-3), 3);
  EXPECT_EQ(at(10), 3);
  EXPECT_EQ(text.Value("landgate_notification_seconds_count"), 4);
  EXPECT_NEAR(text.Value("landgate_notification_seconds_sum"), 20.0015014, 1e-6);
}

TEST_F(MetricsTextTest, AuditRecordsByVerdictAndReason) {
  AuditRecord record;
  record.verdict = AuditVerdict::kDeny;
  record.reason = AuditReason::kNotCovered;
  log_->Write(record);
  log_->Write(record);
  record = {};
  record.event = AuditEvent::kMaskLost;
  record.reason = AuditReason::kMaskLost;
  log_->Write(record);
  const StrictText text = Text();
  EXPECT_EQ(text.Value("landgate_audit_records_total",
                       {{"event", "access"}, {"verdict", "deny"}, {"reason", "not_covered"}}),
            2);
  EXPECT_EQ(text.Value("landgate_audit_records_total",
                       {{"event", "mask_lost"}, {"verdict", ""}, {"reason", "mask_lost"}}),
            1);
}

TEST_F(MetricsTextTest, ContainersByMode) {
  for (const oci::Mode mode : {oci::Mode::kEnforce, oci::Mode::kAudit, oci::Mode::kEnforce}) {
    node::Registration registration;
    registration.id = "c";
    registration.mode = mode;
    ContainerSnapshot snapshot;
    snapshot.container = std::make_shared<Container>(std::move(registration));
    inventory_.containers.push_back(std::move(snapshot));
  }
  const StrictText text = Text();
  EXPECT_EQ(text.Value("landgate_containers", {{"mode", "enforce"}}), 2);
  EXPECT_EQ(text.Value("landgate_containers", {{"mode", "audit"}}), 1);
}

TEST_F(MetricsTextTest, TheProcess) {
  const StrictText text = Text();
  EXPECT_GT(text.Value("process_resident_memory_bytes"), 1e5);
  EXPECT_GT(text.Value("process_open_fds"), 3);
  EXPECT_GT(text.Value("process_max_fds"), 3);
}

TEST(StrictTextTest, RefusesWhatIsWrong) {
  for (const char* text :
       {"", "a_total 1\n", "# HELP a_total A\n# TYPE a_total counter\na_total 1",
        "# HELP a_total A\n# TYPE a_total counter\nb_total 1\n",
        "# HELP a_total A\n# TYPE a_total counter\na_total x\n",
        "# HELP a A\n# TYPE a counter\na 1\n",
        "# HELP a_total A\n# TYPE a_total counter\na_total{b=\"x\\y\"} 1\n",
        "# HELP a_total A\n# TYPE a_total counter\na_total 1\na_total 1\n",
        "# HELP a_seconds A\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"1e-07\"} 2\n"
        "a_seconds_bucket{le=\"+Inf\"} 1\na_seconds_sum 1\na_seconds_count 1\n"})
    EXPECT_FALSE(StrictText(text).errors.empty()) << text;
}

}  // namespace
}  // namespace landgate::agent
