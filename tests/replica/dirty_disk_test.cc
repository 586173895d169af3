// SPDX-License-Identifier: GPL-3.0-or-later
// The disk says no to a change: the caller hears it, and the file is what it was before.
#include <cerrno>

#include "sync/replica/pending.h"
#include "tests/replica/dirty_rig.h"
#include "tests/replica/disk_errors.h"

namespace rsyncfs {
namespace {

class DirtyDisk : public DirtyTest {};

TEST_F(DirtyDisk, APartOfAFailedWriteIsNotSeen) {
  Bytes model = known_bytes(1, 20'000);
  const NodeId file = add_cached(model);
  must(local().write(file, 5000, filled(10, 1)));
  model_write(model, 5000, filled(10, 1));
  {
    const FileSizeLimit limit(30'000);
    // The kernel takes the first of it.
    const auto failed = local().write(file, 15'000, filled(30'000, 2));
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().os_errno(), EFBIG);
    EXPECT_EQ(local().resize(file, 100'000).error().os_errno(), EFBIG);
    EXPECT_EQ(local().allocate(file, AllocateMode::kAllocate, 0, 100'000).error().os_errno(), EFBIG);
  }
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  // Nor when the file grows there.
  must(local().resize(file, 60'000));
  model.resize(60'000);
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  must(store_->pending().pushed(must(store_->pending().snapshot(file)),
                                {file, true, must(store_->node(file)).attr, 0, false}, "test", "digest", {}));
  EXPECT_TRUE(same_bytes(stored_content(*store_, file), model));
}

TEST_F(DirtyDisk, AFailedFirstWriteLeavesNothing) {
  const NodeId file = add_cached(known_bytes(1, 20'000));
  {
    const FileSizeLimit limit(30'000);
    EXPECT_FALSE(local().write(file, 29'000, filled(5000, 2)).ok());
  }
  EXPECT_EQ(local().dirty(file), nullptr);
  EXPECT_EQ(must(store_->node(file)).differences, 0U);
  EXPECT_EQ(usage(blocks()).files, 0U);
}

class FullDiskOfChanges : public FullDisk {};

TEST_F(FullDiskOfChanges, KeepsWhatItAccepted) {
  auto store = open_store(tmp_.path());
  Listing listing;
  listing.file("a", 0);
  listing.file("b", 0);
  const auto nodes = apply(*store, kRootNode, listing).nodes;
  std::vector<Bytes> models(2);
  int refused = 0;
  for (int i = 0; i < 600 && refused < 40; ++i) {
    const size_t which = static_cast<size_t>(i % 2);
    const Bytes data = filled(20'000, 1 + i % 200);
    const auto done = store->local().write(nodes[which], models[which].size(), data);
    if (done) {
      model_write(models[which], models[which].size(), data);
      continue;
    }
    EXPECT_EQ(done.error().os_errno(), ENOSPC) << done.error().message();
    ++refused;
  }
  EXPECT_GT(refused, 0);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(same_bytes(whole_file(*store, nodes[i]), models[i]));
  // There is no space for a copy either: the layer itself becomes the content.
  for (size_t i = 0; i < 2; ++i) {
    const auto snapshot = store->pending().snapshot(nodes[i]);
    if (!snapshot) continue;  // not even the log can grow
    const BaseNode now{nodes[i], true, (*snapshot)->node().attr, 0, false};
    static_cast<void>(store->pending().pushed(*snapshot, now, "test", "digest", {}));
    EXPECT_TRUE(same_bytes(whole_file(*store, nodes[i]), models[i]));
  }
  const auto checked = store->check();
  EXPECT_TRUE(checked.ok()) << checked.error().message();
  // What is cut off makes room again.
  if (auto done = store->local().resize(nodes[0], 0)) {
    store.reset();
    store = open_store(tmp_.path());
    EXPECT_TRUE(same_bytes(whole_file(*store, nodes[1]), models[1]));
    EXPECT_TRUE(store->local().write(nodes[1], 0, filled(100, 7)).ok());
  }
}

}  // namespace
}  // namespace rsyncfs
