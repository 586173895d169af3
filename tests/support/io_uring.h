// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

namespace rsyncfs::support {

// Why a ring cannot be made here: an old kernel, a seccomp filter as containers have it, a sysctl. "" if one
// can be.
std::string why_no_io_uring();

}  // namespace rsyncfs::support
