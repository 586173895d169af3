// SPDX-License-Identifier: GPL-3.0-or-later
// What the source has of directories that it moved file by file.
#pragma once

#include <string>

#include "io/base/result.h"
#include "sync/replica/losses.h"
#include "sync/replica/pending.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// After the directory's own name is where it is now; `losses` are to be settled afterwards.
Result<void> note_remade(Transaction& transaction, const RemadeDirectory& directory, Losses& losses);

}  // namespace rsyncfs
