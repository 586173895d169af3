// SPDX-License-Identifier: GPL-3.0-or-later
// From the Replica's words to the wire's: a node as an entry of a list that is pushed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sync/replica/replica.h"
#include "sync/rsync/push_session.h"

namespace rsyncfs {

// The kernel's system.posix_acl_* format (linux/posix_acl_xattr.h) as lists have it; nullopt: not such a
// value.
std::optional<PosixAcl> parse_acl_xattr(std::string_view value);

// Attributes as `node` has them, the link's target and the extended attributes as they are now: `node` gets
// that set.
Result<PushEntry> make_push_entry(const Replica& replica, Node& node, std::string path);

// A name of an inode that is to get more names: as the source has it, so that nothing else changes.
PushEntry link_entry(const NodeAttributes& attr, std::string path, uint32_t group);

}  // namespace rsyncfs
