// SPDX-License-Identifier: GPL-3.0-or-later
// The loop on one io_uring.
#pragma once

#include <memory>
#include <string>

#include "io/loop.h"

namespace rsyncfs {

struct UringSelection {
  std::unique_ptr<Loop> loop;
  std::string description;  // "64 entries, SINGLE_ISSUER, DEFER_TASKRUN"
};

// Any failure (no system call, not permitted, too old, an operation missing) is the reason not to use it.
Result<UringSelection> make_uring_loop();

}  // namespace rsyncfs
