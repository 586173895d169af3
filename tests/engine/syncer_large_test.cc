// SPDX-License-Identifier: GPL-3.0-or-later
// Large files: many readers at once, streams that share the sessions, versions that change meanwhile.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using std::chrono::seconds;
using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;

class LargeFileTest : public ::testing::Test {
 protected:
  std::string served(const std::string& name) const { return tree_ / name; }
  TempDir tree_;
  TempDir store_;
};

TEST_F(LargeFileTest, ReadersFarApartAllGetTheirBytes) {
  const std::string contents = support::random_bytes(96 * kMiB, 11);
  write_file(served("big"), contents);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("big");
  ASSERT_TRUE(node.ok());
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 6; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937_64 random(seed + reader);
      for (int i = 0; i < 8; ++i) {
        // Half of them step backwards, the others jump.
        const uint64_t offset =
            reader % 2 == 0 ? random() % contents.size() : contents.size() - (reader + 12 * i + 1) * kMiB / 2;
        const auto bytes = rig.read(node->id, offset, 50'000);
        ASSERT_TRUE(bytes.ok()) << bytes.error().message();
        ASSERT_TRUE(*bytes == contents.substr(offset, 50'000)) << offset;
      }
    });
  }
  for (auto& reader : readers) reader.join();
}

TEST_F(LargeFileTest, AFileInOnePieceTakesOneSession) {
  for (int i = 0; i < 4; ++i)
    write_file(served(std::to_string(i)), support::random_bytes(20 * kMiB, static_cast<uint64_t>(i)));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto before = rig.status().sessions_opened;
  for (int i = 0; i < 4; ++i) {
    const auto node = rig.find(std::to_string(i));
    ASSERT_TRUE(node.ok());
    ASSERT_TRUE(rig.hydrate(node->id).ok());
  }
  EXPECT_EQ(rig.status().sessions_opened, before + 4);
}

// Brings all of `paths` at once; the errors of those that did not come.
std::vector<std::string> hydrate_together(EngineRig& rig, const std::vector<std::string>& paths) {
  std::mutex mutex;
  std::vector<std::string> errors;
  std::vector<std::thread> threads;
  for (const auto& path : paths) {
    threads.emplace_back([&rig, &mutex, &errors, path] {
      const auto node = rig.find(path);
      const Result<void> done = node ? rig.hydrate(node->id) : Result<void>(node.error());
      const std::lock_guard lock(mutex);
      if (!done) errors.push_back(path + ": " + done.error().message());
    });
  }
  for (auto& thread : threads) thread.join();
  return errors;
}

TEST_F(LargeFileTest, ManyLargeFilesLeaveRoomForSmallOnes) {
  std::vector<std::string> names;
  for (int i = 0; i < 6; ++i) {
    names.push_back("huge" + std::to_string(i));
    support::make_sparse_file(served(names.back()), 64ULL << 30, "h", 0);
  }
  support::make_dirs(served("dir"));
  write_file(served("dir/small"), "small");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  SyncerOptions options;
  options.timeout = seconds(20);
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  for (const auto& name : names) {
    const auto node = rig.find(name);
    ASSERT_TRUE(node.ok());
    rig.syncer().hydrate(node->id, [](const Result<void>&) {});
  }
  const auto streams = [&rig] {
    const auto status = rig.status();
    return std::count_if(status.sessions.begin(), status.sessions.end(),
                         [](const auto& session) { return session.purpose == "stream"; });
  };
  for (int i = 0; i < 1000 && streams() < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(streams(), 3) << "of four sessions";
  write_file(served("dir/new"), "new");
  const auto directory = rig.find("dir");
  ASSERT_TRUE(directory.ok());
  const auto listed = rig.list(directory->id);
  EXPECT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_EQ(*rig.read_all("dir/new"), "new");
  EXPECT_EQ(*rig.read_all("dir/small"), "small");
  const auto node = rig.find(names.back());
  const auto head = rig.read(node->id, 0, 1);
  ASSERT_TRUE(head.ok()) << "one that is read goes before those that are brought along: "
                         << head.error().message();
}

TEST_F(LargeFileTest, OnASlowLinkTheLimitIsOneOfNoProgress) {
  std::vector<std::string> small;
  std::vector<std::string> large;
  for (int i = 0; i < 12; ++i) {
    small.push_back("small" + std::to_string(i));
    write_file(served(small.back()), support::random_bytes(kMiB, static_cast<uint64_t>(i)));
    large.push_back("large" + std::to_string(i));
    write_file(served(large.back()), support::random_bytes(3 * kMiB, static_cast<uint64_t>(i)));
  }
  auto slow = RsyncDaemon::serving(tree_.path());
  slow.arguments = {"--bwlimit=1024"};
  RsyncDaemon server(std::move(slow));
  SyncerOptions options;
  options.timeout = seconds(6);
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  EXPECT_EQ(hydrate_together(rig, small), std::vector<std::string>());
  EXPECT_EQ(hydrate_together(rig, large), std::vector<std::string>());
}

}  // namespace
}  // namespace rsyncfs
