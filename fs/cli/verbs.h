// SPDX-License-Identifier: GPL-3.0-or-later
// What each verb does. Each returns the program's exit code and has said why it failed.
#pragma once

#include "fs/cli/command_line.h"

namespace rsyncfs {

int run_mount(const MountRequest& request);
int run_unmount(const UnmountCommand& command);
int run_status(const StatusCommand& command);
int run_info(const InfoCommand& command);
int run_fetch(const FetchCommand& command);
int run_free(const FreeCommand& command);
int run_unpin(const UnpinCommand& command);
int run_flush(const FlushCommand& command);
int run_refresh(const RefreshCommand& command);
int run_verify(const VerifyCommand& command);
int run_conflicts(const ConflictsCommand& command);
int run_resume(const ResumeCommand& command);
int run_doctor(const DoctorCommand& command);

}  // namespace rsyncfs
