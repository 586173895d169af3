// SPDX-License-Identifier: GPL-3.0-or-later
// What a daemon leaves beside its socket, so that it can be named when it does not answer.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "fs/control/mount_table.h"
#include "fs/control/places.h"
#include "io/base/result.h"

namespace rsyncfs {

struct MountRecord {
  pid_t pid = 0;
  std::string mountpoint;  // raw bytes
  std::string source;      // canonical
  // What mount tables call it: "fuse.rsyncfs", raw bytes, "0:54". The last is "" until it is mounted.
  std::string type;
  std::string fsname;
  std::string device;
};

// Whether this mount is the one that the record speaks of. A record outlives its daemon, and what was mounted
// in its place since, by whomever, must not be taken for it.
bool is_recorded(const MountedAt& mounted, const MountRecord& record);

// Atomically, mode 0600.
Result<void> write_mount_record(const std::string& directory, const MountRecord& record);
// kNotFound, kCorrupt.
Result<MountRecord> read_mount_record(const std::string& path);

struct RecordedMount {
  std::string directory;  // the runtime directory
  MountRecord record;
};
// All that are found in the user's runtime directories, by mountpoint.
std::vector<RecordedMount> recorded_mounts(const UserPlaces& user);

}  // namespace rsyncfs
