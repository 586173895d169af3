// SPDX-License-Identifier: GPL-3.0-or-later
// What `doctor` found: one line that names the cause, and one that says the cure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rsyncfs {

enum class Severity : uint8_t {
  kOk,
  kNote,     // works, and could be better
  kWarning,  // works for now, or not in every case
  kProblem,  // does not work
};
std::string_view severity_name(Severity severity);  // "ok", "note", "warning", "problem"

struct Finding {
  Severity severity = Severity::kOk;
  std::string topic;  // "kernel", "password file": what was looked at
  std::string what;   // one line
  std::string cure;   // one line; "" where there is nothing to do
  bool operator==(const Finding&) const = default;
};
using Findings = std::vector<Finding>;

bool has_problem(const Findings& findings);
// Control bytes are escaped. `colour`: with those of a terminal.
std::string findings_text(const Findings& findings, bool colour);
// {"findings":[{"severity":...,"topic":...,"what":...,"cure":...}],"problems":N}
std::string findings_json(const Findings& findings);

}  // namespace rsyncfs
