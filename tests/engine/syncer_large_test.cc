// SPDX-License-Identifier: GPL-3.0-or-later
// Large files: many readers at once, streams that share the sessions, versions that change meanwhile.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <shared_mutex>
#include <tuple>

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

// More files are read through at once than there may be streams: they take turns, and not at every read.
TEST_F(LargeFileTest, ReadersOfManyFilesTakeTurns) {
  constexpr int kFiles = 6;
  constexpr uint32_t kPiece = 128 * 1024;
  std::vector<std::string> contents;
  for (int i = 0; i < kFiles; ++i) {
    contents.push_back(support::random_bytes(16 * kMiB, static_cast<uint64_t>(100 + i)));
    write_file(served(std::to_string(i)), contents.back());
  }
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto before = rig.status().sessions_opened;
  std::vector<std::thread> readers;
  for (int i = 0; i < kFiles; ++i) {
    readers.emplace_back([&, i] {
      const auto node = rig.find(std::to_string(i));
      ASSERT_TRUE(node.ok());
      const std::string& expected = contents[static_cast<size_t>(i)];
      for (uint64_t offset = 0; offset < expected.size(); offset += kPiece) {
        const auto bytes = rig.read(node->id, offset, kPiece);
        ASSERT_TRUE(bytes.ok()) << i << " at " << offset << ": " << bytes.error().message();
        ASSERT_TRUE(*bytes == expected.substr(offset, kPiece)) << i << " at " << offset;
      }
    });
  }
  for (auto& reader : readers) reader.join();
  // Each read that found its stream taken away would cost a session.
  EXPECT_LT(rig.status().sessions_opened - before, static_cast<uint64_t>(kFiles) * (16 * kMiB / kPiece) / 8);
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

// What is asked for begins before the stream that brings its rest.
TEST_F(LargeFileTest, WhoReadsFromWhatIsHereIntoWhatIsNotWaitsForNothingElse) {
  constexpr uint64_t kBegin = 16 * kMiB;
  const std::string contents = support::random_bytes(32 * kMiB, 12);
  write_file(served("big"), contents);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  SyncerOptions options;
  options.timeout = seconds(6);
  {
    EngineRig rig(server.url(), store_ / "s", options);
    ASSERT_TRUE(rig.start().ok());
    const auto node = rig.find("big");
    ASSERT_TRUE(rig.read(node->id, kBegin, 4096).ok());
  }
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("big");
  const uint64_t here = rig.replica().content_state(node->id)->present_bytes;
  ASSERT_GE(here, 4096U);
  ASSERT_LT(here, 2 * kMiB);
  ASSERT_TRUE(rig.read(node->id, kBegin + here, 4096).ok());
  const auto bytes = rig.read(node->id, kBegin + here - 4096, 512 * 1024);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  EXPECT_TRUE(*bytes == contents.substr(kBegin + here - 4096, 512 * 1024));
}

TEST_F(LargeFileTest, NothingMoreComesOfWhatNobodyWantsAnyMore) {
  support::make_sparse_file(served("huge"), 64ULL << 30, "h", 0);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("huge");
  const RequestId all = rig.syncer().hydrate(node->id, [](const Result<void>&) {});
  const auto fetched = [&rig] { return rig.status().bytes_fetched; };
  for (int i = 0; i < 1000 && fetched() < 8 * kMiB; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  rig.syncer().cancel(all);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const uint64_t then = fetched();
  std::this_thread::sleep_for(seconds(1));
  EXPECT_EQ(fetched(), then);
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
  options.max_sessions = 4;
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

// Replaces the file by a version that says its number in every eight bytes.
void put_version(const std::string& path, uint64_t version, uint64_t bytes) {
  std::string contents(bytes, '\0');
  for (size_t at = 0; at + sizeof version <= contents.size(); at += sizeof version)
    std::memcpy(contents.data() + at, &version, sizeof version);
  write_file(path + ".new", contents);
  support::set_mtime(path + ".new", 1'000'000 + static_cast<int64_t>(version), 0);
  ASSERT_EQ(std::rename((path + ".new").c_str(), path.c_str()), 0);
}

uint64_t version_in(const std::string& bytes) {
  uint64_t version = 0;
  std::memcpy(&version, bytes.data(), sizeof version);
  for (size_t at = 0; at + sizeof version <= bytes.size(); at += sizeof version) {
    if (std::memcmp(bytes.data() + at, &version, sizeof version) != 0) return UINT64_MAX;
  }
  return version;
}

TEST_F(LargeFileTest, AFileOfWhichBytesWereSeenNeverChangesItsVersion) {
  put_version(served("big"), 1, 6 * kMiB);
  write_file(served("small"), "one");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto opened = rig.find("big");
  ASSERT_TRUE(opened.ok());
  const auto head = rig.read(opened->id, 5 * kMiB, 4096);
  ASSERT_TRUE(head.ok()) << head.error().message();
  ASSERT_EQ(version_in(*head), 1U);
  put_version(served("big"), 2, 6 * kMiB);
  ASSERT_TRUE(rig.list(kRootNode).ok());
  const auto now = rig.find("big");
  ASSERT_TRUE(now.ok());
  EXPECT_NE(now->id, opened->id) << "somebody has the other version open";
  for (const uint64_t offset : {0 * kMiB, 3 * kMiB, 5 * kMiB}) {
    const auto old = rig.read(opened->id, offset, 4096);
    if (old) {
      EXPECT_EQ(version_in(*old), 1U) << offset;
    }
    const auto fresh = rig.read(now->id, offset, 4096);
    ASSERT_TRUE(fresh.ok()) << fresh.error().message();
    EXPECT_EQ(version_in(*fresh), 2U) << offset;
  }
}

TEST_F(LargeFileTest, ANodeIsOneVersionUnderManyReadersAndChanges) {
  constexpr uint64_t kSize = 12 * kMiB;
  put_version(served("big"), 1, kSize);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::shared_mutex changing;  // a file that is replaced between list and open is for the digest to find
  std::mutex turn;             // so that the one who replaces it gets his turn
  std::mutex mutex;
  std::map<NodeId, uint64_t> versions;  // guarded by mutex
  std::atomic<bool> over{false};
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 4; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937_64 random(seed + reader);
      while (!over) {
        const auto node = rig.find("big");
        for (int i = 0; node && i < 5; ++i) {
          { const std::lock_guard wait(turn); }
          const std::shared_lock lock(changing);
          const uint64_t offset = random() % (kSize - 100'000) / 8 * 8;
          const auto bytes = rig.read(node->id, offset, 65'536);
          if (!bytes) {
            const Errc code = bytes.error().code();
            EXPECT_TRUE(code == Errc::kChanged || code == Errc::kVanished) << bytes.error().message();
            break;
          }
          const uint64_t version = version_in(*bytes);
          const std::lock_guard guard(mutex);
          const auto [known, fresh] = versions.emplace(node->id, version);
          EXPECT_EQ(known->second, version) << "node " << node->id << " at " << offset;
        }
      }
    });
  }
  for (uint64_t version = 2; version <= 8; ++version) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    {
      const std::lock_guard first(turn);
      const std::unique_lock lock(changing);
      put_version(served("big"), version, kSize);
    }
    EXPECT_TRUE(rig.list(kRootNode).ok());
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  over = true;
  for (auto& reader : readers) reader.join();
  EXPECT_FALSE(versions.empty());
}

TEST_F(LargeFileTest, AFileThatOutgrewItsKindIsFetchedAsWhatItIs) {
  support::make_dirs(served("a"));
  support::make_dirs(served("b"));
  write_file(served("a/f"), std::string(1000, 'o'));
  write_file(served("b/f"), std::string(1000, 'o'));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  write_file(served("a/f"), support::random_bytes(3 * kMiB, 1));
  write_file(served("b/f"), support::random_bytes(9 * kMiB, 2));
  for (const auto& [path, size, kind] : {std::tuple("a/f", 3 * kMiB, 1U), std::tuple("b/f", 9 * kMiB, 2U)}) {
    const auto bytes = rig.read_all(path);
    ASSERT_TRUE(bytes.ok()) << path << ": " << bytes.error().message();
    EXPECT_TRUE(*bytes == support::random_bytes(size, kind)) << path;
  }
}

}  // namespace
}  // namespace rsyncfs
