// SPDX-License-Identifier: GPL-3.0-or-later
// Files that a killed process left behind, and of which the database does not speak.
#pragma once

#include <cstdint>

#include "sync/replica/database.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

// Removes slabs and block files with numbers below the given ones that no row names. What can't be read is
// left alone.
void sweep_leftovers(const StateDirectory& directory, Connection& db, uint64_t first_new_slab,
                     uint64_t first_new_block_file);

}  // namespace rsyncfs
