// SPDX-License-Identifier: GPL-3.0-or-later
// What the mount tests have in common: a served tree, its mount, and reads that cannot hang the test.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/mount.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree_compare.h"
#include "tests/support/wait.h"

namespace rsyncfs::mount_tests {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::CommandResult;
using support::DaemonOptions;
using support::Mount;
using support::MountOptions;
using support::RsyncDaemon;
using support::TempDir;
using support::wait_until;

// What a process of its own got by reading; so a read that never ends fails the test instead of being it.
struct Reading {
  bool ok = false;
  bool timed_out = false;  // it was killed at the limit
  std::string bytes;
  std::string error;  // what the program printed, e.g. "...: Connection timed out"
  double seconds = 0;
};
Reading read_whole(const std::string& path, milliseconds limit = seconds(30));
Reading read_head(const std::string& path, size_t bytes, milliseconds limit = seconds(30));
Reading list_names(const std::string& directory, milliseconds limit = seconds(30));

// Called in SetUp(), skips the test where the kernel, or what confines us, has no io_uring and `io` asks for
// it.
void require_engine(const std::string& io);

// A test that runs on both engines of the loop; its parameter is what io= takes.
class OnEachEngine : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { require_engine(GetParam()); }
};

// "remote", "partial" or "cached"; the errno text if there is none.
std::string state_of(const std::string& path);

// Files fetched since the daemon of the mount started.
int64_t files_fetched(const Mount& mount);
// Waits until the list of the whole tree is in; false if it does not come.
bool wait_for_tree(const Mount& mount, milliseconds limit = seconds(30));

// A directory of files and a daemon that serves it as rsync://127.0.0.1:PORT/m.
class ServedTree {
 public:
  ServedTree() : ServedTree(DaemonOptions{}) {}
  // `options` without modules: one is added.
  explicit ServedTree(DaemonOptions options);

  const std::string& path() const { return root_; }
  std::string operator/(const std::string& name) const { return root_ + "/" + name; }
  RsyncDaemon& server() { return server_; }
  MountOptions mount_options(std::vector<std::string> options = {}) const;

 private:
  TempDir dir_;
  std::string root_;
  RsyncDaemon server_;
};

// For EXPECT_THAT(reading, ...): the read failed by a limit on waiting for the source.
MATCHER(GaveUpWaiting, "fails with ETIMEDOUT or EHOSTUNREACH") {
  *result_listener << "error \"" << arg.error << "\" after " << arg.seconds << " s"
                   << (arg.timed_out ? ", killed" : "");
  return !arg.ok && !arg.timed_out &&
         (arg.error.find("Connection timed out") != std::string::npos ||
          arg.error.find("No route to host") != std::string::npos);
}

}  // namespace rsyncfs::mount_tests
