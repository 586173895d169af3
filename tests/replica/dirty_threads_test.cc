// SPDX-License-Identifier: GPL-3.0-or-later
// Several threads write, read, push and sync the same files at once.
#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "sync/replica/pending.h"
#include "tests/replica/dirty_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kStripe = 50'000;
constexpr size_t kFiles = 3;
constexpr size_t kWriters = 3;
constexpr int kWrites = 250;

constexpr int kPushes = 4;  // there are while somebody writes
constexpr int kMostWrites = 100 * kWrites;

class DirtyThreads : public DirtyTest {
 protected:
  // Each writer has a stripe of each file; what it read back there is what it wrote.
  void write_stripes(size_t writer, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::array<Bytes, kFiles> mine;
    for (size_t i = 0; i < kFiles; ++i) {
      const auto begin = bases_[i].begin() + static_cast<int64_t>(writer * kStripe);
      mine[i].assign(begin, begin + kStripe);
    }
    for (int i = 0; i < kWrites || (pushes_ < kPushes && i < kMostWrites); ++i) {
      const size_t file = random() % kFiles;
      const uint64_t at = random() % kStripe;
      const Bytes data = known_bytes(random(), 1 + random() % (kStripe - at));
      must(local().write(files_[file], writer * kStripe + at, data));
      model_write(mine[file], at, data);
      const ReadOut out = read_file(*store_, files_[file], writer * kStripe, kStripe);
      ASSERT_TRUE(out.missing.empty());
      ASSERT_TRUE(same_bytes(out.bytes, mine[file]));
    }
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < kFiles; ++i) model_write(bases_[i], writer * kStripe, mine[i]);
  }
  void push_until_done(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (!done_) {
      const NodeId file = files_[random() % kFiles];
      auto snapshot = store_->pending().snapshot(file);
      if (random() % 4 == 0) must(local().sync(file));
      if (!snapshot || random() % 4 == 0) continue;
      Bytes once((*snapshot)->node().attr.size);
      must((*snapshot)->read(0, once));
      Bytes again(once.size());
      must((*snapshot)->read(0, again));
      ASSERT_TRUE(once == again);
      BaseNode now;
      now.node = file;
      now.present = true;
      now.attr = (*snapshot)->node().attr;
      must(store_->pending().pushed(*snapshot, now, "test", "digest", {}));
      ++pushes_;
    }
  }

  std::vector<NodeId> files_;
  std::mutex mutex_;
  std::array<Bytes, kFiles> bases_;
  std::atomic<bool> done_ = false;
  std::atomic<int> pushes_ = 0;
};

TEST_F(DirtyThreads, DoNotDisturbEachOther) {
  std::mt19937_64 random(support::test_seed());
  for (size_t i = 0; i < kFiles; ++i) {
    // One is large enough to be merged into.
    const uint64_t size = i == 0 ? 3'000'000 : kWriters * kStripe;
    bases_[i] = known_bytes(i, size);
    files_.push_back(add_cached(bases_[i]));
  }
  std::vector<std::thread> writers;
  for (size_t writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([this, writer, seed = random()] { write_stripes(writer, seed); });
  }
  std::thread pusher([this, seed = random()] { push_until_done(seed); });
  for (std::thread& writer : writers) writer.join();
  done_ = true;
  pusher.join();
  if (HasFatalFailure()) return;
  EXPECT_GE(pushes_, kPushes);
  for (size_t i = 0; i < kFiles; ++i) EXPECT_TRUE(same_bytes(whole_file(*store_, files_[i]), bases_[i]));
  reopen();
  for (size_t i = 0; i < kFiles; ++i) EXPECT_TRUE(same_bytes(whole_file(*store_, files_[i]), bases_[i]));
}

}  // namespace
}  // namespace rsyncfs
