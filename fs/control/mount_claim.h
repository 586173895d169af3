// SPDX-License-Identifier: GPL-3.0-or-later
// Which daemon a mountpoint's name leads to: the one whose control socket and record lie in the runtime
// directory. One daemon at a time, though an ending one and its successor may both run.
#pragma once

#include <sys/types.h>

#include <string>

#include "fs/control/mount_record.h"
#include "io/base/result.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {

// Makes the control socket and writes the record, which has no device yet. What a dead daemon left is
// replaced; so is what a living one has whose mount is not at the mountpoint any more: it serves those who
// were inside when it was detached, and nobody will look for it there. kRefused with EBUSY if another daemon
// is mounted there or is about to be.
Result<UniqueFd> claim_mount(const std::string& directory, const MountRecord& record);
// Writes the record of a claim anew, unless a successor has claimed the mountpoint since.
Result<void> renew_claim(const std::string& directory, const MountRecord& record);
// Removes socket and record, unless they are those of another daemon than `pid`.
void release_mount(const std::string& directory, const std::string& mountpoint, pid_t pid);

}  // namespace rsyncfs
