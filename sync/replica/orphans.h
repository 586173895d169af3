// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes that lose their names, and the end of those that lost the last one.
#pragma once

#include <cstddef>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/dirty_files.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// One name that led to `node` is gone (its row already is). Without other names the node becomes an orphan,
// and so does everything below it; with other names its nlink falls, and `changes` gets that for one of them.
Result<void> lose_name(Transaction& transaction, const Node& node, std::vector<NameChange>& changes);

// The last name that led to `node` is gone, and nothing is below it: it is kept while the kernel may hold it.
// What the source does not have of it is not owed any more.
Result<void> make_orphan(Transaction& transaction, const Node& node);
// A name leads to the orphan again, its row already does. Gives the node as it is now.
Result<Node> revive(Transaction& transaction, const Node& orphan);

// The kernel holds none of them any more. Deletes those of `nodes` that are orphans, with their contents;
// returns how many. Those whose removal the source has not acknowledged stay until it has: what it had is
// needed for the check before they are removed there.
Result<size_t> delete_orphans(Transaction& transaction, const std::vector<NodeId>& nodes, DirtyFiles& files);
// At most `limit` of those that may go.
Result<std::vector<NodeId>> some_orphans(Connection& db, size_t limit);

}  // namespace rsyncfs
