// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/comparison_sums.h"

#include <algorithm>
#include <utility>

#include "sync/rsync/rolling_sum.h"

namespace rsyncfs {

namespace {
// Less than two a sender does not take (rsync's io.c waits for bytes that never come).
constexpr uint32_t kLeastStrongLength = 2;
}  // namespace

ComparisonSums::ComparisonSums(std::shared_ptr<const Content> content, ChecksumKind kind, int32_t seed)
    : content_(std::move(content)), kind_(kind), seed_(seed), digest_(kind) {
  const uint64_t size = content_->size();
  RSYNCFS_CHECK(content_->complete());
  sums_.block_length = kMaxBlockLength;
  sums_.strong_length = std::min(kLeastStrongLength, static_cast<uint32_t>(checksum_size(kind)));
  sums_.remainder = static_cast<uint32_t>(size % kMaxBlockLength);
  sums_.blocks.reserve((size + kMaxBlockLength - 1) / kMaxBlockLength);
}

bool ComparisonSums::compute(uint64_t bytes) {
  const uint64_t end = content_->size() - position_ > bytes ? position_ + bytes : content_->size();
  while (position_ < end) {
    const auto block = content_->view(position_, kMaxBlockLength);
    damaged_ = !block || block->empty();
    if (damaged_) return false;
    sums_.blocks.push_back({rolling_sum(*block), block_sum(kind_, seed_, *block)});
    digest_.update(*block);
    position_ += block->size();
  }
  if (position_ < content_->size()) return true;
  if (!std::exchange(over_, true)) whole_ = digest_.finish();
  return false;
}

}  // namespace rsyncfs
