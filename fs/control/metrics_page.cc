// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/metrics_page.h"

#include <array>
#include <charconv>

#include "fs/control/byte_text.h"

namespace rsyncfs {
namespace {

std::string_view type_name(MetricsPage::Type type) {
  switch (type) {
    case MetricsPage::Type::kCounter:
      return "counter";
    case MetricsPage::Type::kGauge:
      return "gauge";
    case MetricsPage::Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

double in_seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string escape_label(std::string_view value) {
  std::string out;
  for (const char c : bytes_to_text(value)) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string metric_number(double value) {
  std::array<char, 32> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return {digits.data(), written.ptr};
}

void MetricsPage::begin(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type_name(type)).append("\n");
}

void MetricsPage::line(std::string_view suffix, std::span<const MetricLabel> labels, std::string_view bound,
                       std::string_view value) {
  text_.append(name_).append(suffix);
  char before = '{';
  const auto add = [&](std::string_view name, std::string_view text) {
    text_ += std::exchange(before, ',');
    text_.append(name).append("=\"").append(escape_label(text)).append("\"");
  };
  for (const auto& [name, text] : labels) add(name, text);
  if (!bound.empty()) add("le", bound);
  if (before == ',') text_ += '}';
  text_.append(" ").append(value).append("\n");
}

void MetricsPage::sample(double value, std::span<const MetricLabel> labels) {
  line("", labels, "", metric_number(value));
}

void MetricsPage::sample(uint64_t value, std::span<const MetricLabel> labels) {
  line("", labels, "", std::to_string(value));
}

void MetricsPage::histogram(const LatencyCounts& latency, std::span<const MetricLabel> labels) {
  uint64_t below = 0;
  for (size_t i = 0; i < latency.counts.size(); ++i) {
    below += latency.counts[i];
    const bool last = i == kLatencyBounds.size();
    line("_bucket", labels, last ? "+Inf" : metric_number(in_seconds(kLatencyBounds[i])),
         std::to_string(below));
  }
  line("_sum", labels, "", metric_number(in_seconds(std::chrono::nanoseconds(latency.sum_ns))));
  line("_count", labels, "", std::to_string(below));
}

}  // namespace rsyncfs
