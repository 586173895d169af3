// SPDX-License-Identifier: GPL-3.0-or-later
// Writing to files, and what is read then.
#include <cerrno>

#include "sync/replica/pending.h"
#include "tests/replica/dirty_rig.h"

namespace rsyncfs {
namespace {

class DirtyWrite : public DirtyTest {};

TEST_F(DirtyWrite, ShowsWhatWasWrittenOverWhatWasThere) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{5000}, kLarge}) {
    Bytes model = known_bytes(size, size);
    const NodeId file = add_cached(model);
    EXPECT_EQ(local().dirty(file), nullptr);
    const Bytes data = known_bytes(7, 3000);
    for (const uint64_t offset : {uint64_t{100}, size / 2, size, size + 100'000}) {
      const Node node = must(local().write(file, offset, data));
      model_write(model, offset, data);
      EXPECT_EQ(node.attr.size, model.size());
      EXPECT_NE(node.differences & kBytesDiffer, 0U);
      EXPECT_TRUE(same_bytes(whole_file(*store_, file), model)) << size << " at " << offset;
    }
    ASSERT_NE(local().dirty(file), nullptr);
    EXPECT_EQ(local().dirty(file)->size(), model.size());
    reopen();
    EXPECT_TRUE(same_bytes(whole_file(*store_, file), model)) << size;
  }
}

TEST_F(DirtyWrite, ReadsStopAtTheEnd) {
  const NodeId file = add_cached({});
  must(local().write(file, 0, filled(100, 1)));
  EXPECT_EQ(read_file(*store_, file, 90, 100).bytes, filled(10, 1));
  EXPECT_TRUE(read_file(*store_, file, 100, 1).bytes.empty());
  EXPECT_TRUE(read_file(*store_, file, 5000, 10).bytes.empty());
}

TEST_F(DirtyWrite, NamesTheBytesOfTheBaseThatAreNotHere) {
  const NodeId file = add_file(kLarge);
  must(local().write(file, 1000, filled(1000, 1)));
  using Ranges = std::vector<ExtentSet::Range>;
  EXPECT_EQ(read_file(*store_, file, 0, 5000).missing, (Ranges{{0, 1000}, {2000, 5000}}));
  EXPECT_EQ(read_file(*store_, file, 1200, 100).bytes, filled(100, 1));
  // Some of it arrives.
  const Bytes base = known_bytes(1, kLarge);
  auto writer = must(store_->resume_content(file, kLarge));
  must(writer->write(0, std::span(base).first(3000)));
  must(writer->commit_partial());
  EXPECT_EQ(read_file(*store_, file, 0, 5000).missing, (Ranges{{3000, 5000}}));
  Bytes expected(base.begin(), base.begin() + 5000);
  model_write(expected, 1000, filled(1000, 1));
  const BaseBytes fresh{2500, std::span(base).subspan(2500, 3000)};
  const ReadOut out = read_file(*store_, file, 0, 5000, &fresh);
  EXPECT_TRUE(out.missing.empty());
  EXPECT_TRUE(same_bytes(out.bytes, expected));
}

TEST_F(DirtyWrite, AFetchThatEndsLaterIsOfTheBase) {
  const NodeId file = add_file(kLarge);
  Bytes model = known_bytes(1, kLarge);
  auto writer = must(store_->create_content(file, kLarge));
  must(writer->write(0, model));
  must(local().write(file, kLarge - 10, filled(20, 9)));
  must(store_->finish_contents(finished(file, std::move(writer), kLarge)));
  model_write(model, kLarge - 10, filled(20, 9));
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  EXPECT_EQ(must(store_->node(file)).attr.size, kLarge + 10);
}

TEST_F(DirtyWrite, Resizes) {
  for (const uint64_t size : {uint64_t{5000}, kLarge}) {
    Bytes model = known_bytes(size, size);
    const NodeId file = add_cached(model);
    for (const uint64_t to : {size - 1, size + 5000, size / 2, size, uint64_t{0}, uint64_t{10}}) {
      EXPECT_EQ(must(local().resize(file, to)).attr.size, to);
      model.resize(to);
      EXPECT_TRUE(same_bytes(whole_file(*store_, file), model)) << to;
      must(local().write(file, to / 2, filled(3, 5)));
      model_write(model, to / 2, filled(3, 5));
      EXPECT_TRUE(same_bytes(whole_file(*store_, file), model)) << to;
    }
    reopen();
    EXPECT_TRUE(same_bytes(whole_file(*store_, file), model)) << size;
  }
}

TEST_F(DirtyWrite, WhatWasCutOffDoesNotComeBack) {
  const NodeId file = add_cached(filled(1000, 1));
  must(local().write(file, 0, filled(100'000, 2)));
  must(local().resize(file, 500));
  must(local().write(file, 90'000, filled(10, 3)));
  Bytes model = filled(500, 2);
  model_write(model, 90'000, filled(10, 3));
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
}

TEST_F(DirtyWrite, Allocates) {
  Bytes model = known_bytes(3, kLarge);
  const NodeId file = add_cached(model);
  using Mode = AllocateMode;
  EXPECT_EQ(must(local().allocate(file, Mode::kAllocate, 0, 10)).differences, 0U);
  must(local().allocate(file, Mode::kPunchHole, 1000, 50'000));
  model_zero(model, 1000, 51'000);
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  must(local().allocate(file, Mode::kPunchHole, kLarge - 10, 50'000));
  model_zero(model, kLarge - 10, kLarge);
  must(local().allocate(file, Mode::kZeroRangeKeepSize, kLarge - 30, 50'000));
  model_zero(model, kLarge - 30, kLarge);
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  must(local().allocate(file, Mode::kZeroRange, kLarge - 40, 100));
  model_zero(model, kLarge - 40, kLarge);
  model.resize(kLarge + 60);
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  must(local().allocate(file, Mode::kAllocateKeepSize, kLarge, 1 << 20));
  EXPECT_EQ(must(store_->node(file)).attr.size, kLarge + 60);
  must(local().allocate(file, Mode::kAllocate, 10, kLarge + 1000));
  model.resize(kLarge + 1010);
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
  EXPECT_EQ(local().allocate(file, Mode::kAllocate, 10, 0).error().os_errno(), EINVAL);
}

TEST_F(DirtyWrite, FindsDataAndHoles) {
  const NodeId file = add_cached(filled(1 << 20, 1));
  const auto holes = [&](uint64_t at) { return local().dirty(file)->seek_hole(at); };
  const auto data = [&](uint64_t at) { return local().dirty(file)->seek_data(at); };
  must(local().write(file, 0, filled(10, 2)));
  EXPECT_EQ(holes(0), 1U << 20);
  EXPECT_EQ(data(5000), 5000U);
  must(local().allocate(file, AllocateMode::kPunchHole, 64 << 10, 64 << 10));
  EXPECT_EQ(holes(0), 64U << 10);
  EXPECT_EQ(data(70 << 10), 128U << 10);
  EXPECT_EQ(holes(128 << 10), 1U << 20);
  must(local().resize(file, 4 << 20));
  EXPECT_EQ(holes(128 << 10), 1U << 20);
  EXPECT_EQ(data(2 << 20), 4U << 20);
  EXPECT_EQ(holes(5 << 20), 4U << 20);
}

TEST_F(DirtyWrite, ClearsPermissionsAndMovesTheTimes) {
  Listing listing;
  listing.add("suid", file_attributes(10, 1, S_IFREG | 04755));
  const NodeId file = only_node(apply(*store_, kRootNode, listing, false));
  store_content(*store_, file, filled(10, 1));
  const Node after = must(local().write(file, 0, filled(1, 2), 06000));
  EXPECT_EQ(after.attr.mode, static_cast<uint32_t>(S_IFREG | 0755));
  EXPECT_GT(after.attr.mtime_s, 1);
  ASSERT_TRUE(after.ctime.has_value());
  EXPECT_EQ(after.differences, static_cast<uint32_t>(kBytesDiffer | kMtimeDiffers | kModeDiffers));
  const Node stored = must(store_->node(file));
  EXPECT_EQ(stored.attr, after.attr);
  EXPECT_EQ(stored.differences, after.differences);
  // Of the same size: only the times.
  const NodeId other = add_cached(filled(10, 1));
  EXPECT_EQ(must(local().resize(other, 10)).differences, static_cast<uint32_t>(kMtimeDiffers));
  EXPECT_EQ(local().dirty(other), nullptr);
}

TEST_F(DirtyWrite, RefusesWhatIsNoFile) {
  EXPECT_EQ(local().write(kRootNode, 0, filled(1, 1)).error().os_errno(), EISDIR);
  EXPECT_EQ(local().write(9999, 0, filled(1, 1)).error().os_errno(), ESTALE);
  const NodeId file = add_cached(filled(10, 1));
  EXPECT_EQ(local().write(file, uint64_t{1} << 63, filled(1, 1)).error().os_errno(), EFBIG);
  EXPECT_TRUE(same_bytes(whole_file(*store_, file), filled(10, 1)));
  EXPECT_EQ(usage(blocks()).files, 0U);
}

TEST_F(DirtyWrite, LayersAreNotSwept) {
  const NodeId file = add_cached(known_bytes(1, kLarge));
  must(local().write(file, 10, filled(1000, 7)));
  const NodeId cut = add_cached({});
  must(local().write(cut, 0, filled(1000, 7)));
  must(local().resize(cut, 0));
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 2; }));
  // Also waits for the housekeeper.
  reopen();
  reopen();
  EXPECT_EQ(usage(blocks()).files, 2U);
  EXPECT_EQ(read_file(*store_, file, 10, 1000).bytes, filled(1000, 7));
}

TEST_F(DirtyWrite, CountsWhatIsPending) {
  const NodeId file = add_cached(known_bytes(1, kLarge));
  must(local().write(file, 10, filled(1000, 7)));
  must(local().write(file, 500, filled(1000, 7)));
  EXPECT_EQ(store_->pending().summary().bytes, 1490U);
  EXPECT_EQ(store_->pending().summary().nodes, 1U);
  must(local().resize(file, 100));
  EXPECT_EQ(store_->pending().summary().bytes, 90U);
  must(store_->check());
}

}  // namespace
}  // namespace rsyncfs
