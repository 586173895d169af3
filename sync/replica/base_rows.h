// SPDX-License-Identifier: GPL-3.0-or-later
// The last known state of the source where it differs from what users see, as rows. A row is there only while
// there is a difference. An orphan that the source does not have has no row: nothing of it is ever pushed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/pending.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// ---- nodes ----
Result<std::optional<BaseNode>> find_base_node(Connection& db, NodeId node);
// Before a node is changed: keeps what the source has, unless that is kept already, and notes that the node
// differs in `differences` (NodeDifference bits, added to those it has). `before` is the node as it is before
// the change.
Result<void> note_difference(Transaction& transaction, const Node& before, uint32_t differences);
// A node that the source does not have, and that has no base row yet. Its own row says kAbsentAtSource
// already.
Result<void> note_absent(Transaction& transaction, NodeId node);
// What the source has now. The row goes when nothing differs any more: no layer of bytes, equal attributes.
// A node that was deleted here meanwhile comes back as an orphan, so that its removal can be pushed.
Result<void> put_base_node(Transaction& transaction, const BaseNode& base);
// What still differs of the node was changed after that moment.
Result<void> note_pushed_until(Transaction& transaction, NodeId node, int64_t unix_ms);
Result<void> erase_base_node(Transaction& transaction, NodeId node);
// An orphan that the source does not have (any more): it has no base. `differences`: those of its row.
Result<void> leave_to_itself(Transaction& transaction, NodeId node, uint32_t differences);

// ---- names ----
// Whether base leads any name to the node; `elsewhere`: by a recorded difference, which is all that there can
// be for an orphan.
Result<bool> is_bound_at_source(Connection& db, NodeId node);
Result<bool> is_bound_elsewhere(Connection& db, NodeId node);
// nullopt: no difference recorded; 0: the source has no such name.
Result<std::optional<NodeId>> find_base_name(Connection& db, NodeId parent, std::string_view name);
// Around every change of a name: `before` is the node it led to before the change (0: none). Keeps that as
// the base unless another is kept already; a name that is back where base has it is no difference any more.
Result<void> note_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId before,
                       NodeId after);
// Base leads the name to `node` now (0: nowhere); `local`: where users see it lead. Nothing is done in a
// directory that is no more.
Result<void> put_base_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId node,
                           NodeId local);

}  // namespace rsyncfs
