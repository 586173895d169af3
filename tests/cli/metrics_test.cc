// SPDX-License-Identifier: GPL-3.0-or-later
// The metrics page: its format, and that it, its description and the dashboard speak of the same metrics.
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fs/control/metrics_connection.h"
#include "fs/control/metrics_page.h"
#include "fs/control/status_document.h"
#include "fs/daemon/options.h"

namespace rsyncfs {
namespace {

using ::testing::HasSubstr;
using Type = MetricsPage::Type;

std::string project_file(const std::string& name) {
  std::ifstream file(std::string(RSYNCFS_SOURCE_DIR) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(MetricsPage, HasTheTextFormat) {
  MetricsPage page;
  page.begin("a_total", Type::kCounter, "Some.");
  page.sample(uint64_t{18'446'744'073'709'551'615U});
  page.begin("b", Type::kGauge, "Others.");
  page.sample(0.5, std::array{MetricLabel{"k", "v"}, MetricLabel{"path", "a\"b\\c\nd\xff"}});
  EXPECT_EQ(page.take(),
            "# HELP a_total Some.\n# TYPE a_total counter\na_total 18446744073709551615\n"
            "# HELP b Others.\n# TYPE b gauge\nb{k=\"v\",path=\"a\\\"b\\\\\\\\c\\nd\\\\377\"} 0.5\n");
}

TEST(MetricsPage, HistogramsAreCumulative) {
  LatencyHistogram histogram;
  histogram.note(std::chrono::microseconds(10));  // the bound belongs to it
  histogram.note(std::chrono::nanoseconds(10'001));
  histogram.note(std::chrono::milliseconds(700));
  histogram.note(std::chrono::hours(1));
  histogram.note(std::chrono::seconds(-5));  // a clock that was set back
  MetricsPage page;
  page.begin("t_seconds", Type::kHistogram, "Time.");
  page.histogram(histogram.now(), std::array{MetricLabel{"op", "x"}});
  const std::string text = page.take();
  for (const char* line :
       {"t_seconds_bucket{op=\"x\",le=\"1e-05\"} 2\n", "t_seconds_bucket{op=\"x\",le=\"5e-05\"} 3\n",
        "t_seconds_bucket{op=\"x\",le=\"0.5\"} 3\n", "t_seconds_bucket{op=\"x\",le=\"1\"} 4\n",
        "t_seconds_bucket{op=\"x\",le=\"600\"} 4\n", "t_seconds_bucket{op=\"x\",le=\"+Inf\"} 5\n",
        "t_seconds_sum{op=\"x\"} 3600.700020001\n", "t_seconds_count{op=\"x\"} 5\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

// Name and type of what a page has.
std::map<std::string, std::string> exposed(const std::string& page) {
  std::map<std::string, std::string> out;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash;
    std::string kind;
    std::string name;
    std::string type;
    words >> hash >> kind >> name >> type;
    if (hash != "#" || kind != "TYPE") continue;
    EXPECT_TRUE(out.emplace(name, type).second) << name << " comes twice";
  }
  return out;
}

std::map<std::string, std::string> documented() {
  std::map<std::string, std::string> out;
  const std::string text = project_file("fs/control/METRICS.md");
  const std::regex row(R"(\| `(rsyncfs_\w+)` \| (\w+) \|)");
  for (std::sregex_iterator at(text.begin(), text.end(), row); at != std::sregex_iterator(); ++at)
    out[(*at)[1]] = (*at)[2];
  return out;
}

TEST(Metrics, AreWhatTheirDescriptionSays) {
  const auto page = exposed(metrics_text(MountStatus(), 0));
  EXPECT_GT(page.size(), 50U);
  EXPECT_EQ(page, documented());
}

TEST(Metrics, AreNamedByTheConventions) {
  for (const auto& [name, type] : exposed(metrics_text(MountStatus(), 0))) {
    EXPECT_THAT(name, ::testing::StartsWith("rsyncfs_"));
    EXPECT_EQ(type == "counter", name.ends_with("_total")) << name;
    EXPECT_TRUE(type != "histogram" || name.ends_with("_seconds")) << name;
  }
}

TEST(Metrics, SamplesFollowTheirType) {
  MountStatus status;
  status.requests = {{"read", 3}};
  status.request_latencies = {{"read", {}}};
  status.reply_errors = {{"EIO", 2}};
  std::istringstream lines(metrics_text(status, 0));
  std::string current;
  const std::regex sample(R"(^([a-z_]+)(\{([a-z_]+="[^"]*",?)+\})? [0-9.e+-]+$)");
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) current = line.substr(7, line.rfind(' ') - 7);
    if (line.starts_with("#")) continue;
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    const std::string name = match[1];
    EXPECT_TRUE(name == current || name == current + "_bucket" || name == current + "_sum" ||
                name == current + "_count")
        << line;
  }
}

TEST(Metrics, TellWhatTheStatusHas) {
  MountStatus status;
  status.mountpoint = "/mnt/\"x";
  status.syncer.link = LinkState::kUp;
  status.syncer.push.oldest_s = 1'000;
  status.syncer.wire[static_cast<size_t>(WirePurpose::kReadAhead)] = {11, 12, 13};
  count_failure(status.syncer.session_failures, Errc::kTimedOut);
  status.reads.misses = 4;
  status.reply_errors = {{"EIO", 2}};
  const std::string text = metrics_text(status, 1'060);
  for (const char* line :
       {"mountpoint=\"/mnt/\\\"x\"} 1\n", "rsyncfs_link_state{state=\"up\"} 1\n",
        "rsyncfs_link_state{state=\"down\"} 0\n", "rsyncfs_unsent_oldest_seconds 60\n",
        "rsyncfs_wire_received_bytes_total{purpose=\"read_ahead\"} 11\n",
        "rsyncfs_wire_sent_bytes_total{purpose=\"read_ahead\"} 12\n",
        "rsyncfs_sessions_opened_total{purpose=\"read_ahead\"} 13\n",
        "rsyncfs_session_failures_total{cause=\"timed_out\"} 1\n", "rsyncfs_reads_total{cache=\"miss\"} 4\n",
        "rsyncfs_fuse_errors_total{errno=\"EIO\"} 2\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  // As `status --metrics` has it, by way of the document.
  const Result<MountStatus> back = parse_status(status_json(status));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(metrics_text(*back, 1'060), text);
}

TEST(Dashboard, AsksForMetricsThatThereAre) {
  const nlohmann::json dashboard = nlohmann::json::parse(project_file("packaging/grafana/rsyncfs.json"));
  const auto known = documented();
  std::set<std::string> asked;
  for (const auto& panel : dashboard.at("panels")) {
    EXPECT_FALSE(panel.at("description").get<std::string>().empty()) << panel.at("title");
    for (const auto& target : panel.at("targets")) {
      const std::string expression = target.at("expr");
      const std::regex name("rsyncfs_[a-z_]+");
      for (std::sregex_iterator at(expression.begin(), expression.end(), name); at != std::sregex_iterator();
           ++at) {
        std::string metric = at->str();
        if (metric.ends_with("_bucket")) metric.resize(metric.size() - 7);
        EXPECT_TRUE(known.contains(metric)) << metric;
        asked.insert(metric);
      }
    }
  }
  EXPECT_GT(asked.size(), 20U);
}

TEST(HttpRequest, OnlyThePageIsAnswered) {
  const auto refusal = [](std::string_view head) { return parse_http_request(head).refusal; };
  EXPECT_EQ(refusal("GET /metrics HTTP/1.1\r\nHost: x"), 0);
  EXPECT_EQ(refusal("GET /metrics?a=b HTTP/1.0"), 0);
  EXPECT_TRUE(parse_http_request("HEAD /metrics HTTP/1.1").head_only);
  EXPECT_EQ(refusal("GET / HTTP/1.1"), 404);
  EXPECT_EQ(refusal("POST /metrics HTTP/1.1"), 405);
  EXPECT_EQ(refusal("GET /metrics HTTP/2.0"), 505);
  for (const char* nonsense : {"", "GET", "GET /metrics", "\r\n", "a b c", "GET /metrics FTP/1.1"})
    EXPECT_EQ(refusal(nonsense), 400) << nonsense;
}

TEST(MetricsAddress, IsThisMachineOrAPath) {
  const auto parsed = [](const std::string& text) {
    MountOptions options;
    const Result<void> applied = apply_option(options, "metrics", text);
    EXPECT_TRUE(applied.ok()) << text;
    return options.metrics;
  };
  EXPECT_EQ(parsed("9100"), (MetricsAddress{"", 9100, false}));
  EXPECT_EQ(parsed("127.0.0.1:9100"), (MetricsAddress{"", 9100, false}));
  EXPECT_EQ(parsed("localhost:9100"), (MetricsAddress{"", 9100, false}));
  EXPECT_EQ(parsed("[::1]:9100"), (MetricsAddress{"", 9100, true}));
  EXPECT_EQ(parsed("./m.sock"), (MetricsAddress{"./m.sock", 0, false}));
  EXPECT_FALSE(MountOptions().metrics.given());
  MountOptions options;
  for (const char* wrong :
       {"0.0.0.0:9100", "[::]:9100", "192.0.2.1:9100", "example.org:80", "*:9100", ":9100"}) {
    const Result<void> applied = apply_option(options, "metrics", wrong);
    ASSERT_FALSE(applied.ok()) << wrong;
    EXPECT_THAT(applied.error().message(), HasSubstr("only this machine is served")) << wrong;
  }
  for (const char* wrong : {"0", "65536", "127.0.0.1:0"})
    EXPECT_THAT(apply_option(options, "metrics", wrong).error().message(),
                HasSubstr("a port from 1 to 65535"));
  for (const char* wrong : {"", "socket", "127.0.0.1", "127.0.0.1:"})
    EXPECT_THAT(apply_option(options, "metrics", wrong).error().message(), HasSubstr("path of a socket"));
}

}  // namespace
}  // namespace rsyncfs
