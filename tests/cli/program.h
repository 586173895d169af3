// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "tests/support/mount.h"

namespace rsyncfs::cli_tests {

// mount.rsyncfs of the same build as the program under test.
inline std::string helper_program() {
  const std::string program = support::rsyncfs_binary();
  return program.substr(0, program.rfind('/')) + "/mount.rsyncfs";
}

}  // namespace rsyncfs::cli_tests
