// SPDX-License-Identifier: GPL-3.0-or-later
// POSIX ACLs as extended attributes (linux/posix_acl_xattr.h): a 4-byte version, then 8 bytes an entry,
// little-endian.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sync/engine/id_map.h"

namespace rsyncfs {

bool is_posix_acl(std::string_view xattr_name);

// The same ACL with the ids of named users and groups made local; nullopt when the bytes are no ACL.
std::optional<std::string> map_acl_ids(std::string_view acl, const IdMap& ids);

}  // namespace rsyncfs
