// SPDX-License-Identifier: GPL-3.0-or-later
// What mount(8) says to a helper, and what the program that mounts is to be told. Source: mount(8) "EXTERNAL
// HELPERS".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

// Exit codes of a helper, as mount(8) documents them.
constexpr int kMountUsage = 1;
constexpr int kMountSystem = 2;
constexpr int kMountFailed = 32;

struct HelperCall {
  std::string source;
  std::string mountpoint;
  std::vector<std::string> options;  // as in the list, without those that are for others
  std::string mount_namespace;       // -N: a path, or a process number; "" = ours
  bool sloppy = false;               // -s: drop what nobody knows
  bool fake = false;                 // -f: check, do not mount
  bool verbose = false;
  bool remount = false;
  std::optional<bool> read_write;  // the last one of "rw" and "ro"
};

// SOURCE MOUNTPOINT [-s] [-f] [-n] [-v] [-N NAMESPACE] [-t TYPE] [-o OPTIONS], in any order. kUsage.
Result<HelperCall> parse_helper_call(const std::vector<std::string>& words);

// Arguments of the program that mounts, without its name.
std::vector<std::string> mount_arguments(const HelperCall& call);
struct UnmountCall {
  std::string mountpoint;
  std::string mount_namespace;
  bool lazy = false;   // -l
  bool force = false;  // -f
};
// MOUNTPOINT [-f] [-l] [-n] [-r] [-v] [-N NAMESPACE] [-t TYPE], in any order. kUsage.
Result<UnmountCall> parse_unmount_call(const std::vector<std::string>& words);
std::vector<std::string> unmount_arguments(const UnmountCall& call);

// Whether a status document of that program (`status MOUNTPOINT --json`) is of a mount that can be written
// to.
bool tells_writable(std::string_view status_json);
// Exit status of that program -> that of the helper.
int helper_exit_code(int program_exit_code);

}  // namespace rsyncfs
