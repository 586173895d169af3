// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/finding.h"

#include <algorithm>

#include "fs/control/byte_text.h"
#include "fs/control/json_fields.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

std::string_view colour_of(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "\033[32m";
    case Severity::kNote:
      return "\033[36m";
    case Severity::kWarning:
      return "\033[33m";
    case Severity::kProblem:
      return "\033[31m";
  }
  return "";
}

uint64_t problems(const Findings& findings) {
  return static_cast<uint64_t>(std::count_if(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity == Severity::kProblem;
  }));
}

}  // namespace

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kProblem:
      return "problem";
  }
  return "";
}

bool has_problem(const Findings& findings) {
  return problems(findings) > 0;
}

std::string findings_text(const Findings& findings, bool colour) {
  constexpr size_t kSeverityWidth = 9;
  std::string out;
  for (const Finding& finding : findings) {
    std::string word(severity_name(finding.severity));
    word.resize(kSeverityWidth, ' ');
    if (colour) word = std::string(colour_of(finding.severity)) + word + "\033[0m";
    out += word + escape_control(finding.topic) + ": " + escape_control(finding.what) + "\n";
    if (!finding.cure.empty())
      out += std::string(kSeverityWidth, ' ') + "-> " + escape_control(finding.cure) + "\n";
  }
  const uint64_t count = problems(findings);
  out += count == 0 ? "no problem found\n"
                    : std::to_string(count) + (count == 1 ? " problem" : " problems") + " found\n";
  return out;
}

std::string findings_json(const Findings& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"severity", severity_name(finding.severity)},
                    {"topic", bytes_to_text(finding.topic)},
                    {"what", bytes_to_text(finding.what)},
                    {"cure", bytes_to_text(finding.cure)}});
  }
  return dump_json({{"findings", std::move(list)}, {"problems", problems(findings)}});
}

}  // namespace rsyncfs
