// SPDX-License-Identifier: GPL-3.0-or-later
// Finds out which directories of the mount processes are in, and which inodes they watch: the kernel asks us
// nothing about those. Source: proc(5), /proc/PID/cwd and /proc/PID/fdinfo; of processes that we may look at.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

struct FoundUses {
  std::vector<std::string> working_directories;  // below the mountpoint, relative to it; "" is the root
  std::unordered_set<ino_t> watched;             // st_ino
};

// One look at all processes but this one.
FoundUses scan_uses(const std::string& mountpoint, dev_t device);

// The inodes of `device` that a file of /proc/PID/fdinfo names as watched.
void add_watched(std::string_view fdinfo, dev_t device, std::unordered_set<ino_t>& out);

// Looks again and again, on a thread of its own.
class UseScanner {
 public:
  static constexpr std::chrono::milliseconds kShortest{1'500};
  static constexpr int kShare = 100;  // of a processor that it may take: one in so many

  using Found = std::function<void(const FoundUses&)>;
  // `found` is called on its thread.
  UseScanner(std::string mountpoint, dev_t device, Found found);
  ~UseScanner();
  UseScanner(const UseScanner&) = delete;
  UseScanner& operator=(const UseScanner&) = delete;

 private:
  void run();

  const std::string mountpoint_;
  const dev_t device_;
  const Found found_;
  std::mutex mutex_;  // guards ending_
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace rsyncfs
