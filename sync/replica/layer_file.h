// SPDX-License-Identifier: GPL-3.0-or-later
// What is done with the block file of a layer, beyond reading and writing it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/layer_extents.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

// [begin, end) reads as zeros from now on, however long the file was; a hole where the file system has holes.
Result<void> make_zeros(int fd, uint64_t begin, uint64_t end);
// The file is at least that long.
Result<void> ensure_length(int fd, uint64_t length);
Result<uint64_t> file_length(int fd);
// Copies a range to the same place of another file; runs of zeros become holes.
Result<void> copy_range(int from, int to, uint64_t begin, uint64_t end);
// The kernel tells of a lost page once, and then counts it as written. So after a failed sync what it still
// shows is written anew, for the next sync to tell of.
Result<void> write_anew(int fd, const LayerExtents& extents);
// The files' names are on the disk, and those of the directories that they are in.
Result<void> sync_entries(FileBatch& batch, const std::vector<std::string>& paths);
// The names of the database's files are on the disk, and that of the state directory.
Result<void> sync_directories(const StateDirectory& directory);
// What is committed to the database is on the disk: in its log, or in itself, which was synced before the log
// began anew.
Result<void> sync_log(const StateDirectory& directory);

}  // namespace rsyncfs
