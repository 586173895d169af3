// SPDX-License-Identifier: GPL-3.0-or-later
// Older versions of files whose bytes a newer one can be made from. An orphan that is such a basis stays,
// though the kernel has forgotten it, until the newer version is here or goes itself.
#pragma once

#include <optional>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// `older` was replaced by `node`, or vanished where `node` appeared. Its content becomes the basis of `node`,
// or the basis that it has itself; nothing happens when neither is here, or when they are no regular files.
Result<void> note_basis(Transaction& transaction, const Node& older, NodeId node);
// The node whose content is the basis.
Result<std::optional<NodeId>> find_basis(Connection& db, NodeId node);
// The node whose content was the basis: nobody may need it any more.
Result<std::optional<NodeId>> erase_basis(Transaction& transaction, NodeId node);
Result<bool> is_basis(Connection& db, NodeId older);
// Orphans that are a basis: at start, when the kernel holds none.
Result<std::vector<NodeId>> orphaned_bases(Connection& db);

}  // namespace rsyncfs
