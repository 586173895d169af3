// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/block_index.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace rsyncfs {

BlockIndex::BlockIndex(const std::vector<BlockSum>& blocks)
    : filter_(blocks.size()), heads_(std::bit_ceil(std::max<size_t>(blocks.size(), 2)), kNone) {
  slot_shift_ = 64 - static_cast<unsigned>(std::bit_width(heads_.size() - 1));
  links_.resize(blocks.size());
  // Backwards, so that each chain begins with its first block.
  for (size_t i = blocks.size(); i-- > 0;) {
    const uint32_t rolling = blocks[i].rolling;
    links_[i] = {rolling, std::exchange(heads_[slot_of(rolling)], static_cast<uint32_t>(i))};
    filter_.add(rolling);
  }
}

void BlockIndex::roll(RollingWindow& window, size_t most) const {
  for (const std::byte* const end = window.data + most; window.data != end;) {
    filter_.roll(window, static_cast<size_t>(end - window.data));
    if (find(window.sum(), [](uint32_t) { return true; }) != kNone) return;
  }
}

}  // namespace rsyncfs
