// SPDX-License-Identifier: GPL-3.0-or-later
// A served tree, an engine whose cache is limited, and a look at the disk that never rests.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/small_disk.h"
#include "tests/support/wait.h"

namespace rsyncfs {

constexpr uint64_t kMiB = 1 << 20;

// What the slabs and block files of a store take now.
inline uint64_t allocated(const std::string& store) {
  uint64_t sum = 0;
  for (const char* part : {"/slabs", "/blocks"}) {
    std::error_code failure;
    for (std::filesystem::recursive_directory_iterator entry(store + part, failure), end;
         !failure && entry != end; entry.increment(failure)) {
      struct stat status {};
      if (stat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      sum += static_cast<uint64_t>(status.st_blocks) * 512;
    }
  }
  return sum;
}

// Looks again and again, on a thread of its own, for as long as it lives.
class DiskWatch {
 public:
  explicit DiskWatch(std::string store) : store_(std::move(store)), thread_([this] { run(); }) {}
  DiskWatch(const DiskWatch&) = delete;
  DiskWatch& operator=(const DiskWatch&) = delete;
  ~DiskWatch() { stop(); }
  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  uint64_t most_allocated() const { return most_; }
  uint64_t least_free() const { return least_free_; }
  uint64_t looks() const { return looks_; }

 private:
  void run() {
    while (!over_) {
      most_ = std::max<uint64_t>(most_, allocated(store_));
      struct statvfs now {};
      if (statvfs(store_.c_str(), &now) == 0)
        least_free_ = std::min<uint64_t>(least_free_, now.f_bavail * now.f_frsize);
      ++looks_;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  const std::string store_;
  std::atomic<bool> over_{false};
  std::atomic<uint64_t> most_{0};
  std::atomic<uint64_t> least_free_{UINT64_MAX};
  std::atomic<uint64_t> looks_{0};
  std::thread thread_;
};

class CacheRig : public testing::Test {
 protected:
  using RsyncDaemon = support::RsyncDaemon;
  support::DaemonOptions writable() const {
    auto options = RsyncDaemon::serving(tree_.path());
    options.modules[0].read_only = false;
    return options;
  }
  std::string served(const std::string& path) const { return tree_ / path; }
  // Makes a file of bytes that are known.
  void serve(const std::string& path, uint64_t bytes) {
    support::make_dirs(std::filesystem::path(served(path)).parent_path());
    support::write_file(served(path), support::random_bytes(bytes, std::hash<std::string>()(path)));
  }
  // All of it is read, and is right.
  void read_through(EngineRig& rig, const std::string& path) {
    const auto bytes = rig.read_all(path);
    ASSERT_TRUE(bytes.ok()) << path << ": " << bytes.error().message();
    ASSERT_TRUE(*bytes == support::read_file(served(path))) << path;
  }
  static SyncerOptions limited(uint64_t cache_bytes, uint64_t min_free_bytes = 0) {
    SyncerOptions options;
    options.cache.cache_bytes = cache_bytes;
    options.cache.min_free_bytes = min_free_bytes;
    return options;
  }
  static bool complete(EngineRig& rig, const std::string& path) {
    const auto node = rig.find(path);
    const auto state = node ? rig.replica().content_state(node->id) : Result<ContentState>(node.error());
    return state && state->complete;
  }
  size_t times_sent(const RsyncDaemon& server, const std::string& path) const {
    const auto transfers = server.transfers();
    return static_cast<size_t>(std::count(transfers.begin(), transfers.end(), path));
  }

  support::TempDir tree_;
  support::TempDir store_;
};

}  // namespace rsyncfs
