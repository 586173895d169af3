// SPDX-License-Identifier: GPL-3.0-or-later
// Disks that say no.
#pragma once

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cstdint>

#include <gtest/gtest.h>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {

// Files may not grow beyond this, for as long as it lives: writes fail with EFBIG.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(uint64_t bytes) {
    before_signal_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    RSYNCFS_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, before_signal_);
  }

 private:
  rlimit before_{};
  sighandler_t before_signal_ = nullptr;
};

// On a file system of its own, where that may be mounted.
class FullDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (mount("none", tmp_.path().c_str(), "tmpfs", 0, "size=4m,mode=0700") != 0) {
      GTEST_SKIP() << "mounting is not permitted here";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) umount2(tmp_.path().c_str(), MNT_DETACH);
  }
  TemporaryDirectory tmp_;
  bool mounted_ = false;
};

}  // namespace rsyncfs
