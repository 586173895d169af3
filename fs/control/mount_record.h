// SPDX-License-Identifier: GPL-3.0-or-later
// What a daemon leaves beside its socket, so that it can be named when it does not answer.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "fs/control/places.h"
#include "io/base/result.h"

namespace rsyncfs {

struct MountRecord {
  pid_t pid = 0;
  std::string mountpoint;  // raw bytes
  std::string source;      // canonical
};

// Atomically, mode 0600.
Result<void> write_mount_record(const std::string& directory, const MountRecord& record);
// kNotFound, kCorrupt.
Result<MountRecord> read_mount_record(const std::string& path);
// Socket and record of a daemon that is gone.
void remove_mount_files(const std::string& directory, const std::string& mountpoint);

struct RecordedMount {
  std::string directory;  // the runtime directory
  MountRecord record;
};
// All that are found in the user's runtime directories, by mountpoint.
std::vector<RecordedMount> recorded_mounts(const UserPlaces& user);

}  // namespace rsyncfs
