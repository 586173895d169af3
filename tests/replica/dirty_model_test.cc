// SPDX-License-Identifier: GPL-3.0-or-later
// One file under random operations, against what an array of bytes does: written, cut, punched, fetched,
// pushed in every state, with the store closed and opened in between.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>

#include "sync/replica/pending.h"
#include "tests/replica/dirty_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int kFiles = 25;
constexpr int kStepsPerFile = 60;

class DirtyModel : public DirtyTest {
 protected:
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  bool one_in(uint64_t n) { return random_() % n == 0; }
  // Sizes on both sides of all limits of the store, and the usual ones more often.
  uint64_t some_size() {
    switch (random_() % 8) {
      case 0:
        return 0;
      case 1:
      case 2:
        return below(10'000);
      case 3:
      case 4:
        return below(200'000);
      case 5:
        return kSlabMaxFileBytes - 2 + below(5);
      default:
        return (1 << 20) + below(1'500'000);
    }
  }

  void begin_file() {
    snapshot_ = nullptr;
    const uint64_t size = some_size();
    source_ = known_bytes(random_(), size);
    local_ = source_;
    file_ = add_file(size);
    if (one_in(2) && size != 0) store_content(*store_, file_, source_);
  }

  // A random part of the base arrives, or all of it. It is of the version before when a snapshot is being
  // pushed, which is no matter.
  void fetch(uint64_t begin, uint64_t end) {
    if (source_.empty() || begin >= end) return;
    auto writer = store_->resume_content(file_, source_.size());
    if (!writer) return;
    for (const auto& gap : (*writer)->extents().missing(begin, end))
      must((*writer)->write(gap.begin, std::span(source_).subspan(gap.begin, gap.end - gap.begin)));
    if ((*writer)->extents().covers(0, source_.size())) {
      must(store_->finish_contents(finished(file_, std::move(*writer), source_.size())));
    } else {
      must((*writer)->commit_partial());
    }
  }
  void fetch_some() {
    const uint64_t begin = below(source_.size());
    fetch(one_in(3) ? 0 : begin, one_in(3) ? source_.size() : begin + below(source_.size() - begin + 1));
  }

  void check_reads() {
    ASSERT_EQ(must(store_->node(file_)).attr.size, local_.size());
    for (int i = 0; i < 3; ++i) {
      const uint64_t at = i == 0 ? 0 : below(local_.size() + 10);
      const uint64_t length = i == 0 ? local_.size() : below(local_.size());
      check_read(at, length);
      if (HasFatalFailure()) return;
    }
  }
  void check_read(uint64_t at, uint64_t length) {
    ReadOut out = read_file(*store_, file_, at, length);
    const uint64_t end = std::min<uint64_t>(local_.size(), at + length);
    const Bytes expected = at >= end ? Bytes()
                                     : Bytes(local_.begin() + static_cast<int64_t>(at),
                                             local_.begin() + static_cast<int64_t>(end));
    ASSERT_EQ(out.bytes.size(), out.missing.empty() ? expected.size() : out.bytes.size());
    // What is missing must be so: then the source's byte is the file's, and the store has not got it.
    const auto content = must(store_->content(file_));
    for (const auto& range : out.missing) {
      ASSERT_TRUE(range.begin >= at && range.begin < range.end && range.end <= end)
          << "[" << range.begin << ", " << range.end << ") of [" << at << ", " << end << ")";
      ASSERT_TRUE(content == nullptr || !content->extents().covers(range.begin, range.begin + 1));
      ASSERT_LE(range.end, source_.size());
      ASSERT_TRUE(
          same_range(range_of(source_, range.begin, range.end), range_of(local_, range.begin, range.end)));
      if (range.end - range.begin <= length && one_in(2)) fetch(range.begin, range.end);
    }
    if (out.missing.empty()) {
      ASSERT_TRUE(same_bytes(out.bytes, expected));
    }
  }

  void write_some() {
    const uint64_t at = one_in(4) ? local_.size() : below(local_.size() + (one_in(8) ? 300'000 : 0));
    const Bytes data = known_bytes(random_(), 1 + below(one_in(4) ? 400'000 : 9000));
    must(local().write(file_, at, data));
    model_write(local_, at, data);
  }
  void resize_some() {
    const uint64_t size = one_in(3) ? some_size() : below(local_.size() + 5000);
    must(local().resize(file_, size));
    local_.resize(size);
  }
  void allocate_some() {
    using Mode = AllocateMode;
    const auto mode = static_cast<Mode>(random_() % 5);
    const uint64_t at = below(local_.size() + 5000);
    const uint64_t length = 1 + below(100'000);
    must(local().allocate(file_, mode, at, length));
    if ((mode == Mode::kAllocate || mode == Mode::kZeroRange) && local_.size() < at + length)
      local_.resize(at + length);
    if (mode != Mode::kAllocate && mode != Mode::kAllocateKeepSize) model_zero(local_, at, at + length);
  }

  void take() {
    const uint32_t differences = must(store_->node(file_)).differences;
    auto taken = store_->pending().snapshot(file_);
    if (snapshot_ != nullptr || differences == 0) {
      ASSERT_FALSE(taken.ok());
      EXPECT_EQ(taken.error().code(), snapshot_ != nullptr ? Errc::kRefused : Errc::kNotFound);
      return;
    }
    snapshot_ = must(std::move(taken));
    frozen_ = local_;
  }
  void check_snapshot() {
    ASSERT_EQ(snapshot_->node().attr.size, frozen_.size());
    const uint64_t limit = snapshot_->base_limit();
    ASSERT_LE(limit, source_.size());
    const ExtentSet& changed = snapshot_->changed();
    for (const auto& same : changed.missing(0, std::min<uint64_t>(limit, frozen_.size()))) {
      ASSERT_TRUE(
          same_range(range_of(source_, same.begin, same.end), range_of(frozen_, same.begin, same.end)));
    }
    ASSERT_TRUE(changed.covers(std::min<uint64_t>(limit, frozen_.size()), frozen_.size()));
    const uint64_t at = below(frozen_.size());
    Bytes out(below(frozen_.size() - at + 1));
    const auto done = snapshot_->read(at, out);
    if (snapshot_->complete()) must(done);
    if (done) {
      ASSERT_TRUE(same_range(out, range_of(frozen_, at, at + out.size())));
    }
    const uint64_t base_at = below(source_.size());
    out.resize(below(source_.size() - base_at + 1));
    if (must(snapshot_->read_base(base_at, out))) {
      ASSERT_TRUE(same_range(out, range_of(source_, base_at, base_at + out.size())));
    }
  }
  void push() {
    BaseNode now;
    now.node = file_;
    now.present = true;
    now.attr = snapshot_->node().attr;
    must(store_->pending().pushed(snapshot_, now, "test", "digest", {}));
    source_ = frozen_;
    snapshot_ = nullptr;
    ++pushed_;
    const Node node = must(store_->node(file_));
    if (node.attr == now.attr) {
      EXPECT_EQ(node.differences, 0U);
      EXPECT_EQ(local().dirty(file_), nullptr);
      EXPECT_EQ(local_, source_);
    }
  }

  void step() {
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2:
        return write_some();
      case 3:
        return resize_some();
      case 4:
        return allocate_some();
      case 5:
        return fetch_some();
      case 6:
        return take();
      case 7:
      case 8:
        if (snapshot_ != nullptr) check_snapshot();
        if (snapshot_ != nullptr && !HasFatalFailure()) push();
        return;
      case 9:
        snapshot_ = nullptr;
        return;
      case 10:
        if (one_in(3)) must(store_->drop_content(file_));
        if (one_in(3)) must(local().sync(file_));
        return;
      default:
        if (!one_in(4)) return;
        snapshot_ = nullptr;
        reopen();
        must(store_->check());
    }
  }

  std::mt19937_64 random_;
  NodeId file_ = 0;
  Bytes source_;  // what the source has
  Bytes local_;   // what users see
  std::shared_ptr<PushSnapshot> snapshot_;
  Bytes frozen_;  // what the snapshot has
  int pushed_ = 0;
};

TEST_F(DirtyModel, IsAnArrayOfBytes) {
  random_.seed(support::test_seed());
  for (int file = 0; file < kFiles; ++file) {
    begin_file();
    for (int i = 0; i < kStepsPerFile; ++i) {
      step();
      check_reads();
      ASSERT_FALSE(HasFatalFailure()) << "file " << file << ", step " << i;
    }
    must(store_->check());
  }
  std::printf("%d pushes\n", pushed_);
  EXPECT_GT(pushed_, kFiles);
}

}  // namespace
}  // namespace rsyncfs
