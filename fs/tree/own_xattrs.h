// SPDX-License-Identifier: GPL-3.0-or-later
// Names that are answered by us, never by the source; they are not listed, so that no copy carries them
// along.
#pragma once

#include <string_view>

namespace rsyncfs {

constexpr std::string_view kStateXattr = "user.rsyncfs.state";

constexpr bool is_own_xattr(std::string_view name) {
  return name.starts_with("user.rsyncfs.");
}

}  // namespace rsyncfs
