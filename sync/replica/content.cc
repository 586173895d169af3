// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content.h"

#include <algorithm>

#include "sync/replica/block_guard.h"

namespace rsyncfs {

Content::Content() = default;
Content::~Content() = default;

std::optional<std::span<const std::byte>> Content::view(uint64_t offset, uint64_t length) const {
  const auto bytes = unchecked_view(offset, length);
  if (bytes && guard_ && !guard_->holds(offset, offset + bytes->size())) return std::nullopt;
  return bytes;
}

std::optional<std::span<const std::byte>> Content::unchecked_view(uint64_t offset, uint64_t length) const {
  if (offset >= size_ || length == 0) return std::span<const std::byte>();
  const uint64_t end = offset + std::min(length, size_ - offset);
  if (!complete_ && !extents_.covers(offset, end)) return std::nullopt;
  return std::span(base_ + offset, end - offset);
}

bool Content::checked() const {
  return !guard_ || guard_->checked();
}

std::vector<ExtentSet::Range> Content::missing(uint64_t begin, uint64_t end) const {
  if (begin >= end) return {};
  ExtentSet present = extents_;
  if (guard_) guard_->subtract_damage(begin, end, present);
  return present.missing(begin, end);
}

}  // namespace rsyncfs
