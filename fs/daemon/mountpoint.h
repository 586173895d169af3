// SPDX-License-Identifier: GPL-3.0-or-later
// Whether, and where exactly, the user's MOUNTPOINT can be mounted on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/control/places.h"
#include "io/base/result.h"

namespace rsyncfs {

// The mountpoint without symbolic links. A mount of ours that is already there is not touched: it is refused,
// or taken away when its daemon is dead (then `notes` says so). Errors name the mountpoint and the cause.
Result<std::string> prepare_mountpoint(const std::string& path, const UserPlaces& user,
                                       std::vector<std::string>& notes);

}  // namespace rsyncfs
