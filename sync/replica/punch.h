// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <string>

namespace rsyncfs {

// Gives the disk space of a range back; its bytes read as zero. Where the file system cannot, or the file is
// gone, nothing happens: the space is lost until the whole file goes.
void punch_hole(const std::string& path, uint64_t position, uint64_t size);

}  // namespace rsyncfs
