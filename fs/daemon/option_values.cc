// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/option_values.h"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <utility>

namespace rsyncfs {
namespace {

Error usage(std::string message) {
  return Error(Errc::kUsage, std::move(message));
}

template <class T>
bool parse_whole(std::string_view text, T& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<uint64_t> parse_number(std::string_view text, uint64_t least, uint64_t most) {
  uint64_t value = 0;
  if (!parse_whole(text, value, 10) || value < least || value > most) {
    return usage("a number from " + std::to_string(least) + " to " + std::to_string(most) + " is needed");
  }
  return value;
}

Result<uint32_t> parse_octal_mask(std::string_view text) {
  uint32_t value = 0;
  if (!parse_whole(text, value, 8) || value > 0777) return usage("an octal mask from 0 to 0777 is needed");
  return value;
}

Result<uint32_t> parse_user(std::string_view text) {
  uint32_t value = 0;
  if (parse_whole(text, value, 10) && value != UINT32_MAX) return value;
  const passwd* entry = text.empty() ? nullptr : getpwnam(std::string(text).c_str());
  if (entry == nullptr) return usage("a user's number or name is needed");
  return entry->pw_uid;
}

Result<uint32_t> parse_group(std::string_view text) {
  uint32_t value = 0;
  if (parse_whole(text, value, 10) && value != UINT32_MAX) return value;
  const group* entry = text.empty() ? nullptr : getgrnam(std::string(text).c_str());
  if (entry == nullptr) return usage("a group's number or name is needed");
  return entry->gr_gid;
}

Result<std::string> parse_word(std::string_view text, std::initializer_list<std::string_view> accepted) {
  std::string list;
  for (const std::string_view word : accepted) {
    if (text == word) return std::string(word);
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  return usage("one of " + list + " is needed");
}

Result<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError}) {
    if (text == log_level_name(level)) return level;
  }
  return usage("one of trace, debug, info, warning, error is needed");
}

}  // namespace rsyncfs
