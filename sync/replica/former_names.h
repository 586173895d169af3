// SPDX-License-Identifier: GPL-3.0-or-later
// Where versions of files were before the source replaced or removed them: somebody may still have one open
// and write to it. Such an edit is of an old base; it gets a name of its own, as something that the source
// does not have.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "io/base/result.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// Nothing happens unless it is a regular file without a name.
Result<void> note_former_name(Transaction& transaction, NodeId node, NodeId parent, std::string_view name);
Result<std::optional<std::pair<NodeId, std::string>>> find_former_name(Connection& db, NodeId node);
Result<void> erase_former_name(Transaction& transaction, NodeId node);

// The first free name for a conflict copy of `name` in the directory.
Result<std::string> conflict_name_in(Connection& db, NodeId directory, std::string_view name,
                                     const FileTime& time);

// Before the bytes of an orphan are changed by a user: one that the source replaced or removed becomes a
// conflict copy where it was. The change that this made of the names; nullopt: nothing, such as for a file
// that was removed here. The node's row is another one afterwards: read it again.
Result<std::optional<NameChange>> adopt_former_name(Transaction& transaction, const Node& orphan);

}  // namespace rsyncfs
