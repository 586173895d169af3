// SPDX-License-Identifier: GPL-3.0-or-later
// A served tree that may be written, and mounts of it: what tests of pushing begin with.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {

class PushTest : public ::testing::Test {
 protected:
  using Names = std::vector<std::string>;

  static support::DaemonOptions writable(const std::string& path) {
    auto options = support::RsyncDaemon::serving(path);
    options.modules[0].read_only = false;
    return options;
  }
  void start(support::DaemonOptions options) {
    server_ = std::make_unique<support::RsyncDaemon>(std::move(options));
    open();
  }
  void start() { start(writable(tree_.path())); }
  std::unique_ptr<EngineRig> mount(const std::string& store) {
    auto rig = std::make_unique<EngineRig>(server_->url(), store_ / store, options_);
    const auto started = rig->start();
    EXPECT_TRUE(started.ok()) << started.error().message();
    EXPECT_TRUE(rig->wait_for_tree());
    return rig;
  }
  void open() { rig_ = mount("s"); }
  std::string served(const std::string& name) const { return tree_ / name; }
  std::string remote(const std::string& name) const { return support::read_file(served(name)); }
  bool exists(const std::string& name) const {
    return std::filesystem::exists(std::filesystem::symlink_status(served(name)));
  }
  void flush(EngineRig& rig) {
    const auto done = rig.flush();
    ASSERT_TRUE(done.ok()) << done.error().message();
    const auto left = rig.replica().pending().summary();
    EXPECT_EQ(left.names, 0U);
    EXPECT_EQ(left.nodes, 0U);
    const auto sound = rig.replica().check();
    EXPECT_TRUE(sound.ok()) << sound.error().message();
  }
  void flush() { flush(*rig_); }
  // What the source has, with all that pushing may have left behind.
  Names listing() const {
    Names out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(tree_.path()))
      out.push_back(entry.path().lexically_relative(tree_.path()).string());
    std::sort(out.begin(), out.end());
    return out;
  }

  SyncerOptions options_;
  support::TempDir tree_;
  support::TempDir store_;
  std::unique_ptr<support::RsyncDaemon> server_;
  std::unique_ptr<EngineRig> rig_;
};

}  // namespace rsyncfs
