// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>

namespace rsyncfs::support {

// Asks again every few milliseconds; true as soon as `condition` is, false when `limit` has passed without
// it.
bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds limit);

// Seconds since some fixed moment, for measuring what passed.
double monotonic_seconds();

}  // namespace rsyncfs::support
