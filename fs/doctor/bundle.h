// SPDX-License-Identifier: GPL-3.0-or-later
// What somebody needs to help from afar, as files of an archive: without passwords and contents of files, and
// without their names unless they are wanted.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/control/status_document.h"
#include "fs/daemon/options.h"
#include "fs/doctor/finding.h"
#include "fs/doctor/tar_gz.h"

namespace rsyncfs {

constexpr size_t kMaxBundledLog = 256 * 1024;  // bytes, the newest

struct BundleRequest {
  std::optional<MountStatus> status;  // of the mount that it is about
  Findings machine;                   // of this machine, and of the source if it was asked
  MountOptions options;               // as given to doctor; its password file is only read to leave it out
  std::string home;
  bool with_names = false;
};

// Reads /proc and the daemon's log; `now_s`: Unix time.
std::vector<ArchivedFile> make_bundle(const BundleRequest& request, int64_t now_s);

// The options of a command line of ours, one a line; values that may be names or secrets as "_".
std::string shown_options(const std::vector<std::string>& words, bool with_names);

}  // namespace rsyncfs
