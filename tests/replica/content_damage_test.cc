// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes that the disk changed behind our back: nobody is given them, and what is sound stays.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/content_sums.h"
#include "sync/replica/database.h"
#include "sync/rsync/checksum.h"
#include "tests/replica/contents_rig.h"

namespace rsyncfs {
namespace {

// Before the store is opened.
class EachIo : public testing::WithParamInterface<IoChoice> {
 protected:
  EachIo() { use_io(works() ? GetParam() : IoChoice::kAuto); }
  EachIo(const EachIo&) = delete;
  EachIo& operator=(const EachIo&) = delete;
  ~EachIo() { use_io(IoChoice::kAuto); }
  static bool works() { return make_file_batch(GetParam()).ok(); }
};

class ContentDamage : public EachIo, public Contents {
 protected:
  void SetUp() override {
    if (!works()) GTEST_SKIP() << "no io_uring here";
  }
  // The only file of the directory gets another byte there.
  static void strike(const std::string& directory, uint64_t offset) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    ASSERT_EQ(files.size(), 1U);
    std::fstream file(files[0], std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file.good());
  }
  ContentCheck verify(NodeId node) {
    const auto verification = must(store_->verify_content(node));
    while (must(verification->step(100'000))) {
    }
    return verification->check();
  }
  bool shows(const Content& content, const std::vector<std::byte>& bytes, uint64_t begin, uint64_t end) {
    const auto view = content.view(begin, end - begin);
    return view && std::equal(view->begin(), view->end(), bytes.begin() + static_cast<int64_t>(begin),
                              bytes.begin() + static_cast<int64_t>(end));
  }
  void store_with_digest(NodeId node, const std::vector<std::byte>& bytes) {
    auto writer = must(store_->create_content(node, bytes.size()));
    must(writer->write(0, bytes));
    auto all = finished(node, std::move(writer), bytes.size());
    Digest digest(ChecksumKind::kXxh128);
    digest.update(bytes);
    const auto value = digest.finish();
    all[0].digest_name = checksum_name(ChecksumKind::kXxh128);
    for (const std::byte byte : value.span()) all[0].digest.push_back(static_cast<char>(byte));
    must(store_->finish_contents(std::move(all)));
  }
  void forget_sums() {
    store_.reset();
    {
      const auto db = must(Connection::open(tmp_.path() + "/store.db", Connection::Mode::kWrite, 1 << 16));
      must(db->execute("UPDATE contents SET sums=NULL"));
    }
    store_ = open_store(tmp_.path());
  }

  static constexpr uint64_t kBlock = kSumBlockBytes;
};

TEST_P(ContentDamage, OfABlockIsNotShownAndTheRestIs) {
  const auto bytes = known_bytes(1, kLarge);
  const NodeId node = add_file(kLarge);
  store_content(*store_, node, bytes);
  strike(blocks(), 3 * kBlock + 17);
  const auto content = must(store_->content(node));
  EXPECT_TRUE(shows(*content, bytes, 0, 3 * kBlock));
  EXPECT_TRUE(shows(*content, bytes, 4 * kBlock, kLarge));
  EXPECT_FALSE(content->view(3 * kBlock, 1)) << "though that byte is right, its block is not";
  EXPECT_FALSE(content->view(0, kLarge));
  EXPECT_EQ(content->missing(0, kLarge), (std::vector<ExtentSet::Range>{{3 * kBlock, 4 * kBlock}}));
  must(store_->settle_damage(node));
  const auto left = must(store_->content(node));
  EXPECT_FALSE(left->complete());
  EXPECT_EQ(left->extents().missing(0, kLarge), (std::vector<ExtentSet::Range>{{3 * kBlock, 4 * kBlock}}));
  EXPECT_TRUE(shows(*left, bytes, 4 * kBlock, kLarge));

  auto writer = must(store_->resume_content(node, kLarge));
  must(writer->write(3 * kBlock, std::span(bytes).subspan(3 * kBlock, kBlock)));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
  EXPECT_EQ(verify(node).damaged_bytes, 0U);
}

TEST_P(ContentDamage, SettlesByItself) {
  const auto bytes = known_bytes(1, kLarge);
  const NodeId node = add_file(kLarge);
  store_content(*store_, node, bytes);
  strike(blocks(), 5);
  EXPECT_FALSE(must(store_->content(node))->view(0, 1));
  EXPECT_TRUE(eventually([&] { return !must(store_->content_state(node)).complete; }));
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, kLarge - kBlock);
}

TEST_P(ContentDamage, OfASmallFileTakesAllOfIt) {
  const auto bytes = known_bytes(1, 5000);
  const NodeId node = add_file(5000);
  store_content(*store_, node, bytes);
  strike(slabs(), 4999);
  EXPECT_FALSE(must(store_->content(node))->view(0, 10));
  must(store_->settle_damage(node));
  EXPECT_EQ(must(store_->content(node)), nullptr);
  store_content(*store_, node, bytes);
  EXPECT_EQ(stored_content(*store_, node), bytes);
}

TEST_P(ContentDamage, OfAPartialContentIsNoticedWhereABlockIsWhole) {
  const auto bytes = known_bytes(1, kLarge);
  const NodeId node = add_file(kLarge);
  {
    auto writer = must(store_->create_content(node, kLarge));
    must(writer->write(kBlock / 2, std::span(bytes).subspan(kBlock / 2, 3 * kBlock)));
    must(writer->commit_partial());
  }
  strike(blocks(), 2 * kBlock + 1);
  reopen();
  const auto content = must(store_->content(node));
  EXPECT_TRUE(shows(*content, bytes, kBlock / 2, 2 * kBlock));
  EXPECT_FALSE(content->view(2 * kBlock, 1));
  must(store_->settle_damage(node));
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 2 * kBlock);
}

TEST_P(ContentDamage, IsFoundByVerifying) {
  const auto bytes = known_bytes(1, kLarge);
  const NodeId node = add_file(kLarge);
  store_content(*store_, node, bytes);
  ContentCheck check = verify(node);
  EXPECT_EQ(check.checked_bytes, kLarge);
  EXPECT_EQ(check.damaged_bytes, 0U);
  EXPECT_TRUE(check.was_complete);
  // What was looked at already is looked at again.
  ASSERT_TRUE(must(store_->content(node))->view(0, kLarge));
  strike(blocks(), 7 * kBlock);
  strike(blocks(), kLarge - 1);
  check = verify(node);
  EXPECT_EQ(check.damaged_bytes, kBlock + kLarge % kBlock);
  EXPECT_TRUE(check.was_complete);
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, kLarge - check.damaged_bytes);
  check = verify(node);
  EXPECT_EQ(check.damaged_bytes, 0U);
  EXPECT_FALSE(check.was_complete);
}

TEST_P(ContentDamage, OfAFileThatIsCutUnderItsMapKillsNobody) {
  const NodeId node = add_file(kLarge);
  store_content(*store_, node, known_bytes(1, kLarge));
  const auto content = must(store_->content(node));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(blocks())) {
    if (entry.is_regular_file()) std::filesystem::resize_file(entry.path(), 10 * kBlock);
  }
  EXPECT_TRUE(content->view(0, 10 * kBlock));
  EXPECT_FALSE(content->view(11 * kBlock, 1));
  EXPECT_TRUE(eventually([&] { return must(store_->content(node)) == nullptr; }));
  // Its row goes a moment later.
  EXPECT_TRUE(eventually([&] { return must(store_->content_state(node)).present_bytes == 0; }));
}

TEST_P(ContentDamage, IsWhatALostFileIs) {
  const NodeId node = add_file(kLarge);
  store_content(*store_, node, known_bytes(1, kLarge));
  ASSERT_NE(must(store_->content(node)), nullptr);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(blocks())) {
    if (entry.is_regular_file()) std::filesystem::remove(entry.path());
  }
  EXPECT_EQ(verify(node).damaged_bytes, kLarge);
  EXPECT_EQ(must(store_->content(node)), nullptr);
}

// What an older version of the program stored has no sums yet.
TEST_P(ContentDamage, IsFoundByTheDigestWhereThereAreNoSums) {
  const auto bytes = known_bytes(1, kLarge);
  const auto other = known_bytes(2, 4000);
  const NodeId large = add_file(kLarge);
  const NodeId small = add_file(other.size());
  store_with_digest(large, bytes);
  store_with_digest(small, other);
  forget_sums();
  ASSERT_TRUE(must(store_->content(large))->view(0, kLarge));
  strike(blocks(), 1);
  strike(slabs(), 1);
  EXPECT_TRUE(must(store_->content(large))->view(0, kLarge)) << "nothing tells";
  EXPECT_EQ(verify(large).damaged_bytes, kLarge);
  EXPECT_EQ(verify(small).damaged_bytes, other.size());
  EXPECT_EQ(must(store_->content(large)), nullptr);
  EXPECT_EQ(must(store_->content(small)), nullptr);
}

TEST_P(ContentDamage, IsFoundOnceVerifyingHasMadeTheSums) {
  const NodeId large = add_file(kLarge);
  const NodeId small = add_file(4000);
  store_with_digest(large, known_bytes(1, kLarge));
  store_with_digest(small, known_bytes(2, 4000));
  forget_sums();
  EXPECT_EQ(verify(large).damaged_bytes, 0U);
  EXPECT_EQ(verify(small).damaged_bytes, 0U);
  strike(blocks(), 1);
  strike(slabs(), 1);
  EXPECT_FALSE(must(store_->content(large))->view(0, 1));
  EXPECT_FALSE(must(store_->content(small))->view(0, 1));
  must(store_->settle_damage(large));
  must(store_->settle_damage(small));
}

// Small contents of one slab, more than are read at once, some of them damaged, and a large one among them.
TEST_P(ContentDamage, IsFoundInWhatIsReadAhead) {
  constexpr size_t kFiles = 150;
  std::vector<NodeId> nodes;
  uint64_t at = 0;
  std::vector<uint64_t> places;
  for (size_t i = 0; i < kFiles; ++i) {
    const uint64_t size = i == 70 ? kLarge : 700 + 61 * i;
    nodes.push_back(add_file(size));
    store_content(*store_, nodes.back(), known_bytes(i, size));
    places.push_back(at);
    if (size <= kSlabMaxFileBytes) at = (at + size + 63) / 64 * 64;
  }
  for (const size_t struck : {0, 63, 64, 65, 149}) strike(slabs(), places[struck] + 10);
  strike(blocks(), kBlock + 1);
  std::vector<std::unique_ptr<ContentVerification>> verifications;
  std::vector<ContentVerification*> all;
  for (const NodeId node : nodes) {
    verifications.push_back(must(store_->verify_content(node)));
    all.push_back(verifications.back().get());
  }
  const uint64_t batches = store_->file_batch().counters().batches;
  store_->read_ahead(all);
  EXPECT_EQ(store_->file_batch().counters().batches, batches + 3);
  const uint64_t reads = store_->file_batch().counters().reads;
  for (size_t i = 0; i < kFiles; ++i) {
    while (must(verifications[i]->step(200'000))) {
    }
    const ContentCheck check = verifications[i]->check();
    const uint64_t size = i == 70 ? kLarge : 700 + 61 * i;
    const bool damaged = i == 0 || (i >= 63 && i <= 65) || i == 149;
    EXPECT_EQ(check.checked_bytes, size) << i;
    EXPECT_EQ(check.damaged_bytes, i == 70 ? kBlock : damaged ? size : 0) << i;
  }
  // Those that are sound were not read again: the rest of the large one, and what is looked at twice.
  EXPECT_EQ(store_->file_batch().counters().reads, reads + kLarge / kBlock + 5 + 1);
}

INSTANTIATE_TEST_SUITE_P(Engines, ContentDamage, testing::Values(IoChoice::kUring, IoChoice::kThreads),
                         [](const auto& tested) {
                           return tested.param == IoChoice::kUring ? "uring" : "threads";
                         });

}  // namespace
}  // namespace rsyncfs
