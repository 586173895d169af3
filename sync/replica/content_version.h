// SPDX-License-Identifier: GPL-3.0-or-later
// Contents are of what the source has, not of what users made of it.
#pragma once

#include <optional>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The version that bytes from the source must have to become the node's content. nullopt: there is no such
// node, the source does not have it, or what it has is somebody else's version, which the node's content is
// not.
Result<std::optional<FileVersion>> content_version(Connection& db, NodeId node);
// Is there such a node, of which the source has nothing any more and not all is stored?
Result<bool> is_left_without_bytes(Connection& db, NodeId node);
// The source's file turned out to have this size.
Result<void> set_content_size(Transaction& transaction, NodeId node, uint64_t size);
// The node's alone, unless users made the file's size what it is.
Result<void> set_unwritten_size(Transaction& transaction, NodeId node, uint64_t size);

}  // namespace rsyncfs
