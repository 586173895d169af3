// SPDX-License-Identifier: GPL-3.0-or-later
// Writes Prometheus' text exposition format, version 0.0.4. Source: prometheus.io/docs/instrumenting,
// "Exposition formats".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "io/base/latency_histogram.h"

namespace rsyncfs {

using MetricLabel = std::pair<std::string_view, std::string_view>;

// Metrics one after the other; begin() each, then its samples.
class MetricsPage {
 public:
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };

  // `name`: of the whole metric, a counter's with "_total".
  void begin(std::string_view name, Type type, std::string_view help);
  void sample(double value, std::span<const MetricLabel> labels = {});
  void sample(uint64_t value, std::span<const MetricLabel> labels = {});
  void histogram(const LatencyCounts& latency, std::span<const MetricLabel> labels = {});
  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, std::span<const MetricLabel> labels, std::string_view bound,
            std::string_view value);

  std::string name_;
  std::string text_;
};

// A label's value as it stands between quotes; bytes as bytes_to_text() writes them.
std::string escape_label(std::string_view value);
// As Prometheus reads it, the shortest that is exact: "0.00001", "5", "1e+06".
std::string metric_number(double value);

}  // namespace rsyncfs
