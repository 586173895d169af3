// SPDX-License-Identifier: GPL-3.0-or-later
// Conflicts that were decided, as rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/pending.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The oldest goes when there are kMaxConflictRecords.
Result<void> put_conflict(Transaction& transaction, const ConflictRecord& record);
// The latest first.
Result<std::vector<ConflictRecord>> read_conflicts(Connection& db, size_t limit);
Result<void> erase_conflicts(Transaction& transaction, const std::vector<uint64_t>& ids);

}  // namespace rsyncfs
