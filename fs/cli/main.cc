// SPDX-License-Identifier: GPL-3.0-or-later
#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"

namespace {

struct RunCommand {
  int operator()(const rsyncfs::ShowText& command) const {
    return std::fputs(command.text.c_str(), stdout) < 0 ? rsyncfs::kExitFailed : rsyncfs::kExitDone;
  }
  int operator()(const rsyncfs::MountRequest& command) const { return rsyncfs::run_mount(command); }
  int operator()(const rsyncfs::UnmountCommand& command) const { return rsyncfs::run_unmount(command); }
  int operator()(const rsyncfs::StatusCommand& command) const { return rsyncfs::run_status(command); }
  int operator()(const rsyncfs::InfoCommand& command) const { return rsyncfs::run_info(command); }
  int operator()(const rsyncfs::FetchCommand& command) const { return rsyncfs::run_fetch(command); }
  int operator()(const rsyncfs::FreeCommand& command) const { return rsyncfs::run_free(command); }
  int operator()(const rsyncfs::UnpinCommand& command) const { return rsyncfs::run_unpin(command); }
  int operator()(const rsyncfs::FlushCommand& command) const { return rsyncfs::run_flush(command); }
  int operator()(const rsyncfs::ConflictsCommand& command) const { return rsyncfs::run_conflicts(command); }
  int operator()(const rsyncfs::RefreshCommand& command) const { return rsyncfs::run_refresh(command); }
  int operator()(const rsyncfs::VerifyCommand& command) const { return rsyncfs::run_verify(command); }
  int operator()(const rsyncfs::ResumeCommand& command) const { return rsyncfs::run_resume(command); }
  int operator()(const rsyncfs::DoctorCommand& command) const { return rsyncfs::run_doctor(command); }
};

}  // namespace

int main(int argc, char** argv) {
  rsyncfs::Result<rsyncfs::Command> command =
      rsyncfs::parse_command_line(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
  if (!command) {
    rsyncfs::complain(command.error().message());
    return rsyncfs::kExitUsage;
  }
  return std::visit(RunCommand{}, *command);
}
