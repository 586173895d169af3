// SPDX-License-Identifier: GPL-3.0-or-later
// From the text of an option to its value. Every failure is kUsage and says what would have been accepted.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "io/base/log.h"
#include "io/base/result.h"
#include "sync/engine/conflict_policy.h"
#include "sync/engine/poll_pace.h"

namespace rsyncfs {

Result<uint64_t> parse_number(std::string_view text, uint64_t least, uint64_t most);
Result<uint32_t> parse_octal_mask(std::string_view text);
// A number, or a name of the local database.
Result<uint32_t> parse_user(std::string_view text);
Result<uint32_t> parse_group(std::string_view text);
Result<std::string> parse_word(std::string_view text, std::initializer_list<std::string_view> accepted);
// A part of a file system: bytes, or a share of all it has.
struct DiskAmount {
  uint64_t bytes = 0;
  double percent = 0;  // if it is not 0
  uint64_t of(uint64_t file_system_bytes) const;
  bool operator==(const DiskAmount&) const = default;
};
// "500M", "1.5G", "20%"; bytes without a unit, K is 1024. Shares are above 0 and up to 100; bytes at least
// `least`.
Result<DiskAmount> parse_disk_amount(std::string_view text, uint64_t least);
// As rsync's --bwlimit: KiB a second without a unit, "1.5m", "100kB" (of 1000); rounded to KiB, at least half
// of one, or 0 for none. Bytes.
Result<uint64_t> parse_bandwidth(std::string_view text);
// auto, zstd, zlibx or none, as rsync's --compress-choice; "zstd" for auto.
Result<std::string> parse_compression(std::string_view text);
Result<int> parse_compression_level(std::string_view text);
// "1500ms", "2s", "0.25"; seconds without a unit. From 0 to `most`.
Result<std::chrono::milliseconds> parse_duration(std::string_view text, std::chrono::seconds most);
// "auto", "off", or as a duration.
Result<PollOptions> parse_poll(std::string_view text);
Result<ConflictPolicy> parse_conflict_policy(std::string_view text);
// PATTERN:POLICY; the last ':' divides them.
Result<ConflictRule> parse_conflict_rule(std::string_view text);
Result<LogLevel> parse_log_level(std::string_view text);

}  // namespace rsyncfs
