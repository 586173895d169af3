// SPDX-License-Identifier: GPL-3.0-or-later
// The FileBatch on rings, one for each thread that uses it, as long as the thread lives.
#pragma once

#include <memory>
#include <string>

#include "io/file_batch.h"

namespace rsyncfs {

struct RingFileBatchSelection {
  std::unique_ptr<FileBatch> batch;
  std::string description;  // "64 entries, SINGLE_ISSUER, DEFER_TASKRUN"
};

// Any failure (no system call, not permitted, too old, an operation missing) is the reason not to use it.
Result<RingFileBatchSelection> make_ring_file_batch();

}  // namespace rsyncfs
