// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that is decided before a daemon is started: what the user typed, checked and made definite.
#pragma once

#include <string>
#include <vector>

#include "fs/control/places.h"
#include "fs/daemon/options.h"
#include "io/base/log.h"
#include "io/base/result.h"
#include "sync/transport/source.h"

namespace rsyncfs {

struct MountRequest {
  std::string source;
  std::string mountpoint;
  MountOptions options;
  bool foreground = false;
  bool debug = false;  // every request in the log; implies foreground
  int verbosity = 0;   // -q: -1, -v: 1, -vv: 2
};

struct MountPlan {
  Source source;                 // for a daemon: with the user who logs in
  std::string canonical_source;  // with the user only if one was typed: names the store, and is shown
  std::string source_text;       // as typed
  std::string mountpoint;        // absolute, without symbolic links
  std::string password;
  bool has_password = false;
  MountOptions options;           // paths absolute, remote shell definite
  std::string store;              // exists
  bool store_is_new = false;      // made for this mount, in the state directory
  std::string runtime_directory;  // exists, mode 0700
  std::string log_file;           // "" = standard error; or kSystemLog
  LogLevel log_level = LogLevel::kInfo;
  bool foreground = false;
  bool debug = false;
  bool writable = false;
  std::vector<std::string> notes;  // lines for the user, not errors
};

// How a source is reached, with these options: what of a plan has nothing to do with this side.
struct SourceAccess {
  Source source;  // for a daemon: with the user who logs in
  std::string password;
  bool has_password = false;
  std::string remote_shell;
};
// Reads the password. kUsage, or what is wrong with the password file.
Result<SourceAccess> source_access(const std::string& source, const MountOptions& options);

// Checks source, options, password file, mountpoint and directories, in this order; reads the password (from
// standard input if so asked). kUsage: the command line is wrong; everything else: it cannot be done. One
// line each.
Result<MountPlan> make_mount_plan(const MountRequest& request, const UserPlaces& user);

}  // namespace rsyncfs
