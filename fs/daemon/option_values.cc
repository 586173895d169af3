// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/option_values.h"

#include <grp.h>
#include <pwd.h>

#include <cctype>
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

uint64_t DiskAmount::of(uint64_t file_system_bytes) const {
  if (percent == 0) return bytes;
  return static_cast<uint64_t>(static_cast<double>(file_system_bytes) * percent / 100);
}

Result<DiskAmount> parse_disk_amount(std::string_view text, uint64_t least) {
  constexpr std::string_view kUnits = "KMGT";
  constexpr double kMost = 1ULL << 60U;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const Error wrong =
      usage("a size of at least " + std::to_string(least) + ", as 500M or 2G, or a share, as 20%, is needed");
  if (error != std::errc() || !(value >= 0) || unit.size() > 1) return wrong;
  if (unit == "%") {
    if (value <= 0 || value > 100) return wrong;
    return DiskAmount{0, value};
  }
  if (!unit.empty()) {
    const size_t power = kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
    if (power == std::string_view::npos) return wrong;
    for (size_t i = 0; i <= power; ++i) value *= 1024;
  }
  if (value < static_cast<double>(least) || value > kMost) return wrong;
  return DiskAmount{static_cast<uint64_t>(value), 0};
}

// Source: rsync's options.c, parse_size_arg().
Result<uint64_t> parse_bandwidth(std::string_view text) {
  constexpr std::string_view kUnits = "bkmgtp";
  constexpr double kMost = 1ULL << 50U;
  constexpr double kLeast = 512;
  constexpr uint64_t kKiB = 1024;
  const Error wrong = usage(
      "KiB a second are needed, or another unit as 1.5m or 100kB (of 1000 bytes); at least 1, or 0 for no "
      "limit");
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || !(value >= 0)) return wrong;
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c)
    unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  if (unit.empty()) unit = "k";
  const size_t power = kUnits.find(unit[0]);
  const std::string_view rest = std::string_view(unit).substr(1);
  if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) return wrong;
  for (size_t i = 0; i < power; ++i) value *= rest == "b" ? 1000 : 1024;
  if (value == 0) return 0;
  if (value < kLeast || value > kMost) return wrong;
  return (static_cast<uint64_t>(value) + kKiB / 2) / kKiB * kKiB;
}

Result<std::string> parse_compression(std::string_view text) {
  if (text == "auto") return std::string("zstd");
  if (text == "lz4") return usage("lz4 is not built in; zstd takes its place with compress_level=-5, say");
  if (text == "zlib")
    return usage("zlib is only there as zlibx, which every rsync since 3.1.1 has; use that");
  return parse_word(text, {"auto", "zstd", "zlibx", "none"});
}

Result<int> parse_compression_level(std::string_view text) {
  constexpr int kLeast = -131'072;
  constexpr int kMost = 22;
  int level = 0;
  if (!parse_whole(text, level, 10) || level < kLeast || level > kMost)
    return usage("a number from -131072 to 22 (zstd), or from 0 to 9 (zlibx; 0: none), is needed");
  return level;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text, std::chrono::seconds most) {
  constexpr double kMillisecondsPerSecond = 1'000;
  const bool in_ms = text.ends_with("ms");
  std::string_view digits = text;
  if (in_ms) {
    digits.remove_suffix(2);
  } else if (text.ends_with("s")) {
    digits.remove_suffix(1);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const double milliseconds = in_ms ? value : value * kMillisecondsPerSecond;
  const std::chrono::milliseconds limit = most;
  // Also false for what is no number at all.
  const bool fits = milliseconds >= 0 && milliseconds <= static_cast<double>(limit.count());
  if (error != std::errc() || end != digits.data() + digits.size() || !fits) {
    return usage("seconds from 0 to " + std::to_string(most.count()) + " are needed, as 2, 0.5, 2s or 500ms");
  }
  return std::chrono::milliseconds(static_cast<int64_t>(milliseconds));
}

Result<PollOptions> parse_poll(std::string_view text) {
  constexpr std::chrono::seconds kLongest{86'400};
  constexpr std::chrono::milliseconds kShortest{50};
  if (text == "auto") return PollOptions{};
  if (text == "off" || text == "0") return PollOptions{.mode = PollOptions::Mode::kOff};
  const auto every = parse_duration(text, kLongest);
  if (!every || *every < kShortest) return usage("auto, off or seconds from 0.05 to 86400 are needed");
  return PollOptions{.mode = PollOptions::Mode::kFixed, .every = *every};
}

Result<ConflictPolicy> parse_conflict_policy(std::string_view text) {
  const Result<std::string> word = parse_word(text, {"copy", "local", "remote"});
  if (!word) return word.error();
  if (*word == "copy") return ConflictPolicy::kCopy;
  return *word == "local" ? ConflictPolicy::kLocal : ConflictPolicy::kRemote;
}

Result<ConflictRule> parse_conflict_rule(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) {
    return usage("PATTERN:POLICY is needed, as '*.log:remote'");
  }
  const Result<ConflictPolicy> policy = parse_conflict_policy(text.substr(colon + 1));
  if (!policy) return usage("after the last ':', " + policy.error().message());
  return ConflictRule{std::string(text.substr(0, colon)), *policy};
}

Result<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError}) {
    if (text == log_level_name(level)) return level;
  }
  return usage("one of trace, debug, info, warning, error is needed");
}

}  // namespace rsyncfs
