// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "io/base/result.h"

namespace rsyncfs {

// The one place where failures become errnos; never 0.
int errno_of(const Error& error);

}  // namespace rsyncfs
