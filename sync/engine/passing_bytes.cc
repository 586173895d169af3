// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/passing_bytes.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace rsyncfs {
namespace {

std::atomic<uint64_t> files{0};  // that there are of them

}  // namespace

PassingBytes::PassingBytes() {
  ++files;
}

PassingBytes::~PassingBytes() {
  --files;
}

uint64_t PassingBytes::limit() {
  return std::clamp(kMaxAllBytes / std::max<uint64_t>(files, 1), kMinBytes, kMaxBytes);
}

ExtentSet PassingBytes::add(uint64_t offset, SharedBytes bytes) {
  bytes_ += bytes.bytes.size();
  pieces_.emplace_back(offset, std::move(bytes));
  ExtentSet gone;
  while (bytes_ > limit() && pieces_.size() > 1) {
    const auto& [begin, oldest] = pieces_.front();
    gone.add(begin, begin + oldest.bytes.size());
    bytes_ -= oldest.bytes.size();
    pieces_.pop_front();
  }
  if (gone.ranges().empty()) return gone;
  for (const auto& [begin, piece] : pieces_) gone.remove(begin, begin + piece.bytes.size());
  return gone;
}

bool PassingBytes::read(uint64_t offset, std::span<std::byte> out) const {
  ExtentSet wanted;
  wanted.add(offset, offset + out.size());
  for (const auto& [begin, piece] : pieces_) {
    const uint64_t from = std::max(begin, offset);
    const uint64_t to = std::min(begin + piece.bytes.size(), offset + out.size());
    if (from >= to) continue;
    std::memcpy(out.data() + (from - offset), piece.bytes.data() + (from - begin), to - from);
    wanted.remove(from, to);
  }
  return wanted.ranges().empty();
}

}  // namespace rsyncfs
