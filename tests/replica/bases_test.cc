// SPDX-License-Identifier: GPL-3.0-or-later
// Contents of older versions, of which newer ones can be made.
#include <gtest/gtest.h>

#include "tests/replica/contents_rig.h"

namespace rsyncfs {
namespace {

class Bases : public Contents {
 protected:
  NodeId list_version(const std::string& name, uint64_t size, int64_t mtime_s) {
    Listing listing;
    listing.file(name, size, mtime_s);
    return only_node(apply(*store_, kRootNode, listing, false));
  }
  void put_first() {
    first_ = list_version("f", kLarge, 1);
    store_content(*store_, first_, bytes_);
    second_ = list_version("f", kLarge + 1, 2);
    ASSERT_NE(first_, second_);
  }
  bool is_basis_of(NodeId node) {
    const auto basis = must(store_->basis(node));
    return basis && basis->complete() && basis->size() == kLarge;
  }
  const std::vector<std::byte> bytes_ = known_bytes(7, kLarge);
  NodeId first_ = 0;
  NodeId second_ = 0;
};

TEST_F(Bases, TheReplacedVersionIsTheBasisOfTheNext) {
  put_first();
  EXPECT_TRUE(is_basis_of(second_));
  EXPECT_EQ(must(store_->basis(first_)), nullptr);
}

TEST_F(Bases, OutlivesTheKernelsReferenceAndARemount) {
  put_first();
  must(store_->forget_orphans({first_}));
  EXPECT_TRUE(store_->node(first_).ok());
  reopen();
  EXPECT_EQ(must(store_->purge_orphans(100)), 0U);
  EXPECT_TRUE(is_basis_of(second_));
  must(store_->check());
}

TEST_F(Bases, GoesWhenTheNewerVersionIsHere) {
  put_first();
  must(store_->forget_orphans({first_}));
  store_content(*store_, second_, known_bytes(8, kLarge + 1));
  EXPECT_EQ(must(store_->basis(second_)), nullptr);
  EXPECT_FALSE(store_->node(first_).ok());
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 1; }));
}

TEST_F(Bases, StaysWhileTheKernelHoldsIt) {
  put_first();
  store_content(*store_, second_, known_bytes(8, kLarge + 1));
  EXPECT_EQ(stored_content(*store_, first_), bytes_);
  must(store_->forget_orphans({first_}));
  EXPECT_FALSE(store_->node(first_).ok());
}

TEST_F(Bases, IsHandedOnByVersionsThatWereNeverFetched) {
  put_first();
  must(store_->note_seen(second_, {kLarge + 1, 2, 0}));
  const NodeId third = list_version("f", kLarge + 2, 3);
  ASSERT_NE(third, second_);
  EXPECT_TRUE(is_basis_of(third));
  must(store_->forget_orphans({first_, second_}));
  EXPECT_FALSE(store_->node(second_).ok());
  EXPECT_TRUE(is_basis_of(third));
}

TEST_F(Bases, AVersionThatChangesInPlaceKeepsIt) {
  put_first();
  EXPECT_EQ(list_version("f", kLarge + 2, 3), second_);
  EXPECT_TRUE(is_basis_of(second_));
}

TEST_F(Bases, GivenUpItGoesIfTheKernelHasForgottenIt) {
  put_first();
  must(store_->forget_orphans({first_}));
  must(store_->drop_basis(second_));
  EXPECT_EQ(must(store_->basis(second_)), nullptr);
  EXPECT_FALSE(store_->node(first_).ok());
}

TEST_F(Bases, GoesWithTheVersionThatItIsFor) {
  put_first();
  must(store_->forget_orphans({first_}));
  Listing nothing;
  apply(*store_, kRootNode, nothing, true);
  must(store_->forget_orphans({second_}));
  EXPECT_FALSE(store_->node(second_).ok());
  EXPECT_FALSE(store_->node(first_).ok());
}

ListedName& add_timed(Listing& listing, const std::string& name, uint32_t mtime_ns) {
  NodeAttributes attr = file_attributes(kLarge, 1);
  attr.mtime_ns = mtime_ns;
  return listing.add(name, attr);
}

TEST_F(Bases, AFileUnderAnotherNameIsMadeOfWhatItWas) {
  Listing before;
  before.directory("a");
  before.directory("b");
  const auto directories = apply(*store_, kRootNode, before).nodes;
  Listing listed;
  add_timed(listed, "old", 5);
  const NodeId old_node = only_node(apply(*store_, directories[1], listed));
  store_content(*store_, old_node, bytes_);
  // In one list, it is seen here before it is missed there.
  HardLinkGroups groups;
  Listing in_a;
  add_timed(in_a, "new", 5);
  const NodeId first = only_node(apply(*store_, directories[0], in_a, true, groups));
  EXPECT_EQ(must(store_->basis(first)), nullptr);
  Listing in_b;
  apply(*store_, directories[1], in_b, true, groups);
  EXPECT_TRUE(is_basis_of(first));
  must(store_->check());
}

TEST_F(Bases, AFileOfARenamedDirectoryToo) {
  Listing before;
  before.directory("a");
  const NodeId directory = only_node(apply(*store_, kRootNode, before));
  Listing listed;
  add_timed(listed, "file", 5);
  store_content(*store_, only_node(apply(*store_, directory, listed)), bytes_);
  HardLinkGroups groups;
  Listing after;
  after.directory("b");
  const NodeId now = only_node(apply(*store_, kRootNode, after, true, groups));
  Listing again;
  add_timed(again, "file", 5);
  EXPECT_TRUE(is_basis_of(only_node(apply(*store_, now, again, true, groups))));
}

TEST_F(Bases, WithoutNanosecondsTooManyAreAlike) {
  Listing listed;
  listed.file("old", kLarge, 1);
  store_content(*store_, only_node(apply(*store_, kRootNode, listed)), bytes_);
  Listing after;
  after.file("new", kLarge, 1);
  EXPECT_EQ(must(store_->basis(only_node(apply(*store_, kRootNode, after)))), nullptr);
}

TEST_F(Bases, APartOfAVersionIsABasisToo) {
  first_ = list_version("f", kLarge, 1);
  {
    auto writer = must(store_->create_content(first_, kLarge));
    must(writer->write(4096, std::span(bytes_).subspan(4096, 200'000)));
    must(writer->commit_partial());
  }
  second_ = list_version("f", kLarge + 1, 2);
  const auto basis = must(store_->basis(second_));
  ASSERT_NE(basis, nullptr);
  EXPECT_FALSE(basis->complete());
  EXPECT_TRUE(basis->extents().covers(4096, 204'096));
}

}  // namespace
}  // namespace rsyncfs
