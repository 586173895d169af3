// SPDX-License-Identifier: GPL-3.0-or-later
// Kinds of names of extended attributes.
#pragma once

#include <string_view>

namespace rsyncfs {

constexpr std::string_view kStateXattr = "user.rsyncfs.state";

// Answered by us, never by the source; not listed, so that no copy carries them along.
constexpr bool is_own_xattr(std::string_view name) {
  return name.starts_with("user.rsyncfs.");
}

// Of a kind that Linux knows, apart from ACLs.
constexpr bool is_kept_xattr(std::string_view name) {
  for (const std::string_view kind : {"user.", "trusted.", "security."}) {
    if (name.starts_with(kind) && name.size() > kind.size()) return true;
  }
  return false;
}

}  // namespace rsyncfs
