// SPDX-License-Identifier: GPL-3.0-or-later
// Files that get longer at the source, and those that only seem to.
#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/ssh_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using std::chrono::seconds;
using support::RsyncDaemon;
using support::TempDir;
using support::wait_until;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;

class GrowthTest : public ::testing::Test {
 protected:
  std::string served(const std::string& name) const { return tree_ / name; }
  void open() {
    rig_ = std::make_unique<EngineRig>(source_, store_ / "s", options_);
    rig_->set_in_use(true);
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
  }
  void serve() {
    server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
    source_ = server_->url();
    open();
  }
  NodeId fetch(const std::string& name) {
    const auto node = rig_->find(name);
    EXPECT_TRUE(node.ok());
    if (!node) return 0;
    const auto done = rig_->hydrate(node->id);
    EXPECT_TRUE(done.ok()) << done.error().message();
    return node->id;
  }
  void append(const std::string& name, const std::string& more) {
    std::ofstream out(served(name), std::ios::app | std::ios::binary);
    out << more;
  }
  // Until the name shows a file of this size; its node.
  NodeId await_size(const std::string& name, uint64_t size) {
    EXPECT_TRUE(rig_->list(kRootNode).ok());
    NodeId found = 0;
    EXPECT_TRUE(wait_until(
        [&] {
          const auto node = rig_->replica().lookup(kRootNode, name);
          if (!node || node->attr.size != size) return false;
          found = node->id;
          return true;
        },
        seconds(30)));
    return found;
  }
  void expect_contents(NodeId node, const std::string& contents) {
    for (uint64_t offset = 0; offset < contents.size(); offset += kMiB) {
      const auto bytes = rig_->read(node, offset, kMiB);
      ASSERT_TRUE(bytes.ok()) << bytes.error().message();
      ASSERT_TRUE(*bytes == contents.substr(offset, kMiB)) << offset;
    }
    const auto sound = rig_->replica().check();
    EXPECT_TRUE(sound.ok()) << sound.error().message();
  }
  void grow_and_follow(std::string contents) {
    write_file(served("log"), contents);
    if (!rig_) open();
    const NodeId node = fetch("log");
    for (int i = 0; i < 5; ++i) {
      const std::string more =
          "line " + std::to_string(i) + std::string(static_cast<size_t>(i) * 20'000, 'x') + "\n";
      append("log", more);
      contents += more;
      ASSERT_EQ(await_size("log", contents.size()), node) << i;
      expect_contents(node, contents);
    }
  }

  TempDir tree_;
  TempDir store_;
  SyncerOptions options_;
  std::string source_;
  std::unique_ptr<RsyncDaemon> server_;
  std::unique_ptr<EngineRig> rig_;
};

TEST_F(GrowthTest, ASmallFileThatGrowsIsTheSameNode) {
  server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
  source_ = server_->url();
  grow_and_follow("the first line\n");
}

TEST_F(GrowthTest, ALargeFileThatGrowsIsTheSameNode) {
  server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
  source_ = server_->url();
  grow_and_follow(support::random_bytes(3 * kMiB + 17, 1));
}

TEST_F(GrowthTest, FromOneKindToTheOther) {
  server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
  source_ = server_->url();
  grow_and_follow(support::random_bytes(kMiB - 30'000, 1));
}

TEST_F(GrowthTest, WithOldProtocols) {
  server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
  source_ = server_->url();
  int number = 0;
  for (const int protocol : {30, 31}) {
    SCOPED_TRACE(protocol);
    options_.max_protocol = protocol;
    rig_ = std::make_unique<EngineRig>(source_, store_ / std::to_string(++number), options_);
    rig_->set_in_use(true);
    write_file(served("log"), "");
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
    write_file(served("log"), "begin");
    ASSERT_TRUE(rig_->list(kRootNode).ok());
    grow_and_follow("begin");
    rig_.reset();
  }
}

TEST_F(GrowthTest, OverSsh) {
  support::SshServer ssh;
  options_.remote_shell = ssh.rsh();
  source_ = ssh.source(tree_.path());
  grow_and_follow(support::random_bytes(2 * kMiB, 1));
}

TEST_F(GrowthTest, ALongerOtherFileIsAnotherNode) {
  write_file(served("small"), support::random_bytes(5'000, 1));
  write_file(served("large"), support::random_bytes(3 * kMiB, 1));
  serve();
  for (const uint64_t size : {uint64_t{5'000}, 3 * kMiB}) {
    SCOPED_TRACE(size);
    const std::string name = size < kMiB ? "small" : "large";
    const std::string old_contents = support::random_bytes(size, 1);
    const NodeId node = fetch(name);
    std::string contents = old_contents + "more";
    contents[size / 2] = static_cast<char>(contents[size / 2] + 1);
    write_file(served(name), contents);
    const NodeId now = await_size(name, contents.size());
    EXPECT_NE(now, node);
    expect_contents(now, contents);
    expect_contents(node, old_contents);
  }
}

TEST_F(GrowthTest, OneThatNobodyHasOpenIsReplaced) {
  write_file(served("log"), "one\n");
  serve();
  const NodeId node = fetch("log");
  rig_->set_in_use(false);
  append("log", "two\n");
  EXPECT_NE(await_size("log", 8), node) << "nobody has it open";
}

// A reader that follows the node sees a beginning of what the writer wrote, at any time.
TEST_F(GrowthTest, AReaderOfAFileThatGrowsAllTheTimeSeesNothingElse) {
  std::string contents = support::random_bytes(200'000, 1);
  write_file(served("log"), contents);
  serve();
  const NodeId node = fetch("log");
  std::atomic<bool> over{false};
  const auto pattern = [](uint64_t at) { return static_cast<char>('a' + at % 23); };
  std::thread writer([&] {
    uint64_t at = 200'000;
    while (!over) {
      std::string more;
      for (int i = 0; i < 997; ++i) more += pattern(at++);
      append("log", more);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  uint64_t seen = 200'000;
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(rig_->list(kRootNode).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto shown = rig_->replica().node(node);
    ASSERT_TRUE(shown.ok());
    const auto bytes = rig_->read(node, seen, static_cast<uint32_t>(shown->attr.size - seen));
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    for (const char byte : *bytes) ASSERT_EQ(byte, pattern(seen++));
  }
  over = true;
  writer.join();
  EXPECT_GT(seen, 230'000U) << "it followed";
  EXPECT_EQ(rig_->replica().lookup(kRootNode, "log")->id, node);
  const auto sound = rig_->replica().check();
  EXPECT_TRUE(sound.ok()) << sound.error().message();
}

}  // namespace
}  // namespace rsyncfs
