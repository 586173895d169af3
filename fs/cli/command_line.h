// SPDX-License-Identifier: GPL-3.0-or-later
// From the words of the command line to one command.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "fs/daemon/mount_plan.h"
#include "io/base/result.h"

namespace rsyncfs {

struct ShowText {
  std::string text;  // --help, --version
};
struct UnmountCommand {
  std::string mountpoint;
  int timeout_s = 60;
  bool lazy = false;
};
struct StatusCommand {
  std::string mountpoint;  // "": all
  bool json = false;
};
struct InfoCommand {
  std::string path;
  bool json = false;
};
struct FetchCommand {
  std::vector<std::string> paths;
  bool quiet = false;
};
using Command =
    std::variant<ShowText, MountRequest, UnmountCommand, StatusCommand, InfoCommand, FetchCommand>;

// `words`: without the program's name. kUsage, in one line.
Result<Command> parse_command_line(const std::vector<std::string>& words);

}  // namespace rsyncfs
