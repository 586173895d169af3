// SPDX-License-Identifier: GPL-3.0-or-later
// Newer versions of files are made of older ones that are here.
#include <cstdio>
#include <memory>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/ssh_server.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::RsyncDaemon;
using support::SshServer;
using support::TempDir;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;

class DeltaTest : public ::testing::Test {
 protected:
  std::string served(const std::string& name) const { return tree_ / name; }
  void open() {
    rig_ = std::make_unique<EngineRig>(source_, store_ / "s", options_);
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
  }
  void serve() {
    server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
    source_ = server_->url();
    open();
  }
  // As an editor does: a new file takes the name.
  void put(const std::string& name, const std::string& contents) {
    write_file(served(name + ".new"), contents);
    support::set_mtime(served(name + ".new"), ++mtime_s_, 5);
    ASSERT_EQ(std::rename(served(name + ".new").c_str(), served(name).c_str()), 0);
  }
  NodeId list_and_find(const std::string& name) {
    EXPECT_TRUE(rig_->list(kRootNode).ok());
    const auto node = rig_->find(name);
    EXPECT_TRUE(node.ok());
    return node ? node->id : 0;
  }
  void fetch(const std::string& name) {
    const auto node = rig_->find(name);
    ASSERT_TRUE(node.ok());
    const auto done = rig_->hydrate(node->id);
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  uint64_t traffic() {
    const auto status = rig_->status();
    return status.bytes_in + status.bytes_out;
  }
  void expect_contents(const std::string& name, const std::string& contents) {
    const auto node = rig_->find(name);
    ASSERT_TRUE(node.ok());
    for (uint64_t offset = 0; offset < contents.size(); offset += kMiB) {
      const auto bytes = rig_->read(node->id, offset, kMiB);
      ASSERT_TRUE(bytes.ok()) << bytes.error().message();
      ASSERT_TRUE(*bytes == contents.substr(offset, kMiB)) << offset;
    }
    const auto sound = rig_->replica().check();
    EXPECT_TRUE(sound.ok()) << sound.error().message();
  }

  TempDir tree_;
  TempDir store_;
  SyncerOptions options_;
  std::string source_;
  int64_t mtime_s_ = 1'000'000;
  std::unique_ptr<RsyncDaemon> server_;
  std::unique_ptr<EngineRig> rig_;
};

TEST_F(DeltaTest, AChangedFileTakesWhatChanged) {
  std::string contents = support::random_bytes(24 * kMiB, 1);
  put("big", contents);
  serve();
  fetch("big");
  contents.replace(9 * kMiB, 4096, support::random_bytes(4096, 2));
  put("big", contents);
  const NodeId node = list_and_find("big");
  const uint64_t before = traffic();
  ASSERT_TRUE(rig_->hydrate(node).ok());
  EXPECT_LT(traffic() - before, 64'000U);
  expect_contents("big", contents);
  EXPECT_EQ(*rig_->replica().basis(node), nullptr);
}

TEST_F(DeltaTest, AReaderWaitsForIt) {
  std::string contents = support::random_bytes(24 * kMiB, 1);
  put("big", contents);
  serve();
  fetch("big");
  // Bytes come and go, so that nothing behind lies where it was.
  contents.insert(3 * kMiB, "in between");
  contents.erase(17 * kMiB, 12'345);
  contents += "at the end";
  put("big", contents);
  const NodeId node = list_and_find("big");
  const uint64_t before = traffic();
  const auto bytes = rig_->read(node, 16 * kMiB, 4096);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  EXPECT_TRUE(*bytes == contents.substr(16 * kMiB, 4096));
  EXPECT_LT(traffic() - before, 200'000U);
  expect_contents("big", contents);
}

TEST_F(DeltaTest, WhoHasTheOldVersionKeepsIt) {
  const std::string old_contents = support::random_bytes(5 * kMiB, 1);
  put("big", old_contents);
  serve();
  fetch("big");
  const auto old_node = rig_->find("big");
  std::string contents = old_contents;
  contents.replace(kMiB, 10, "0123456789");
  put("big", contents);
  ASSERT_NE(list_and_find("big"), old_node->id);
  fetch("big");
  const auto bytes = rig_->read(old_node->id, kMiB, 10);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, old_contents.substr(kMiB, 10));
  expect_contents("big", contents);
}

TEST_F(DeltaTest, OverARemountAndWithoutTheOldVersionsNode) {
  std::string contents = support::random_bytes(12 * kMiB, 1);
  put("big", contents);
  serve();
  fetch("big");
  const auto old_node = rig_->find("big");
  contents.replace(5 * kMiB, 100, std::string(100, 'x'));
  put("big", contents);
  list_and_find("big");
  ASSERT_TRUE(rig_->replica().forget_orphans({old_node->id}).ok());
  rig_.reset();
  open();
  ASSERT_TRUE(rig_->replica().purge_orphans(100).ok());
  const uint64_t before = traffic();
  fetch("big");
  EXPECT_LT(traffic() - before, 100'000U);
  expect_contents("big", contents);
  EXPECT_FALSE(rig_->replica().node(old_node->id).ok());
}

TEST_F(DeltaTest, AnotherFileAltogetherIsWhatItIs) {
  put("big", support::random_bytes(6 * kMiB, 1));
  serve();
  fetch("big");
  const std::string contents = support::random_bytes(7 * kMiB, 2);
  put("big", contents);
  list_and_find("big");
  fetch("big");
  expect_contents("big", contents);
}

TEST_F(DeltaTest, OldProtocolsAndCompressions) {
  serve();
  int number = 0;
  for (const std::string compress : {"none", "zlibx", "zstd"}) {
    for (const int protocol : {30, 31, 32}) {
      SCOPED_TRACE(compress + " protocol " + std::to_string(protocol));
      options_.compress = compress;
      options_.max_protocol = protocol;
      rig_.reset();
      std::string contents = support::random_bytes(3 * kMiB, 1);
      put("big", contents);
      rig_ = std::make_unique<EngineRig>(source_, store_ / std::to_string(++number), options_);
      ASSERT_TRUE(rig_->start().ok());
      ASSERT_TRUE(rig_->wait_for_tree());
      fetch("big");
      contents.replace(kMiB, 3, "new");
      put("big", contents);
      const NodeId node = list_and_find("big");
      const uint64_t before = traffic();
      ASSERT_TRUE(rig_->hydrate(node).ok());
      EXPECT_LT(traffic() - before, 100'000U);
      expect_contents("big", contents);
    }
  }
}

TEST_F(DeltaTest, ARenamedFileIsNotSentAgain) {
  const std::string contents = support::random_bytes(8 * kMiB, 1);
  support::make_dirs(served("a"));
  put("a/big", contents);
  serve();
  fetch("a/big");
  ASSERT_EQ(std::rename(served("a").c_str(), served("b").c_str()), 0);
  ASSERT_TRUE(rig_->list(kRootNode).ok());
  const uint64_t before = traffic();
  fetch("b/big");
  // The directory's own list is of another session than the one that lacked the old name.
  RecordProperty("traffic", std::to_string(traffic() - before));
  ASSERT_EQ(std::rename(served("b/big").c_str(), served("b/large").c_str()), 0);
  const auto directory = rig_->find("b");
  ASSERT_TRUE(directory.ok() && rig_->list(directory->id).ok());
  const uint64_t then = traffic();
  fetch("b/large");
  EXPECT_LT(traffic() - then, 100'000U);
  const auto node = rig_->find("b/large");
  const auto bytes = rig_->read(node->id, 5 * kMiB, 1000);
  ASSERT_TRUE(bytes.ok());
  EXPECT_TRUE(*bytes == contents.substr(5 * kMiB, 1000));
}

TEST_F(DeltaTest, OverSsh) {
  SshServer ssh;
  options_.remote_shell = ssh.rsh();
  source_ = ssh.source(tree_.path());
  std::string contents = support::random_bytes(3 * kMiB, 1);
  put("big", contents);
  open();
  fetch("big");
  contents.replace(kMiB, 3, "new");
  put("big", contents);
  const NodeId node = list_and_find("big");
  const uint64_t before = traffic();
  ASSERT_TRUE(rig_->hydrate(node).ok());
  EXPECT_LT(traffic() - before, 100'000U);
  expect_contents("big", contents);
}

}  // namespace
}  // namespace rsyncfs
