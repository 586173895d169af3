// SPDX-License-Identifier: GPL-3.0-or-later
// The disk says no: the caller gets an Error, and the store is what it was before.
#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/disk_errors.h"
#include "tests/replica/replica_rig.h"

namespace rsyncfs {
namespace {

Result<void> try_store(Replica& replica, NodeId node, const std::vector<std::byte>& bytes) {
  auto writer = replica.create_content(node, bytes.size());
  if (!writer) return writer.error();
  if (auto done = (*writer)->write(0, bytes); !done) return done;
  std::vector<Replica::FinishedContent> finished(1);
  finished[0].node = node;
  finished[0].writer = std::move(*writer);
  finished[0].size = bytes.size();
  return replica.finish_contents(std::move(finished));
}

TEST(DiskErrors, ATooLargeFileIsAnError) {
  const TemporaryDirectory tmp;
  const auto store = open_store(tmp.path());
  Listing listing;
  listing.file("large", 1000000);
  listing.file("small", 50000);
  const auto nodes = apply(*store, kRootNode, listing).nodes;
  {
    const FileSizeLimit limit(30000);
    for (const NodeId node : nodes) {
      const auto done = try_store(*store, node, known_bytes(node, must(store->node(node)).attr.size));
      ASSERT_FALSE(done.ok());
      EXPECT_EQ(done.error().code(), Errc::kOs);
      EXPECT_NE(done.error().os_errno(), 0);
      EXPECT_EQ(must(store->content(node)), nullptr);
    }
  }
  must(store->check());
  for (const NodeId node : nodes) {
    const auto bytes = known_bytes(node, must(store->node(node)).attr.size);
    store_content(*store, node, bytes);
    EXPECT_EQ(stored_content(*store, node), bytes);
  }
}

TEST(DiskErrors, ADatabaseThatCannotGrowIsAnError) {
  const TemporaryDirectory tmp;
  auto store = open_store(tmp.path());
  Listing first;
  first.file("a", 1);
  apply(*store, kRootNode, first);
  Listing many;
  for (int i = 0; i < 20000; ++i) many.file("name" + std::to_string(i), 1);
  {
    // The log is longer than this already: nothing at all can be written.
    const FileSizeLimit limit(1 << 16);
    auto batch = must(store->begin());
    HardLinkGroups groups;
    std::vector<NodeId> nodes;
    const auto applied = batch->apply_directory(kRootNode, many.take(), true, groups, nodes);
    const auto committed = batch->commit();
    EXPECT_TRUE(!applied.ok() || !committed.ok());
    EXPECT_FALSE(committed.ok());
    EXPECT_EQ(committed.error().code(), Errc::kOs) << committed.error().message();
    batch.reset();
    // What is there is still served.
    EXPECT_TRUE(store->lookup(kRootNode, "a").ok());
  }
  must(store->check());
  EXPECT_EQ(must(store->statistics()).nodes, 2U);
  EXPECT_EQ(apply(*store, kRootNode, many).nodes.size(), 20000U);
  store.reset();
  store = open_store(tmp.path());
  must(store->check());
  EXPECT_EQ(must(store->list_after(kRootNode, "", 30000)).size(), 20000U);
}

TEST_F(FullDisk, FailsAndGoesOn) {
  auto store = open_store(tmp_.path());
  Listing listing;
  for (int i = 0; i < 300; ++i) listing.file("f" + std::to_string(i), i % 3 == 0 ? 80000 : 20000);
  const auto nodes = apply(*store, kRootNode, listing).nodes;
  size_t stored = 0;
  std::vector<NodeId> failed;
  for (const NodeId node : nodes) {
    const auto done =
        try_store(*store, node, std::vector<std::byte>(must(store->node(node)).attr.size, std::byte{1}));
    if (done) {
      ++stored;
      continue;
    }
    EXPECT_EQ(done.error().os_errno(), ENOSPC) << done.error().message();
    failed.push_back(node);
  }
  EXPECT_GT(stored, 10U);
  ASSERT_GT(failed.size(), 10U);
  // What was stored is whole, what was not is absent, and names can be asked.
  for (const NodeId node : nodes) {
    const auto content = must(store->content(node));
    EXPECT_EQ(content != nullptr, std::find(failed.begin(), failed.end(), node) == failed.end());
    if (content != nullptr) {
      const auto view = content->view(0, content->size());
      EXPECT_EQ(std::count(view->begin(), view->end(), std::byte{1}), static_cast<int64_t>(content->size()));
    }
  }
  const auto checked = store->check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
}

}  // namespace
}  // namespace rsyncfs
