// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/exact_rules.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "io/base/text.h"

namespace rsyncfs {

namespace {

constexpr size_t kMaxRule = 4095;  // a longer pattern is left out with a complaint

// Backslashes stand for themselves where nothing else is special.
std::string pattern_of(std::string_view path) {
  std::string out = "/";
  const bool wild = path.find_first_of("*?[") != std::string_view::npos;
  for (const char c : path) {
    if (wild && (c == '*' || c == '?' || c == '[' || c == '\\')) out += '\\';
    out += c;
  }
  return out;
}

void write_rule(std::string_view rule, ByteQueue& out) {
  out.append_le32(static_cast<uint32_t>(rule.size()));
  out.append(rule);
}

}  // namespace

Result<void> validate_exact_rules(const PushList& list) {
  for (const PushEntry& entry : list.given_entries()) {
    if (pattern_of(entry.path).size() > kMaxRule)
      return Error(Errc::kUsage, "\"" + escape_control(entry.path) + "\" makes too long a filter rule");
  }
  return {};
}

void write_exact_rules(const PushList& list, ByteQueue& out) {
  for (const PushEntry& entry : list.given_entries()) write_rule("+ " + pattern_of(entry.path), out);
  write_rule("- *", out);
  out.append_le32(0);
}

}  // namespace rsyncfs
