// SPDX-License-Identifier: GPL-3.0-or-later
// The limits of the cache are kept while files are read, and what goes is what nobody misses.
#include <iterator>
#include <map>
#include <random>
#include <span>

#include "tests/engine/cache_rig.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kLimit = 24 * kMiB;
constexpr uint64_t kAtMost = kLimit + kLimit / 20;

class CacheBudgetTest : public CacheRig {
 protected:
  // Files of all kinds, several times the limit together.
  std::vector<std::string> serve_many() {
    std::vector<std::string> paths;
    const auto add = [&](const std::string& path, uint64_t bytes) {
      serve(path, bytes);
      paths.push_back(path);
    };
    for (int i = 0; i < 400; ++i) add("small/" + std::to_string(i), 3'000 + static_cast<uint64_t>(i) * 100);
    for (int i = 0; i < 60; ++i) add("middle/" + std::to_string(i), 600'000);
    for (uint64_t i = 0; i < 6; ++i) add("large/" + std::to_string(i), (3 + i) * kMiB);
    return paths;
  }
};

TEST_F(CacheBudgetTest, IsKeptWhileSeveralTimesAsMuchIsRead) {
  std::vector<std::string> paths = serve_many();
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", limited(kLimit));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  DiskWatch watch(store_ / "s");
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> readers;
    for (size_t reader = 0; reader < 3; ++reader) {
      readers.emplace_back([&, reader] {
        for (size_t i = reader; i < paths.size(); i += 3) read_through(rig, paths[i]);
      });
    }
    for (auto& reader : readers) reader.join();
    std::shuffle(paths.begin(), paths.end(), std::mt19937(7));
  }
  const CacheStatus status = rig.status().cache;
  watch.stop();
  EXPECT_GT(watch.looks(), 50U);
  EXPECT_LE(watch.most_allocated(), kAtMost);
  EXPECT_GT(allocated(store_ / "s"), kLimit / 2) << "what there is room for is kept";
  EXPECT_EQ(status.limit_bytes, kLimit);
  EXPECT_GT(status.evicted_files, 100U);
  EXPECT_GT(status.evicted_bytes, kLimit);
  const auto checked = rig.replica().check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
}

TEST_F(CacheBudgetTest, AFileLargerThanTheCacheIsReadThrough) {
  serve("big", 3 * kLimit);
  const std::string contents = support::read_file(served("big"));
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", limited(kLimit));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  DiskWatch watch(store_ / "s");
  read_through(rig, "big");
  const auto node = rig.find("big");
  ASSERT_TRUE(node.ok());
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937_64 random(reader);
      for (int i = 0; i < 10; ++i) {
        const uint64_t offset = random() % contents.size();
        const auto bytes = rig.read(node->id, offset, 100'000);
        ASSERT_TRUE(bytes.ok()) << bytes.error().message();
        ASSERT_TRUE(*bytes == contents.substr(offset, 100'000)) << offset;
      }
    });
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(rig.hydrate(node->id).error().os_errno(), ENOSPC);
  watch.stop();
  EXPECT_LE(watch.most_allocated(), kAtMost);
}

TEST_F(CacheBudgetTest, WhatIsUsedAllTheTimeStays) {
  serve("hot", 100'000);
  serve("warm", 2 * kMiB);
  const std::vector<std::string> paths = serve_many();
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", limited(kLimit));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  for (const auto& path : {"hot", "warm"}) {
    read_through(rig, path);
    ASSERT_TRUE(support::wait_until([&] { return complete(rig, path); }, std::chrono::seconds(20)));
  }
  for (const auto& path : paths) {
    read_through(rig, path);
    read_through(rig, "hot");
    read_through(rig, "warm");
  }
  EXPECT_GT(rig.status().cache.evicted_bytes, kLimit);
  EXPECT_EQ(times_sent(server, "hot"), 1U);
  EXPECT_EQ(times_sent(server, "warm"), 1U);
}

TEST_F(CacheBudgetTest, WhatIsPinnedStaysAndTheRestIsReadThrough) {
  const std::vector<std::string> paths = serve_many();
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", limited(kLimit));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  ASSERT_TRUE(rig.replica().cache().pin(kRootNode).ok());
  DiskWatch watch(store_ / "s");
  std::vector<std::string> here;
  for (const auto& path : paths) {
    const auto node = rig.find(path);
    ASSERT_TRUE(node.ok());
    const auto hydrated = rig.hydrate(node->id);
    if (hydrated) here.push_back(path);
    if (!hydrated) {
      EXPECT_EQ(hydrated.error().os_errno(), ENOSPC) << hydrated.error().message();
    }
  }
  EXPECT_GT(here.size(), 100U);
  EXPECT_LT(here.size(), paths.size());
  for (const auto& path : paths) read_through(rig, path);
  for (const auto& path : here) EXPECT_TRUE(complete(rig, path)) << path;
  EXPECT_EQ(rig.status().cache.evicted_files, 0U);
  watch.stop();
  EXPECT_LE(watch.most_allocated(), kAtMost);
}

TEST_F(CacheBudgetTest, LocalChangesTakeRoomAndAreNotLost) {
  const std::vector<std::string> paths = serve_many();
  RsyncDaemon server(writable());
  SyncerOptions options = limited(kLimit);
  options.writeback_delay = std::chrono::minutes(10);
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  for (const auto& path : paths) read_through(rig, path);
  const std::string written = support::random_bytes(12 * kMiB, 99);
  ASSERT_TRUE(rig.write("written", written).ok());
  // The clean ones make room for it, though nothing is fetched.
  EXPECT_TRUE(
      support::wait_until([&] { return allocated(store_ / "s") <= kLimit; }, std::chrono::seconds(20)));
  for (const auto& path : paths) read_through(rig, path);
  EXPECT_LE(allocated(store_ / "s"), kAtMost);
  const auto flushed = rig.flush();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
  EXPECT_TRUE(support::read_file(served("written")) == written);
  const auto checked = rig.replica().check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
}

// All room is taken by what waits to be sent, and that waits for bytes of the source.
TEST_F(CacheBudgetTest, WhatAPushNeedsIsFetchedWhateverTheLimit) {
  const std::vector<std::string> paths = serve_many();
  serve("one-large", 2 * kLimit);
  RsyncDaemon server(writable());
  SyncerOptions options = limited(kLimit);
  options.writeback_delay = std::chrono::minutes(10);
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  std::string edit = "an edit in the middle";
  const auto change = [&](const std::string& path) {
    const auto node = rig.find(path);
    ASSERT_TRUE(node.ok());
    ASSERT_TRUE(rig.replica().local().write(node->id, 1000, std::as_bytes(std::span(edit))).ok());
  };
  for (const auto& path : paths) change(path);
  change("one-large");
  ASSERT_TRUE(rig.write("fills", support::random_bytes(2 * kLimit, 99)).ok());
  const auto flushed = rig.flush();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
  for (const auto& path : paths) EXPECT_EQ(support::read_file(served(path)).substr(1000, edit.size()), edit);
  EXPECT_EQ(support::read_file(served("one-large")).substr(1000, edit.size()), edit);
  EXPECT_TRUE(
      support::wait_until([&] { return allocated(store_ / "s") <= kAtMost; }, std::chrono::seconds(20)));
}

// What a user of the mount reads: local changes are made of whole files here.
Result<std::string> read_as_user(EngineRig& rig, const std::string& path) {
  const auto node = rig.find(path);
  if (!node) return node.error();
  const auto dirty = rig.replica().local().dirty(node->id);
  if (!dirty) return rig.read_all(path);
  std::string out(dirty->size(), 0);
  std::vector<ExtentSet::Range> missing;
  const auto got = dirty->read(0, std::as_writable_bytes(std::span(out)), missing);
  if (!got) return got.error();
  if (!missing.empty()) return Error(Errc::kCorrupt, "bytes of a local change are missing");
  return out;
}

// Next to nothing has room: what is let go is never what is needed.
TEST_F(CacheBudgetTest, ChangesMixWithEvictionsWithoutLoss) {
  constexpr int kSteps = 1'000;
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::map<std::string, std::string> model;
  for (int i = 0; i < 16; ++i) {
    const std::string path = "f" + std::to_string(i);
    serve(path, 20'000 + static_cast<uint64_t>(i) * 20'000);
    model[path] = support::read_file(served(path));
  }
  RsyncDaemon server(writable());
  SyncerOptions options = limited(600'000);
  options.writeback_delay = std::chrono::milliseconds(50);
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  for (int step = 0; step < kSteps; ++step) {
    auto chosen = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
    const std::string path = chosen->first;
    const unsigned what = random() % 10;
    if (what < 6) {
      const auto bytes = read_as_user(rig, path);
      ASSERT_TRUE(bytes.ok()) << step << " " << path << ": " << bytes.error().message();
      ASSERT_TRUE(*bytes == chosen->second) << step << " " << path;
    } else if (what < 8) {
      chosen->second = support::random_bytes(1'000 + random() % 200'000, random());
      ASSERT_TRUE(rig.write(path, chosen->second).ok()) << step;
    } else if (what < 9) {
      const std::string to = "g" + std::to_string(step);
      ASSERT_TRUE(rig.rename(path, to).ok()) << step;
      model[to] = std::move(chosen->second);
      model.erase(path);
    } else {
      ASSERT_TRUE(rig.replica().cache().free_contents({rig.find(path)->id}, {}).ok());
    }
  }
  const auto flushed = rig.flush();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
  for (const auto& [path, bytes] : model) {
    EXPECT_TRUE(support::read_file(served(path)) == bytes) << path;
    const auto shown = read_as_user(rig, path);
    EXPECT_TRUE(shown.ok() && *shown == bytes) << path;
  }
  EXPECT_GT(rig.status().cache.evicted_files, 0U);
  const auto checked = rig.replica().check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
}

TEST_F(CacheBudgetTest, TheDisksLastPartIsLeftFree) {
  constexpr uint64_t kFree = 24 * kMiB;
  const std::vector<std::string> paths = serve_many();
  const support::SmallDisk disk(store_.path(), "64m", 20'000);
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", limited(UINT64_MAX, kFree));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  DiskWatch watch(store_ / "s");
  for (const auto& path : paths) read_through(rig, path);
  EXPECT_GT(rig.status().cache.evicted_files, 10U);
  // Somebody else takes space: the cache gives way.
  disk.fill_blocks(store_ / "filler", (kFree - 8 * kMiB) / 4096);
  EXPECT_TRUE(
      support::wait_until([&] { return rig.status().cache.free_bytes >= kFree; }, std::chrono::seconds(20)));
  watch.stop();
  EXPECT_GE(watch.least_free(), kFree - 9 * kMiB);
  for (const auto& path : paths) read_through(rig, path);
}

}  // namespace
}  // namespace rsyncfs
