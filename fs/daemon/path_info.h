// SPDX-License-Identifier: GPL-3.0-or-later
// What `info` tells of one path, from the parts of a running mount.
#pragma once

#include <string>

#include "fs/control/info_document.h"
#include "fs/tree/tree.h"

namespace rsyncfs {

// `path`: as typed, for what no name leads to. `source`: what the source calls the root. The link and the
// reasons (fs/daemon/path_reasons.h) are left out. Reads the store: not on the loop.
Result<PathInfo> path_info(Replica& replica, const Tree& tree, const std::string& source, const Node& node,
                           const std::string& path);

}  // namespace rsyncfs
