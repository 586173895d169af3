// SPDX-License-Identifier: GPL-3.0-or-later
// From the words of the command line to one command.
#pragma once

#include <optional>
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
  int timeout_s = 30;
  bool lazy = false;
};
struct StatusCommand {
  std::string mountpoint;  // "": all
  bool json = false;
  bool metrics = false;  // of one mount
  bool watch = false;
  double interval_s = 1;
};
struct InfoCommand {
  std::string path;
  bool json = false;
};
struct FetchCommand {
  std::vector<std::string> paths;
  bool quiet = false;
  bool pin = false;  // keep them here from now on
};
struct FreeCommand {
  std::vector<std::string> paths;
};
struct UnpinCommand {
  std::vector<std::string> paths;
};
struct FlushCommand {
  std::string path;
  std::optional<int> timeout_s;
  bool quiet = false;
};
struct RefreshCommand {
  std::string path;
};
struct VerifyCommand {
  std::vector<std::string> paths;
  bool remote = false;  // compare with the source, too
  bool quiet = false;
};
struct ConflictsCommand {
  std::string mountpoint;
  bool json = false;
  bool clear = false;
};
struct DoctorCommand {
  std::string target;  // a source, a mountpoint, or "": this machine alone
  MountOptions options;
  bool json = false;
  std::string bundle;  // write a support bundle there
  bool with_names = false;
};
struct ResumeCommand {
  std::string mountpoint;
};
using Command = std::variant<ShowText, MountRequest, UnmountCommand, StatusCommand, InfoCommand, FetchCommand,
                             FreeCommand, UnpinCommand, FlushCommand, RefreshCommand, VerifyCommand,
                             ConflictsCommand, ResumeCommand, DoctorCommand>;

// `words`: without the program's name. kUsage, in one line.
Result<Command> parse_command_line(const std::vector<std::string>& words);

}  // namespace rsyncfs
