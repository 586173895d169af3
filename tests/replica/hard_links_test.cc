// SPDX-License-Identifier: GPL-3.0-or-later
// Names that are one inode: made, told apart, moved, and taken away.
#include <string>

#include <gmock/gmock.h>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {
namespace {

using Kind = NameChange::Kind;

class HardLinks : public testing::Test {
 protected:
  void SetUp() override {
    Listing top;
    top.directory("d1");
    top.directory("d2");
    const Applied applied = apply(*store_, kRootNode, top);
    d1_ = applied.nodes[0];
    d2_ = applied.nodes[1];
  }
  void TearDown() override { must(store_->check()); }
  NodeId list_one(NodeId directory, const char* name, uint32_t group, HardLinkGroups& groups,
                  uint32_t nlink = 0, int64_t mtime_s = 1) {
    Listing listing;
    listing.add(name, file_attributes(10, mtime_s), group).attr.nlink = nlink;
    last_ = apply(*store_, directory, listing, true, groups);
    return only_node(last_);
  }
  uint32_t nlink(NodeId node) { return must(store_->node(node)).attr.nlink; }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  NodeId d1_ = 0;
  NodeId d2_ = 0;
  Applied last_;
};

TEST_F(HardLinks, JoinNamesOfSeveralDirectories) {
  HardLinkGroups groups;
  const NodeId a = list_one(d1_, "a", 7, groups, 2);
  const NodeId b = list_one(d2_, "b", 7, groups, 2);
  EXPECT_EQ(a, b);
  EXPECT_EQ(nlink(a), 2U);
  HardLinkGroups again;
  list_one(d1_, "a", 3, again, 2);
  EXPECT_TRUE(last_.changes.empty());
  list_one(d2_, "b", 3, again, 2);
  EXPECT_TRUE(last_.changes.empty());
}

TEST_F(HardLinks, WithinOneDirectoryKeepTheNodeThatHasContent) {
  Listing alone;
  alone.file("m", 10);
  const NodeId node = only_node(apply(*store_, d1_, alone));
  store_content(*store_, node, known_bytes(3, 10));
  Listing both;
  both.add("a", file_attributes(10), 4);
  both.add("m", file_attributes(10), 4);
  both.add("z", file_attributes(10), 4);
  const Applied applied = apply(*store_, d1_, both);
  EXPECT_EQ(applied.nodes, (std::vector<NodeId>{node, node, node}));
  EXPECT_EQ(nlink(node), 3U);
  EXPECT_EQ(stored_content(*store_, node), known_bytes(3, 10));
}

TEST_F(HardLinks, ANodeOfASingleListIsLeftForTheGroups) {
  HardLinkGroups first;
  const NodeId a = list_one(d1_, "a", 1, first, 2);
  HardLinkGroups second;
  const NodeId b = list_one(d2_, "b", 1, second, 2);
  EXPECT_NE(a, b);
  HardLinkGroups whole;
  EXPECT_EQ(list_one(d1_, "a", 9, whole, 2), a);
  EXPECT_EQ(list_one(d2_, "b", 9, whole, 2), a);
  ASSERT_EQ(last_.changes.size(), 1U);
  EXPECT_EQ(last_.changes[0].kind, Kind::kReplaced);
  EXPECT_EQ(last_.changes[0].old_node, b);
  EXPECT_TRUE(must(store_->node(b)).orphan);
}

TEST_F(HardLinks, NlinkFallsWithTheNames) {
  HardLinkGroups groups;
  const NodeId node = list_one(d1_, "a", 7, groups, 2);
  list_one(d2_, "b", 7, groups, 2);
  Listing nothing;
  const Applied applied = apply(*store_, d2_, nothing);
  ASSERT_EQ(applied.changes.size(), 2U);
  EXPECT_EQ(applied.changes[0].kind, Kind::kRemoved);
  EXPECT_EQ(applied.changes[1].kind, Kind::kAttributes);
  EXPECT_EQ(applied.changes[1].name, "a");
  EXPECT_EQ(nlink(node), 1U);
  EXPECT_FALSE(must(store_->node(node)).orphan);
  apply(*store_, d1_, nothing);
  EXPECT_TRUE(must(store_->node(node)).orphan);
}

TEST_F(HardLinks, SeenFromOneDirectoryKeepTheCountOfAll) {
  HardLinkGroups groups;
  const NodeId node = list_one(d1_, "a", 7, groups, 0);
  list_one(d2_, "b", 7, groups, 0);
  EXPECT_EQ(nlink(node), 2U);
  HardLinkGroups only_d1;
  list_one(d1_, "a", 1, only_d1, 1);
  EXPECT_EQ(nlink(node), 2U);
}

TEST_F(HardLinks, ThatWereBrokenAreToldApart) {
  HardLinkGroups groups;
  const NodeId node = list_one(d1_, "a", 7, groups, 2);
  list_one(d2_, "b", 7, groups, 2);
  store_content(*store_, node, known_bytes(1, 10));
  // The same size and time, but inodes of their own.
  HardLinkGroups none;
  const NodeId a = list_one(d1_, "a", 0, none, 1);
  const NodeId b = list_one(d2_, "b", 0, none, 1);
  EXPECT_NE(a, b);
  EXPECT_NE(must(store_->node(a)).ino, must(store_->node(b)).ino);
  EXPECT_EQ(b, node);
  EXPECT_EQ(nlink(a), 1U);
  EXPECT_EQ(nlink(b), 1U);
}

TEST_F(HardLinks, OfOtherGroupsAreToldApart) {
  HardLinkGroups groups;
  Listing all;
  for (const char* name : {"a", "b", "c", "d"}) all.add(name, file_attributes(10), 7);
  const Applied first = apply(*store_, d1_, all, true, groups);
  Listing pairs;
  pairs.add("a", file_attributes(10), 1);
  pairs.add("b", file_attributes(10), 1);
  pairs.add("c", file_attributes(10), 2);
  pairs.add("d", file_attributes(10), 2);
  const Applied second = apply(*store_, d1_, pairs);
  EXPECT_EQ(second.nodes[0], first.nodes[0]);
  EXPECT_EQ(second.nodes[1], first.nodes[0]);
  EXPECT_NE(second.nodes[2], first.nodes[0]);
  EXPECT_EQ(second.nodes[3], second.nodes[2]);
  EXPECT_EQ(nlink(second.nodes[0]), 2U);
  EXPECT_EQ(nlink(second.nodes[2]), 2U);
}

TEST_F(HardLinks, ReplacedTogetherKeepTheIno) {
  Listing all;
  for (const char* name : {"a", "b"}) all.add(name, file_attributes(10), 7);
  const NodeId old_node = apply(*store_, d1_, all).nodes[0];
  store_content(*store_, old_node, known_bytes(1, 10));
  Listing newer;
  for (const char* name : {"a", "b"}) newer.add(name, file_attributes(11, 2), 7);
  const Applied applied = apply(*store_, d1_, newer);
  EXPECT_EQ(applied.nodes[0], applied.nodes[1]);
  EXPECT_NE(applied.nodes[0], old_node);
  EXPECT_EQ(must(store_->node(applied.nodes[0])).ino, old_node);
  EXPECT_EQ(nlink(applied.nodes[0]), 2U);
  EXPECT_TRUE(must(store_->node(old_node)).orphan);
}

TEST_F(HardLinks, ANameThatIsReplacedAloneGetsAnotherIno) {
  HardLinkGroups groups;
  const NodeId node = list_one(d1_, "a", 7, groups, 2);
  list_one(d2_, "b", 7, groups, 2);
  store_content(*store_, node, known_bytes(1, 10));
  HardLinkGroups none;
  const NodeId renewed = list_one(d1_, "a", 0, none, 1, 2);
  EXPECT_NE(renewed, node);
  EXPECT_NE(must(store_->node(renewed)).ino, must(store_->node(node)).ino);
  EXPECT_FALSE(must(store_->node(node)).orphan);
  EXPECT_EQ(nlink(node), 1U);
}

TEST_F(HardLinks, GoOnceWithTheirDirectory) {
  HardLinkGroups groups;
  Listing all;
  for (const char* name : {"a", "b"}) all.add(name, file_attributes(10), 7);
  const NodeId node = apply(*store_, d1_, all).nodes[0];
  Listing top;
  top.directory("d2");
  apply(*store_, kRootNode, top);
  EXPECT_TRUE(must(store_->node(node)).orphan);
  must(store_->check());
  EXPECT_EQ(must(store_->purge_orphans(10)), 2U);
}

}  // namespace
}  // namespace rsyncfs
