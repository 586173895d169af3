// SPDX-License-Identifier: GPL-3.0-or-later
// What the mount options say about speaking to the source: the same for a mount and for who only looks at
// one.
#pragma once

#include "fs/daemon/options.h"
#include "sync/engine/filter_rules.h"
#include "sync/engine/syncer.h"

namespace rsyncfs {

// Source, password, polling, the cache and what may be written are for the caller.
SyncerOptions source_options(const MountOptions& given);
FilterRules filter_rules_of(const MountOptions& given);

}  // namespace rsyncfs
