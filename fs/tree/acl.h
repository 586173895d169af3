// SPDX-License-Identifier: GPL-3.0-or-later
// POSIX ACLs as extended attributes (linux/posix_acl_xattr.h): a 4-byte version, then 8 bytes an entry,
// little-endian. What they have to do with the mode: acl(5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sync/engine/id_map.h"

namespace rsyncfs {

constexpr std::string_view kAccessAcl = "system.posix_acl_access";
constexpr std::string_view kDefaultAcl =
    "system.posix_acl_default";  // of a directory, for what is made in it

bool is_posix_acl(std::string_view xattr_name);

// The same ACL with the ids of named users and groups made local; nullopt when the bytes are no ACL.
std::optional<std::string> map_acl_ids(std::string_view acl, const IdMap& ids);
// And the way back; nullopt also when the source has no number for one of them.
std::optional<std::string> unmap_acl_ids(std::string_view acl, const IdMap& ids);

// What of an access ACL is in the mode.
struct AclMode {
  uint32_t permissions = 0;  // the lower 9 bits
  bool says_it_all = false;  // the ACL has nothing that the mode has not
};
std::optional<AclMode> mode_of_acl(std::string_view acl);
// An access ACL after chmod(2): owner, mask (or group) and other entries are those of the mode.
std::optional<std::string> acl_after_chmod(std::string_view acl, uint32_t permissions);

// What something new gets from its directory's default ACL.
struct InheritedAcl {
  uint32_t permissions = 0;  // of those asked for, what the ACL allows; no umask is applied
  std::string access;        // "": the mode says it all
};
std::optional<InheritedAcl> inherit_acl(std::string_view default_acl, uint32_t permissions);

}  // namespace rsyncfs
