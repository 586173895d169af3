// SPDX-License-Identifier: GPL-3.0-or-later
// Where a mount keeps its state, and where its control socket lies. Both are found from names alone, without
// touching the mount: a stuck mount must not stop the verbs.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

// What the places depend on. Empty strings: not set.
struct UserPlaces {
  uid_t uid = 0;
  std::string home;         // $HOME, or the user database's
  std::string state_dir;    // $RSYNCFS_STATE_DIR
  std::string runtime_dir;  // $RSYNCFS_RUNTIME_DIR
  std::string xdg_state;    // $XDG_STATE_HOME
  std::string xdg_runtime;  // $XDG_RUNTIME_DIR
  static UserPlaces of_this_process();
};

// $RSYNCFS_STATE_DIR; else root: /var/lib/rsyncfs; else $XDG_STATE_HOME/rsyncfs or ~/.local/state/rsyncfs.
// kUsage when none of them can be had.
Result<std::string> state_root(const UserPlaces& user);
// $RSYNCFS_RUNTIME_DIR; else root: /run/rsyncfs; else $XDG_RUNTIME_DIR/rsyncfs, or "run" in the state
// directory.
Result<std::string> runtime_directory(const UserPlaces& user);
// Where verbs look: the above first, then where this user's (root: any user's) mounts may have been made with
// another environment.
std::vector<std::string> runtime_directories(const UserPlaces& user);

// The sub-directory of the state directory that belongs to a mount: a readable part, and a hash of both.
std::string mount_id(std::string_view canonical_source, std::string_view mountpoint);
// File names in the runtime directory. `mountpoint`: absolute, no symbolic links, no trailing slash.
std::string socket_name(std::string_view mountpoint);
std::string record_name(std::string_view mountpoint);

// Absolute, without "//", "." and ".."; by the letters only, nothing is looked up.
std::string lexical_absolute(std::string_view path, std::string_view working_directory);
// "/a/b" -> "/a"; "/" stays.
std::string parent_path(std::string_view path);

// Makes the directory and its parents (mode 0700) where missing.
Result<void> make_directory_path(const std::string& path);
// The same for a directory that is ours alone: kRefused if what is there belongs to another user; the
// permissions of others are taken away.
Result<void> make_private_directory(const std::string& path);

}  // namespace rsyncfs
