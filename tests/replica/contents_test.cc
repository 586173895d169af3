// SPDX-License-Identifier: GPL-3.0-or-later
// Contents: written, found again, held, dropped; and the files that they lie in.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/slabs.h"
#include "tests/replica/replica_rig.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kLarge = 1'000'003;

// Files in a part of the state directory, and the disk space that they take.
struct Usage {
  size_t files = 0;
  uint64_t allocated = 0;
};
Usage usage(const std::string& directory) {
  Usage out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    struct stat status {};
    if (!entry.is_regular_file() || stat(entry.path().c_str(), &status) != 0) continue;
    ++out.files;
    out.allocated += static_cast<uint64_t>(status.st_blocks) * 512;
  }
  return out;
}

// The housekeeper removes in its own time.
bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class Contents : public testing::Test {
 protected:
  void TearDown() override {
    if (store_) must(store_->check());
  }
  NodeId add_file(uint64_t size) {
    Listing listing;
    listing.file("f" + std::to_string(++files_), size);
    return only_node(apply(*store_, kRootNode, listing, false));
  }
  void reopen() {
    store_.reset();
    store_ = open_store(tmp_.path());
  }
  std::string slabs() const { return tmp_.path() + "/slabs"; }
  std::string blocks() const { return tmp_.path() + "/blocks"; }
  static std::vector<Replica::FinishedContent> finished(NodeId node, std::unique_ptr<ContentWriter> writer,
                                                        uint64_t size) {
    std::vector<Replica::FinishedContent> out(1);
    out[0].node = node;
    out[0].writer = std::move(writer);
    out[0].size = size;
    return out;
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  int files_ = 0;
};

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

TEST_F(Contents, ThatAreNotWholeAreNotFinished) {
  for (const uint64_t size : {uint64_t{100}, kLarge}) {
    const NodeId node = add_file(size);
    auto writer = must(store_->create_content(node, size));
    must(writer->write(0, known_bytes(1, 10)));
    must(writer->write(20, known_bytes(1, size - 20)));
    std::vector<std::byte> out(20);
    EXPECT_EQ(writer->read(0, out).error().code(), Errc::kUsage);
    EXPECT_EQ(store_->finish_contents(finished(node, std::move(writer), size)).error().code(), Errc::kUsage);
    EXPECT_EQ(must(store_->content(node)), nullptr);
    writer = must(store_->create_content(node, size));
    must(writer->write(0, known_bytes(1, size)));
    EXPECT_EQ(store_->finish_contents(finished(node, std::move(writer), size - 1)).error().code(),
              Errc::kUsage);
  }
  EXPECT_EQ(usage(blocks()).files, 0U);
}

TEST_F(Contents, ArriveInAnyOrderAndTwice) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
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

TEST_F(Contents, ThatArePartialSurviveAndGoOn) {
  const auto bytes = known_bytes(8, kLarge);
  const NodeId node = add_file(kLarge);
  {
    auto writer = must(store_->create_content(node, kLarge));
    must(writer->write(100, std::span(bytes).subspan(100, 200000)));
    must(writer->commit_partial());
    // Written, but never told of.
    must(writer->write(500000, std::vector<std::byte>(100000, std::byte{0xee})));
  }
  reopen();
  const auto partial = must(store_->content(node));
  ASSERT_NE(partial, nullptr);
  EXPECT_FALSE(partial->complete());
  EXPECT_EQ(partial->size(), kLarge);
  EXPECT_EQ(partial->extents().ranges(), (std::vector<ExtentSet::Range>{{100, 200100}}));
  EXPECT_FALSE(partial->view(0, 200).has_value());
  EXPECT_FALSE(partial->view(200000, 101).has_value());
  const auto view = partial->view(100, 200000);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(std::equal(view->begin(), view->end(), bytes.begin() + 100));
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 200000U);
  EXPECT_EQ(must(store_->statistics()).partial_files, 1U);

  // A fresh writer with less does not take its place.
  auto fresh = must(store_->create_content(node, kLarge));
  EXPECT_TRUE(fresh->extents().ranges().empty());
  must(fresh->write(0, std::span(bytes).subspan(0, 1000)));
  must(fresh->commit_partial());
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 200000U);
  fresh.reset();

  auto writer = must(store_->resume_content(node, kLarge));
  EXPECT_EQ(writer->extents(), partial->extents());
  std::vector<std::byte> back(200000);
  must(writer->read(100, back));
  EXPECT_TRUE(std::equal(back.begin(), back.end(), bytes.begin() + 100));
  // One file has one writer.
  EXPECT_TRUE(must(store_->resume_content(node, kLarge))->extents().ranges().empty());
  must(writer->write(0, std::span(bytes).subspan(0, 100)));
  must(writer->write(200100, std::span(bytes).subspan(200100)));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
  // Who held the old one still sees what it had.
  EXPECT_EQ(partial->extents().bytes(), 200000U);
  EXPECT_EQ(must(store_->statistics()).partial_files, 0U);
  EXPECT_EQ(usage(blocks()).files, 1U);
}

TEST_F(Contents, GrowWithEveryCommit) {
  const auto bytes = known_bytes(8, kLarge);
  const NodeId node = add_file(kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->commit_partial());
  EXPECT_EQ(must(store_->content(node)), nullptr);
  for (uint64_t at = 0; at < kLarge; at += 100000) {
    const uint64_t end = std::min(at + 100000, kLarge);
    must(writer->write(at, std::span(bytes).subspan(at, end - at)));
    must(writer->commit_partial());
    const auto content = must(store_->content(node));
    ASSERT_NE(content, nullptr);
    EXPECT_TRUE(content->view(0, end).has_value());
    if (end < kLarge) {
      EXPECT_FALSE(content->view(0, end + 1).has_value());
    }
  }
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
}

TEST_F(Contents, TakeBackWhatWasWrong) {
  const auto bytes = known_bytes(8, kLarge);
  const NodeId node = add_file(kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->write(0, std::vector<std::byte>(300000, std::byte{0xee})));
  must(writer->commit_partial());
  must(writer->discard(0, 300000));
  must(writer->commit_partial());
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 0U);
  EXPECT_FALSE(must(store_->content(node))->view(0, 1).has_value());
  must(writer->write(0, bytes));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);

  const NodeId small = add_file(100);
  writer = must(store_->create_content(small, 100));
  must(writer->write(0, known_bytes(1, 100)));
  must(writer->discard(10, 20));
  EXPECT_FALSE(writer->extents().covers(0, 100));
  EXPECT_FALSE(store_->finish_contents(finished(small, std::move(writer), 100)).ok());
}

TEST_F(Contents, OfAnotherVersionAreNotResumed) {
  const NodeId node = add_file(kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->write(0, known_bytes(1, 100000)));
  must(writer->commit_partial());
  writer.reset();
  EXPECT_TRUE(must(store_->resume_content(node, kLarge + 1))->extents().ranges().empty());
  EXPECT_EQ(must(store_->resume_content(node, kLarge))->extents().bytes(), 100000U);
  EXPECT_EQ(store_->resume_content(999, 5).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->create_content(999, 5).error().code(), Errc::kNotFound);
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

TEST_F(Contents, DroppedWhileBeingWrittenAreStoredAllTheSame) {
  const NodeId node = add_file(kLarge);
  const auto bytes = known_bytes(1, kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->write(0, std::span(bytes).subspan(0, 500000)));
  must(writer->commit_partial());
  must(store_->drop_content(node));
  must(writer->write(500000, std::span(bytes).subspan(500000)));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
  // And one that is dropped and then given up leaves nothing.
  const NodeId other = add_file(kLarge);
  writer = must(store_->create_content(other, kLarge));
  must(writer->write(0, known_bytes(1, 500000)));
  must(writer->commit_partial());
  must(store_->drop_content(other));
  writer.reset();
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 1; }));
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

TEST_F(Contents, UnfinishedFilesOfAKilledProcessGo) {
  const NodeId node = add_file(kLarge);
  store_.reset();
  const pid_t child = fork();
  if (child == 0) {
    auto mine = open_store(tmp_.path());
    auto writer = must(mine->create_content(node, kLarge));
    must(writer->write(0, known_bytes(1, kLarge)));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(usage(blocks()).files, 1U);
  store_ = open_store(tmp_.path());
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 0; }));
  EXPECT_EQ(must(store_->content(node)), nullptr);
}

}  // namespace
}  // namespace rsyncfs
