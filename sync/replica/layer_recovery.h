// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>

#include "io/base/result.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// After a power cut: ranges of layers that may not have reached the disk, being of a later epoch than
// `synced`, are taken away. Where there was something before, that shows again; otherwise the file ends
// there: rather too short than with bytes that nobody wrote.
Result<void> drop_unsynced_layers(Transaction& transaction, uint64_t synced);

}  // namespace rsyncfs
