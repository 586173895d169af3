// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes that lose their names, and the end of those that lost the last one.
#pragma once

#include <cstddef>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// One name that led to `node` is gone (its row already is). Without other names the node becomes an orphan,
// and so does everything below it; with other names its nlink falls, and `changes` gets that for one of them.
Result<void> lose_name(Transaction& transaction, const Node& node, std::vector<NameChange>& changes);

// Deletes those of `nodes` that are orphans, with their contents; returns how many.
Result<size_t> delete_orphans(Transaction& transaction, const std::vector<NodeId>& nodes);
Result<std::vector<NodeId>> some_orphans(Connection& db, size_t limit);

}  // namespace rsyncfs
