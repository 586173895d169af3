// SPDX-License-Identifier: GPL-3.0-or-later
// The source's user and group names.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

using IdNames = std::map<uint32_t, std::string>;

Result<std::pair<IdNames, IdNames>> read_id_names(Connection& db);  // users, groups
// Adds and replaces; writes nothing that is there already.
Result<void> merge_id_names(Transaction& transaction, const IdNames& users, const IdNames& groups);

}  // namespace rsyncfs
