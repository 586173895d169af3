// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/version.h"

namespace rsyncfs {

std::string_view version() {
  return RSYNCFS_VERSION;
}

}  // namespace rsyncfs
