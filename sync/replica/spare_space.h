// SPDX-License-Identifier: GPL-3.0-or-later
// A file that takes disk space only to give it back: on a full disk the database needs some to say what goes.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

namespace rsyncfs {

// Any thread.
class SpareSpace {
 public:
  static constexpr uint64_t kBytes = 2 << 20;

  explicit SpareSpace(std::string path) : path_(std::move(path)) {}

  // Unless it has it already, or the disk has little more than that.
  void take();
  void give_back();

 private:
  const std::string path_;
  std::mutex mutex_;
  bool taken_ = false;  // guarded by mutex_
};

}  // namespace rsyncfs
