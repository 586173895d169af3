// SPDX-License-Identifier: GPL-3.0-or-later
// The tables of the store's database (sync/replica/FORMAT.md), their version, and small settings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/database.h"

namespace rsyncfs {

constexpr int64_t kSchemaVersion = 5;

// Creates the tables in an empty database, brings those of an older version up to date, or checks that this
// program understands the ones that are there: a newer version is kUnsupported, something that never was a
// store is kCorrupt.
Result<void> prepare_schema(Connection& db);

Result<std::optional<std::string>> read_setting(Connection& db, std::string_view key);
Result<void> write_setting(Connection& db, std::string_view key, std::string_view value);
// A setting that is a decimal number; nullopt when it is not there.
Result<std::optional<uint64_t>> read_number(Connection& db, std::string_view key);
Result<void> write_number(Connection& db, std::string_view key, uint64_t value);

}  // namespace rsyncfs
