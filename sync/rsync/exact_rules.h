// SPDX-License-Identifier: GPL-3.0-or-later
// The filter rules by which a receiver that removes directories takes what a list names, and leaves alone
// whatever else it finds in them. Source: exclude.c, recv_filter_list() and rule_matches(); delete.c.
#pragma once

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "sync/rsync/push_list.h"

namespace rsyncfs {

// Errc::kUsage: which entry's rule is longer than a server takes.
Result<void> validate_exact_rules(const PushList& list);
// All of them, their end included; before the list itself. For PushConfig::exact.
void write_exact_rules(const PushList& list, ByteQueue& out);

}  // namespace rsyncfs
