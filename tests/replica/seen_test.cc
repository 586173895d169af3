// SPDX-License-Identifier: GPL-3.0-or-later
// A file whose bytes were handed out is one version, though nothing of it is recorded.
#include <gtest/gtest.h>

#include "tests/replica/contents_rig.h"

namespace rsyncfs {
namespace {

constexpr FileVersion kFirst{100, 1, 0};
constexpr FileVersion kSecond{100, 2, 0};

class Seen : public Contents {
 protected:
  NodeId list(const FileVersion& version) {
    Listing listing;
    listing.file("f", version.size, version.mtime_s);
    return only_node(apply(*store_, kRootNode, listing));
  }
};

TEST_F(Seen, AFileNobodySawChangesInPlace) {
  const NodeId node = list(kFirst);
  EXPECT_EQ(list(kSecond), node);
  EXPECT_FALSE(must(store_->note_seen(node, kFirst))) << "too late";
}

TEST_F(Seen, AFileThatWasSeenIsReplaced) {
  const NodeId node = list(kFirst);
  EXPECT_TRUE(must(store_->note_seen(node, kFirst)));
  EXPECT_EQ(list(kFirst), node);
  EXPECT_NE(list(kSecond), node);
  EXPECT_EQ(must(store_->node(node)).version(), kFirst);
  EXPECT_TRUE(must(store_->note_seen(node, kFirst))) << "whoever has it open";
}

TEST_F(Seen, SoIsOneWhoseBytesWereDropped) {
  const NodeId node = list(kFirst);
  store_content(*store_, node, known_bytes(1, 100));
  must(store_->drop_content(node));
  EXPECT_NE(list(kSecond), node);
}

TEST_F(Seen, NothingIsShownWhileTheVersionChanges) {
  const NodeId node = list(kFirst);
  Listing listing;
  listing.file("f", kSecond.size, kSecond.mtime_s);
  HardLinkGroups groups;
  std::vector<NodeId> nodes;
  {
    auto batch = must(store_->begin());
    must(batch->apply_directory(kRootNode, listing.take(), true, groups, nodes));
    EXPECT_FALSE(must(store_->note_seen(node, kFirst)));
  }
  EXPECT_TRUE(must(store_->note_seen(node, kFirst))) << "it was rolled back";
}

}  // namespace
}  // namespace rsyncfs
