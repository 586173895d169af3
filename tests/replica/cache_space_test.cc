// SPDX-License-Identifier: GPL-3.0-or-later
// What goes when there is to be room, what stays, and how much disk all of it takes.
#include <random>

#include "tests/replica/contents_rig.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kSmall = 20'000;

class CacheSpaceTest : public Contents {
 protected:
  NodeId cached(uint64_t size) {
    const NodeId node = add_file(size);
    store_content(*store_, node, known_bytes(node, size));
    return node;
  }
  Evicted evict(uint64_t bytes, const InodeSet& in_use = {}) {
    return must(store_->cache().evict({bytes, 1000, store_->cache().moment(), &in_use}));
  }
  bool here(NodeId node) { return must(store_->content_state(node)).complete; }
  uint64_t on_disk() { return usage(slabs()).allocated + usage(blocks()).allocated; }
  FreeOutcome free_one(NodeId node) {
    return must(store_->cache().free_contents({node}, {})).front().outcome;
  }
};

TEST_F(CacheSpaceTest, WhatWasNotUsedForLongestGoesFirst) {
  std::vector<NodeId> nodes;
  for (int i = 0; i < 10; ++i) nodes.push_back(cached(i % 2 == 0 ? kSmall : kLarge));
  store_->cache().note_use(nodes[0]);
  store_->cache().note_use(nodes[1]);
  const auto before = must(store_->node(nodes[2]));
  const Evicted gone = evict(2 * (kSmall + kLarge));
  EXPECT_EQ(gone.files, 4U);
  EXPECT_EQ(gone.bytes, 2 * (kSmall + kLarge));
  EXPECT_FALSE(gone.exhausted);
  for (size_t i = 0; i < nodes.size(); ++i) EXPECT_EQ(here(nodes[i]), i < 2 || i > 5) << i;
  const auto after = must(store_->node(nodes[2]));
  EXPECT_EQ(after.ino, before.ino);
  EXPECT_EQ(after.attr, before.attr);
  // It can come again.
  store_content(*store_, nodes[2], known_bytes(nodes[2], kSmall));
  EXPECT_EQ(stored_content(*store_, nodes[2]), known_bytes(nodes[2], kSmall));
}

TEST_F(CacheSpaceTest, UsesOutliveARestart) {
  std::vector<NodeId> nodes;
  for (int i = 0; i < 4; ++i) nodes.push_back(cached(kLarge));
  store_->cache().note_use(nodes[0]);
  reopen();
  evict(kLarge);
  EXPECT_TRUE(here(nodes[0]));
  EXPECT_FALSE(here(nodes[1]));
}

TEST_F(CacheSpaceTest, ItsDiskSpaceIsFreeAtOnceAndCountedAsItIs) {
  std::vector<NodeId> nodes;
  for (int i = 0; i < 200; ++i) nodes.push_back(cached(i % 10 == 0 ? kLarge : kSmall));
  EXPECT_EQ(store_->cache().disk_bytes(), on_disk());
  const uint64_t before = on_disk();
  const Evicted gone = evict(before / 2);
  EXPECT_GE(gone.bytes, before / 2);
  EXPECT_LE(on_disk(), before - gone.bytes / 2) << "contents have holes";
  EXPECT_EQ(store_->cache().disk_bytes(), on_disk());
  EXPECT_TRUE(evict(UINT64_MAX).exhausted);
  must(store_->cache().give_reserve_back());
  EXPECT_EQ(store_->cache().disk_bytes(), on_disk());
  EXPECT_LE(on_disk(), 64U << 10);
  EXPECT_EQ(must(store_->statistics()).cached_bytes, 0U);
  // The slab goes on after that.
  store_content(*store_, nodes[1], known_bytes(1, kSmall));
  EXPECT_EQ(stored_content(*store_, nodes[1]), known_bytes(1, kSmall));
}

TEST_F(CacheSpaceTest, LocalChangesCountAndStay) {
  const NodeId clean = cached(kLarge);
  const NodeId changed = cached(kLarge);
  const auto bytes = known_bytes(9, 300'000);
  must(store_->local().write(changed, 100'000, bytes));
  NewNode made;
  made.mode = S_IFREG | 0644;
  const NodeId fresh = must(store_->local().create(kRootNode, "new", made)).id;
  must(store_->local().write(fresh, 0, known_bytes(10, 200'000)));
  must(store_->check());
  EXPECT_TRUE(eventually([&] { return store_->cache().disk_bytes() == on_disk(); }));
  evict(UINT64_MAX);
  EXPECT_FALSE(here(clean));
  EXPECT_TRUE(here(changed));
  EXPECT_EQ(free_one(changed), FreeOutcome::kDirty);
  EXPECT_EQ(store_->cache().disk_bytes(), on_disk());
  std::vector<std::byte> got(bytes.size());
  std::vector<ExtentSet::Range> missing;
  ASSERT_EQ(must(store_->local().dirty(changed)->read(100'000, got, missing)), bytes.size());
  EXPECT_EQ(got, bytes);
}

TEST_F(CacheSpaceTest, WhatWasRenamedHereStaysUntilTheSourceHasIt) {
  const NodeId node = cached(kSmall);
  must(store_->local().rename(kRootNode, "f1", kRootNode, "g", RenameMode::kReplace));
  EXPECT_EQ(free_one(node), FreeOutcome::kDirty);
  EXPECT_EQ(evict(UINT64_MAX).files, 0U);
  must(store_->local().rename(kRootNode, "g", kRootNode, "f1", RenameMode::kReplace));
  EXPECT_EQ(free_one(node), FreeOutcome::kFreed);
}

TEST_F(CacheSpaceTest, AReaderKeepsItsBytes) {
  for (const uint64_t size : {kSmall, kLarge}) {
    const NodeId node = cached(size);
    auto reader = must(store_->content(node));
    EXPECT_EQ(evict(UINT64_MAX).files, 1U);
    EXPECT_EQ(must(store_->content(node)), nullptr);
    const auto view = reader->view(0, size);
    ASSERT_TRUE(view.has_value());
    const auto expected = known_bytes(node, size);
    EXPECT_TRUE(std::equal(view->begin(), view->end(), expected.begin(), expected.end()));
    reader.reset();
  }
  must(store_->cache().give_reserve_back());
  EXPECT_LE(on_disk(), 64U << 10);
  EXPECT_EQ(store_->cache().disk_bytes(), on_disk());
}

TEST_F(CacheSpaceTest, WhatIsMappedFetchedOrGoneAtTheSourceStays) {
  const NodeId mapped = cached(kLarge);
  const NodeId fetched = add_file(kLarge);
  auto writer = must(store_->create_content(fetched, kLarge));
  must(writer->write(0, known_bytes(1, 300'000)));
  must(writer->commit_partial());
  const NodeId gone = cached(kSmall);
  const NodeId left = cached(kSmall);
  Listing listing;
  for (const NodeId node : {mapped, fetched, left}) {
    const Node now = must(store_->node(node));
    listing.add(must(store_->name_of(node)).second, now.attr);
  }
  apply(*store_, kRootNode, listing);
  EXPECT_TRUE(must(store_->node(gone)).orphan);
  EXPECT_EQ(evict(UINT64_MAX, {must(store_->node(mapped)).ino}).files, 1U);
  EXPECT_TRUE(here(mapped));
  EXPECT_TRUE(here(gone));
  EXPECT_FALSE(here(left));
  EXPECT_EQ(must(store_->content_state(fetched)).present_bytes, 300'000U);
  EXPECT_EQ(free_one(fetched), FreeOutcome::kInUse);
  writer.reset();
  EXPECT_EQ(free_one(fetched), FreeOutcome::kFreed);
  EXPECT_EQ(free_one(fetched), FreeOutcome::kNothingHere);
}

TEST_F(CacheSpaceTest, AnEvictedFileStaysTheVersionThatItIs) {
  const NodeId node = cached(kSmall);
  evict(UINT64_MAX);
  Listing listing;
  listing.file("f1", kSmall, 2);
  const NodeId now = only_node(apply(*store_, kRootNode, listing));
  EXPECT_NE(now, node);
  EXPECT_EQ(must(store_->node(node)).attr.mtime_s, 1);
  EXPECT_EQ(must(store_->node(now)).ino, must(store_->node(node)).ino);
}

TEST_F(CacheSpaceTest, WhatStaysIsNotLookedAtForEver) {
  std::vector<NodeId> pinned;
  for (int i = 0; i < 20; ++i) {
    pinned.push_back(cached(kSmall));
    must(store_->cache().pin(pinned.back()));
  }
  const NodeId other = cached(kSmall);
  const uint64_t moment = store_->cache().moment();
  uint64_t files = 0;
  int rounds = 0;
  for (bool exhausted = false; !exhausted; ++rounds) {
    const Evicted gone = must(store_->cache().evict({UINT64_MAX, 8, moment, nullptr}));
    files += gone.files;
    exhausted = gone.exhausted;
  }
  EXPECT_EQ(files, 1U);
  EXPECT_EQ(rounds, 3);
  EXPECT_FALSE(here(other));
  for (const NodeId node : pinned) EXPECT_TRUE(here(node));
}

class PinTest : public CacheSpaceTest {
 protected:
  NodeId directory(NodeId parent, const std::string& name) {
    Listing listing;
    listing.directory(name);
    return only_node(apply(*store_, parent, listing, false));
  }
  NodeId file_in(NodeId parent, const std::string& name, int64_t mtime_s = 1) {
    Listing listing;
    listing.file(name, kSmall, mtime_s);
    const NodeId node = only_node(apply(*store_, parent, listing, false));
    store_content(*store_, node, known_bytes(node, kSmall));
    return node;
  }
  bool pinned(NodeId node) { return must(store_->cache().is_pinned(node)); }
};

TEST_F(PinTest, CoversAllThatIsAndComesToBeBelow) {
  const NodeId top = directory(kRootNode, "top");
  const NodeId below = directory(top, "below");
  const NodeId file = file_in(below, "f");
  const NodeId beside = file_in(kRootNode, "beside");
  must(store_->cache().pin(top));
  const NodeId later = file_in(below, "later");
  for (int opening = 0; opening < 2; ++opening) {
    EXPECT_TRUE(pinned(top) && pinned(below) && pinned(file) && pinned(later));
    EXPECT_FALSE(pinned(beside) || pinned(kRootNode));
    EXPECT_EQ(must(store_->cache().pinned_nodes()), std::vector<NodeId>{top});
    reopen();
  }
  evict(UINT64_MAX);
  EXPECT_TRUE(here(file) && here(later));
  EXPECT_FALSE(here(beside));
  EXPECT_EQ(free_one(file), FreeOutcome::kPinned);
  EXPECT_EQ(must(store_->cache().unpin(below)), 0U) << "the pin is above it";
  EXPECT_EQ(must(store_->cache().unpin(kRootNode)), 1U);
  EXPECT_FALSE(pinned(file));
  EXPECT_EQ(free_one(file), FreeOutcome::kFreed);
}

TEST_F(PinTest, FollowsTheFileToItsNextVersionAndName) {
  const NodeId file = file_in(kRootNode, "f");
  must(store_->cache().pin(file));
  const NodeId next = file_in(kRootNode, "f", 2);
  ASSERT_NE(next, file);
  EXPECT_TRUE(pinned(next));
  EXPECT_EQ(must(store_->cache().pinned_nodes()), std::vector<NodeId>{next});
  must(store_->local().rename(kRootNode, "f", kRootNode, "g", RenameMode::kReplace));
  reopen();
  EXPECT_TRUE(pinned(next));
  EXPECT_EQ(must(store_->cache().unpin(next)), 1U);
  EXPECT_EQ(store_->cache().pin_count(), 0U);
}

TEST_F(PinTest, OfWhatIsGoneIsForgotten) {
  const NodeId top = directory(kRootNode, "top");
  must(store_->cache().pin(top));
  must(store_->cache().pin(file_in(top, "f")));
  Listing nothing;
  apply(*store_, kRootNode, nothing);
  EXPECT_EQ(store_->cache().pin_count(), 2U);
  EXPECT_EQ(must(store_->cache().pinned_nodes()).size(), 0U);
  reopen();
  EXPECT_EQ(store_->cache().pin_count(), 0U);
  EXPECT_EQ(store_->cache().pin(top).error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace rsyncfs
