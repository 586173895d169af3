// SPDX-License-Identifier: GPL-3.0-or-later
// Paths as typed, divided into what one request to one daemon can have.
#pragma once

#include <string>
#include <vector>

#include "fs/control/client.h"

namespace rsyncfs {

struct PathBatch {
  FoundMount mount;
  std::vector<std::string> paths;  // inside of it
};

struct PathsByMount {
  std::vector<PathBatch> batches;
  bool failed = false;  // some are in no mount of ours; the user was told
};

PathsByMount paths_by_mount(const std::vector<std::string>& paths);

}  // namespace rsyncfs
