// SPDX-License-Identifier: GPL-3.0-or-later
// What somebody who waits until all is pushed still waits for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/base/result.h"
#include "sync/engine/local_only.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// One path of what differs from the source since `asked_ms` (Unix time) or longer, in the tree that users see
// below `below` (nullopt: anywhere), but for what stays here; nullopt: nothing does. On the store strand.
Result<std::optional<std::string>> find_left(const Replica& replica, const LocalOnly& local_only,
                                             std::optional<NodeId> below, int64_t asked_ms);

}  // namespace rsyncfs
