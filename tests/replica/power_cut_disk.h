// SPDX-License-Identifier: GPL-3.0-or-later
// A disk that keeps what was synced, and of the rest whatever it likes. The program that is linked with it
// has fdatasync(2), fsync(2) and syncfs(2) of its own: they remember what is under one directory, and sync
// nothing.
#pragma once

#include <functional>
#include <random>
#include <string>

namespace rsyncfs {

// What is in `directory` now counts as synced. One at a time.
void watch_disk(const std::string& directory);
// From now on syncs of files in `blocks` fail with this errno; 0: no more.
void fail_syncs(int error);
// Calls `event` after each sync that has to do with the directory, but not for those that it causes, nor for
// those that end while it is running. Null: no more.
void after_each_sync(std::function<void()> event);
// Makes `to` what the disk has after the power failed at this moment: each block as it was when it was synced
// last or as it is now, names that were not synced or not.
void cut_power(const std::string& to, std::mt19937_64& random);

}  // namespace rsyncfs
