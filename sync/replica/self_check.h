// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "io/base/result.h"
#include "sync/replica/database.h"

namespace rsyncfs {

// Reads the whole database and compares what must agree: SQLite's own check, names with nodes, orphans,
// nlink, slabs and totals with what they count. kCorrupt names the first thing that does not.
Result<void> check_database(Connection& db);

}  // namespace rsyncfs
