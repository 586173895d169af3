// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/old_rsync.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

constexpr std::chrono::minutes kDownloadLimit{3};

// Run in the cache directory. A package of the list may have left the mirror since: try the next.
constexpr const char* kObtain = R"sh(
set -u
list() { apt-cache madison rsync | awk '{print $3}' | grep '^3\.2\.' | sort -uV; }
versions=$(list)
[ -n "$versions" ] || { apt-get -q update >&2; versions=$(list); }
[ -n "$versions" ] || { echo "apt-cache madison rsync lists no 3.2 version" >&2; exit 1; }
for version in $versions; do
  rm -rf unpacked *.deb
  apt-get download -o APT::Sandbox::User=root "rsync=$version" >&2 || continue
  dpkg-deb -x rsync_*.deb unpacked && unpacked/usr/bin/rsync --version >/dev/null && mv unpacked old && exit 0
done
echo "none of $versions could be downloaded and run" >&2
exit 1
)sh";

}  // namespace

OldRsync find_old_rsync() {
  if (const char* given = std::getenv("RSYNCFS_OLD_RSYNC")) return {given, ""};
  const std::string dir = RSYNCFS_TEST_CACHE "/old-rsync";
  const std::string program = dir + "/old/usr/bin/rsync";
  make_dirs(dir);
  const int lock = open((dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0 || flock(lock, LOCK_EX) != 0) return {std::nullopt, "cannot lock " + dir};
  OldRsync result;
  if (access(program.c_str(), X_OK) != 0) {
    ProcessOptions options;
    options.working_directory = dir;
    const CommandResult run = run_command({"bash", "-c", kObtain}, kDownloadLimit, options);
    if (run.exit_code != 0) result.reason = run.timed_out ? "the download took too long" : run.err;
  }
  if (result.reason.empty()) result.program = program;
  close(lock);
  return result;
}

std::string require_old_rsync() {
  OldRsync found = find_old_rsync();
  if (!found.program) fail_setup("no older rsync: " + found.reason);
  return *found.program;
}

}  // namespace rsyncfs::support
