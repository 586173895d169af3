// SPDX-License-Identifier: GPL-3.0-or-later
// Which files of the mount programs have mapped: the kernel asks for their pages again whenever it likes, and
// a program that does not get one is killed.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "io/loop.h"
#include "sync/replica/cache_space.h"

namespace rsyncfs {

// Any thread.
class MappedFiles {
 public:
  // So long an answer holds: looking takes some milliseconds.
  static constexpr std::chrono::seconds kKnownFor{2};

  // "0:54", as in mount tables; until then nothing is mapped.
  void watch(std::string device);
  InodeSet inodes();

 private:
  std::mutex mutex_;
  std::string device_;           // guarded by mutex_; "00:36", as in /proc/PID/maps
  InodeSet inodes_;              // guarded by mutex_
  Clock::time_point looked_at_;  // guarded by mutex_
};

// Inode numbers of this device ("00:36") in the text of /proc/PID/maps.
void add_mapped_inodes(const std::string& maps, const std::string& device, InodeSet& inodes);

}  // namespace rsyncfs
