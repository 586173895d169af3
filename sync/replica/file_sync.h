// SPDX-License-Identifier: GPL-3.0-or-later
// The bytes of a dirty file, on the disk.
#pragma once

#include "io/base/result.h"
#include "sync/replica/dirty_file.h"

namespace rsyncfs {

// What was written to the file until now is on the disk, and the database says so; its log is not synced yet.
// EIO, once, when an earlier attempt failed in the background.
Result<void> sync_bytes(DirtyStore& store, DirtyFile& file);

// After a failed attempt: what the kernel still shows is written again, so that the next attempt is about
// it.
Result<void> write_bytes_anew(DirtyStore& store, DirtyFile& file);

}  // namespace rsyncfs
