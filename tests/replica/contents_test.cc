// SPDX-License-Identifier: GPL-3.0-or-later
// Contents: written, found again, held, dropped; and the files that they lie in.
#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/content_cache.h"
#include "sync/replica/slabs.h"
#include "tests/replica/contents_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

TEST_F(Contents, OfEverySizeSurvive) {
  std::vector<std::pair<NodeId, uint64_t>> files;
  for (const uint64_t size : {0UL, 1UL, 63UL, 64UL, 65UL, 4096UL, 65535UL, 65536UL, 65537UL, 300000UL}) {
    const NodeId node = add_file(size);
    EXPECT_EQ(must(store_->content(node)), nullptr);
    EXPECT_FALSE(must(store_->content_state(node)).complete);
    store_content(*store_, node, known_bytes(size, size));
    files.emplace_back(node, size);
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& [node, size] : files) {
      EXPECT_EQ(stored_content(*store_, node), known_bytes(size, size)) << size;
      const ContentState state = must(store_->content_state(node));
      EXPECT_TRUE(state.complete);
      EXPECT_EQ(state.present_bytes, size);
    }
    reopen();
  }
  EXPECT_EQ(must(store_->statistics()).cached_files, files.size());
}

TEST_F(Contents, AreFinishedTogether) {
  std::vector<Replica::FinishedContent> batch;
  std::vector<NodeId> nodes;
  for (uint64_t i = 0; i < 256; ++i) {
    const uint64_t size = i * 331 % 70000;
    nodes.push_back(add_file(size));
    auto writer = must(store_->create_content(nodes.back(), size));
    must(writer->write(0, known_bytes(i, size)));
    batch.push_back({nodes.back(), std::move(writer), size, "xxh128", "digest", {}});
  }
  // Nobody waits for one that is gone.
  auto writer = must(store_->create_content(nodes[0], 5));
  must(writer->write(0, known_bytes(1, 5)));
  batch.push_back({999999, std::move(writer), 5, "", "", {}});
  must(store_->finish_contents(std::move(batch)));
  for (uint64_t i = 0; i < 256; ++i)
    EXPECT_EQ(stored_content(*store_, nodes[i]), known_bytes(i, i * 331 % 70000));
}

TEST_F(Contents, AreReadInPieces) {
  const NodeId node = add_file(kLarge);
  store_content(*store_, node, known_bytes(5, kLarge));
  const auto bytes = known_bytes(5, kLarge);
  const auto content = must(store_->content(node));
  const auto piece = content->view(4000, 100);
  ASSERT_TRUE(piece.has_value());
  EXPECT_TRUE(std::equal(piece->begin(), piece->end(), bytes.begin() + 4000));
  EXPECT_EQ(content->view(kLarge - 3, 100)->size(), 3U);
  EXPECT_EQ(content->view(kLarge, 1)->size(), 0U);
  EXPECT_EQ(content->view(~0ULL, ~0ULL)->size(), 0U);
  EXPECT_EQ(content->view(1, ~0ULL)->size(), kLarge - 1);
  EXPECT_EQ(must(store_->content(node)), content);
}

TEST_F(Contents, MayTurnOutOfAnotherSize) {
  const NodeId grown = add_file(10);
  const auto bytes = known_bytes(1, 200000);
  auto writer = must(store_->create_content(grown, 10));
  must(writer->write(0, std::span(bytes).subspan(0, 60000)));
  must(writer->write(60000, std::span(bytes).subspan(60000)));
  std::vector<std::byte> back(1000);
  must(writer->read(59500, back));
  EXPECT_TRUE(std::equal(back.begin(), back.end(), bytes.begin() + 59500));
  must(store_->finish_contents(finished(grown, std::move(writer), 200000)));
  EXPECT_EQ(stored_content(*store_, grown), bytes);
  EXPECT_EQ(must(store_->node(grown)).attr.size, 200000U);

  const NodeId shrunk = add_file(kLarge);
  writer = must(store_->create_content(shrunk, kLarge));
  must(writer->write(0, known_bytes(2, 70000)));
  must(writer->commit_partial());
  must(store_->finish_contents(finished(shrunk, std::move(writer), 70000)));
  EXPECT_EQ(stored_content(*store_, shrunk), known_bytes(2, 70000));
  EXPECT_EQ(must(store_->node(shrunk)).attr.size, 70000U);
}

TEST_F(Contents, ArriveInAnyOrderAndTwice) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (const uint64_t size : {uint64_t{50000}, uint64_t{400000}}) {
    const NodeId node = add_file(size);
    const auto right = known_bytes(seed, size);
    auto writer = must(store_->create_content(node, size));
    // First something else, then pieces of the right bytes at random, then all that is missing.
    const auto wrong = known_bytes(seed + 1, size);
    for (int i = 0; i < 20; ++i) {
      const uint64_t at = random() % size;
      must(writer->write(at, std::span(wrong).subspan(at, std::min<uint64_t>(size - at, random() % 30000))));
    }
    ExtentSet done;
    for (int i = 0; i < 40; ++i) {
      const uint64_t at = random() % size;
      const uint64_t length = std::min<uint64_t>(size - at, random() % 30000);
      must(writer->write(at, std::span(right).subspan(at, length)));
      done.add(at, at + length);
    }
    for (const auto& gap : done.missing(0, size)) {
      must(writer->write(gap.begin, std::span(right).subspan(gap.begin, gap.end - gap.begin)));
    }
    std::vector<std::byte> all(size);
    must(writer->read(0, all));
    EXPECT_EQ(all, right);
    must(store_->finish_contents(finished(node, std::move(writer), size)));
    EXPECT_EQ(stored_content(*store_, node), right);
  }
}

TEST_F(Contents, KeepTheirHoles) {
  constexpr uint64_t kSize = 16 << 20;
  const NodeId node = add_file(kSize);
  std::vector<std::byte> bytes(kSize, std::byte{0});
  std::fill_n(bytes.begin() + (4 << 20) + 5, 10000, std::byte{7});
  auto writer = must(store_->create_content(node, kSize));
  // In pieces whose ends are no block boundaries.
  for (uint64_t at = 0; at < kSize; at += 32771) {
    must(writer->write(at, std::span(bytes).subspan(at, std::min<uint64_t>(32771, kSize - at))));
  }
  must(store_->finish_contents(finished(node, std::move(writer), kSize)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
  EXPECT_LE(usage(blocks()).allocated, 64U << 10);
  const auto content = must(store_->content(node));
  const uint64_t data = content->seek_data(0);
  EXPECT_GT(data, 3U << 20);
  EXPECT_LE(data, (4U << 20) + 5);
  EXPECT_EQ(content->seek_data(data), data);
  EXPECT_EQ(content->seek_hole(0), 0U);
  EXPECT_GE(content->seek_hole(data), (4U << 20) + 10005);
  EXPECT_LT(content->seek_hole(data), 5U << 20);
  EXPECT_EQ(content->seek_data(8 << 20), kSize);
  EXPECT_EQ(content->seek_hole(kSize), kSize);
  EXPECT_EQ(content->seek_data(kSize + 5), kSize);
}

TEST_F(Contents, LeaveNoFileBehind) {
  const NodeId node = add_file(kLarge);
  { auto writer = must(store_->create_content(node, kLarge)); }
  EXPECT_EQ(usage(blocks()).files, 0U);
  store_content(*store_, node, known_bytes(1, kLarge));
  store_content(*store_, node, known_bytes(2, kLarge));
  EXPECT_EQ(stored_content(*store_, node), known_bytes(2, kLarge));
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 1; }));
  must(store_->drop_content(node));
  must(store_->drop_content(node));
  EXPECT_EQ(must(store_->content(node)), nullptr);
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 0; }));
  const ReplicaStatistics statistics = must(store_->statistics());
  EXPECT_EQ(statistics.cached_bytes, 0U);
  EXPECT_EQ(statistics.cached_files, 0U);
}

// They lie in blocks that they share.
TEST_F(Contents, GiveTheirBlocksBackInWhateverOrderTheyGo) {
  constexpr size_t kFiles = 400;
  constexpr uint64_t kSize = 3000;
  std::vector<NodeId> nodes;
  for (size_t i = 0; i < kFiles; ++i) {
    nodes.push_back(add_file(kSize));
    store_content(*store_, nodes.back(), known_bytes(i, kSize));
  }
  const uint64_t before = usage(slabs()).allocated;
  // Neither neighbours nor all at once.
  constexpr size_t kStep = 7;
  for (size_t first = 0; first < kStep; ++first) {
    for (size_t i = first; i < kFiles; i += kStep) {
      if (i != kFiles / 2) must(store_->drop_content(nodes[i]));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  constexpr uint64_t kShared = 16384;  // by the one that stays, and at the ends
  EXPECT_TRUE(eventually([&] { return usage(slabs()).allocated + kFiles * kSize < before + kShared; }));
  EXPECT_EQ(stored_content(*store_, nodes[kFiles / 2]), known_bytes(kFiles / 2, kSize));
}

TEST_F(Contents, StayWithWhoHoldsThem) {
  const NodeId small = add_file(50000);
  const NodeId large = add_file(kLarge);
  store_content(*store_, small, known_bytes(1, 50000));
  store_content(*store_, large, known_bytes(2, kLarge));
  auto held_small = must(store_->content(small));
  auto held_large = must(store_->content(large));
  must(store_->drop_content(small));
  must(store_->drop_content(large));
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 0; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto a = held_small->view(0, 50000);
  const auto b = held_large->view(0, kLarge);
  EXPECT_EQ(std::vector(a->begin(), a->end()), known_bytes(1, 50000));
  EXPECT_EQ(std::vector(b->begin(), b->end()), known_bytes(2, kLarge));
  EXPECT_EQ(held_large->seek_data(5), 5U);
  // With the last holder the space is given back.
  const uint64_t before = usage(slabs()).allocated;
  held_small.reset();
  EXPECT_TRUE(eventually([&] { return usage(slabs()).allocated + 40960 <= before; }));
}

TEST_F(Contents, DeadNeighboursAreFreedTogether) {
  std::vector<NodeId> nodes;
  std::vector<Replica::FinishedContent> batch;
  for (int i = 0; i < 1000; ++i) {
    nodes.push_back(add_file(1000));
    auto writer = must(store_->create_content(nodes.back(), 1000));
    must(writer->write(0, std::vector<std::byte>(1000, std::byte{1})));
    batch.push_back({nodes.back(), std::move(writer), 1000, "", "", {}});
  }
  must(store_->finish_contents(std::move(batch)));
  const uint64_t before = usage(slabs()).allocated;
  Listing listing;
  apply(*store_, kRootNode, listing);
  must(store_->forget_orphans(nodes));
  // Each is smaller than a block: alone, none would free anything.
  EXPECT_TRUE(eventually([&] { return usage(slabs()).allocated + 1000000 <= before; }));
}

TEST_F(Contents, FillSlabAfterSlab) {
  constexpr uint64_t kSize = kSlabMaxFileBytes;
  constexpr size_t kFiles = kSlabBytes / kSize + 10;
  std::vector<NodeId> nodes;
  std::vector<Replica::FinishedContent> batch;
  Listing listing;
  for (size_t i = 0; i < kFiles; ++i) listing.file(std::to_string(i), kSize);
  for (const NodeId node : apply(*store_, kRootNode, listing).nodes) {
    nodes.push_back(node);
    auto writer = must(store_->create_content(node, kSize));
    must(writer->write(0, known_bytes(node, kSize)));
    batch.push_back({node, std::move(writer), kSize, "", "", {}});
  }
  must(store_->finish_contents(std::move(batch)));
  EXPECT_EQ(usage(slabs()).files, 2U);
  reopen();
  for (const NodeId node : nodes) ASSERT_EQ(stored_content(*store_, node), known_bytes(node, kSize));
  for (size_t i = 0; i < nodes.size() - 1; ++i) must(store_->drop_content(nodes[i]));
  EXPECT_TRUE(eventually([&] { return usage(slabs()).files == 1; }));
  EXPECT_EQ(stored_content(*store_, nodes.back()), known_bytes(nodes.back(), kSize));
  // The one that is being filled stays, and goes on where it ended.
  must(store_->drop_content(nodes.back()));
  reopen();
  store_content(*store_, nodes[0], known_bytes(1, 100));
  EXPECT_EQ(usage(slabs()).files, 1U);
  EXPECT_EQ(stored_content(*store_, nodes[0]), known_bytes(1, 100));
}

TEST_F(Contents, AreAppendedWhereTheLastRunEnded) {
  std::vector<NodeId> nodes;
  for (int run = 0; run < 3; ++run) {
    for (int i = 0; i < 3; ++i) {
      nodes.push_back(add_file(5000));
      store_content(*store_, nodes.back(), known_bytes(nodes.back(), 5000));
    }
    reopen();
  }
  for (const NodeId node : nodes) EXPECT_EQ(stored_content(*store_, node), known_bytes(node, 5000));
  EXPECT_EQ(usage(slabs()).files, 1U);
}

// What was looked up before something was dropped may be bytes that are about to be freed.
TEST(ContentCacheTest, RefusesWhatMayBeStale) {
  class Nothing final : public Content {
    uint64_t seek_data(uint64_t) const override { return 0; }
    uint64_t seek_hole(uint64_t) const override { return 0; }
  };
  ContentCache cache(2, 1'000);
  const uint64_t before = cache.generation();
  EXPECT_TRUE(cache.insert(1, std::make_shared<Nothing>(), before));
  cache.drop({7});
  EXPECT_FALSE(cache.insert(2, std::make_shared<Nothing>(), before));
  EXPECT_EQ(cache.find(2), nullptr);
  EXPECT_NE(cache.find(1), nullptr);
  cache.drop({1});
  EXPECT_EQ(cache.find(1), nullptr);
  for (NodeId node = 1; node <= 3; ++node) {
    EXPECT_TRUE(cache.insert(node, std::make_shared<Nothing>(), cache.generation()));
    EXPECT_NE(cache.find(1), nullptr);
  }
  EXPECT_EQ(cache.find(2), nullptr) << "the one that was used longest ago goes";
}

TEST(ContentCacheTest, HoldsNoMoreBytesThanItMay) {
  class Sized final : public Content {
   public:
    explicit Sized(uint64_t size) { size_ = size; }
    uint64_t seek_data(uint64_t) const override { return 0; }
    uint64_t seek_hole(uint64_t) const override { return 0; }
  };
  ContentCache cache(10, 1'000);
  const auto put = [&](NodeId node, uint64_t size) {
    EXPECT_TRUE(cache.insert(node, std::make_shared<Sized>(size), cache.generation()));
  };
  for (NodeId node = 1; node <= 3; ++node) put(node, 300);
  EXPECT_NE(cache.find(1), nullptr);
  put(4, 300);
  EXPECT_EQ(cache.find(2), nullptr) << "the one that was used longest ago goes";
  EXPECT_NE(cache.find(1), nullptr);
  put(1, 900);
  EXPECT_EQ(cache.find(3), nullptr);
  put(5, 5'000);
  EXPECT_NE(cache.find(5), nullptr) << "one is always held";
  EXPECT_EQ(cache.find(1), nullptr);
  cache.drop({5});
  put(6, 1'000);
  put(7, 0);
  EXPECT_NE(cache.find(6), nullptr);
}

TEST_F(Contents, BeyondTheLimitAreMappedAnew) {
  store_.reset();
  ReplicaOptions options;
  options.directory = tmp_.path();
  options.source = "rsync://test/module";
  options.max_maps = 4;
  store_ = must(Replica::open(options));
  std::vector<NodeId> nodes;
  for (int i = 0; i < 20; ++i) {
    nodes.push_back(add_file(100000));
    store_content(*store_, nodes.back(), known_bytes(nodes.back(), 100000));
  }
  const std::weak_ptr<const Content> first = must(store_->content(nodes[0]));
  EXPECT_FALSE(first.expired());
  for (const NodeId node : nodes) EXPECT_EQ(stored_content(*store_, node), known_bytes(node, 100000));
  EXPECT_TRUE(first.expired());
  const auto held = must(store_->content(nodes[3]));
  for (const NodeId node : nodes) must(store_->content(node));
  EXPECT_EQ(held->view(0, 100000)->size(), 100000U);
}

}  // namespace
}  // namespace rsyncfs
