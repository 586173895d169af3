// SPDX-License-Identifier: GPL-3.0-or-later
// What `conflicts` tells, as plain data, as JSON (fs/control/STATUS_JSON.md) and as text for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/control/json_fields.h"
#include "io/base/result.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// Bytes of names in one document; older ones are told when those have been cleared.
constexpr size_t kMaxConflictBytes = 1024 * 1024;

struct ConflictList {
  std::vector<ConflictRecord> conflicts;  // the newest first
  uint64_t more = 0;                      // older ones that had no room
};

// As many as fit.
ConflictList make_conflict_list(std::vector<ConflictRecord> records);
Json conflict_json(const ConflictRecord& record);
ConflictRecord read_conflict(const Json& json);
std::string conflicts_json(const ConflictList& list);
Result<ConflictList> parse_conflicts(std::string_view json);
// `mountpoint`: before the paths.
std::string conflicts_text(const ConflictList& list, std::string_view mountpoint);

// In one line, without the path.
std::string conflict_line(const ConflictRecord& record);

}  // namespace rsyncfs
