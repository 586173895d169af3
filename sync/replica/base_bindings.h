// SPDX-License-Identifier: GPL-3.0-or-later
// Where the source's names lead, as the recorded differences and the tree that users see tell it together;
// and what follows when that changes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/losses.h"
#include "sync/replica/pending.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// ---- questions; several answers belong together only within one transaction ----
Result<NodeId> base_binding(Connection& db, NodeId parent, std::string_view name);   // 0: nowhere
Result<NodeId> local_binding(Connection& db, NodeId parent, std::string_view name);  // 0: nowhere
Result<std::vector<Binding>> base_names_of(Connection& db, NodeId node, size_t limit);
Result<std::vector<Binding>> local_names_of(Connection& db, NodeId node, size_t limit);
Result<std::vector<Binding>> local_children(Connection& db, NodeId directory);
// By name.
Result<std::vector<Binding>> base_children(Connection& db, NodeId directory, size_t limit);
// kNotFound: no such node.
Result<BaseNode> base_state(Connection& db, NodeId node);
// kNotFound: the source does not have it.
Result<std::string> remote_path_of(Connection& db, NodeId node);

// ---- changes ----
// A link, a device or the like was made at a new name: the source has it there as an inode of its own, so
// that other names, which users do not see any more, are another's from now on. Before base of it is put.
Result<void> leave_former_copies(Transaction& transaction, NodeId node, const std::vector<Binding>& made);
// A directory has one place: the source has it here, and nowhere else.
Result<void> leave_other_places(Transaction& transaction, const Binding& place);
// The source leads these names to these nodes now. `losses` gets what it led to before, to be settled when
// base is complete again.
Result<void> bind_at_source(Transaction& transaction, const std::vector<Binding>& names, Losses& losses);

}  // namespace rsyncfs
