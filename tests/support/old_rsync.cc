// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/old_rsync.h"

#include <unistd.h>

#include <cstdlib>

#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

constexpr const char* kDirectory = RSYNCFS_TEST_CACHE "/old-rsync";
constexpr std::chrono::minutes kObtainLimit{30};  // the script has limits of its own

}  // namespace

OldRsync find_old_rsync() {
  if (const char* given = std::getenv("RSYNCFS_OLD_RSYNC")) return {given, ""};
  const std::string program = std::string(kDirectory) + "/old/usr/bin/rsync";
  const std::string why_not = std::string(kDirectory) + "/why-not";
  // ctest has run the script before; a test program that is run by hand does it here. What failed once is not
  // tried again by each of the tests.
  if (access(program.c_str(), X_OK) != 0 && access(why_not.c_str(), R_OK) != 0) {
    run_command({RSYNCFS_OBTAIN_OLD_RSYNC, kDirectory}, kObtainLimit);
  }
  if (access(program.c_str(), X_OK) == 0) return {program, ""};
  const std::string again = std::string("\nto try again: " RSYNCFS_OBTAIN_OLD_RSYNC " ") + kDirectory;
  return {std::nullopt, (access(why_not.c_str(), R_OK) == 0 ? read_file(why_not) : "") + again};
}

std::string require_old_rsync() {
  OldRsync found = find_old_rsync();
  if (!found.program) fail_setup(found.reason);
  return *found.program;
}

}  // namespace rsyncfs::support
