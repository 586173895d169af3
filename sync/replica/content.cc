// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content.h"

#include <algorithm>

namespace rsyncfs {

std::optional<std::span<const std::byte>> Content::view(uint64_t offset, uint64_t length) const {
  if (offset >= size_ || length == 0) return std::span<const std::byte>();
  const uint64_t end = offset + std::min(length, size_ - offset);
  if (!complete_ && !extents_.covers(offset, end)) return std::nullopt;
  return std::span(base_ + offset, end - offset);
}

}  // namespace rsyncfs
