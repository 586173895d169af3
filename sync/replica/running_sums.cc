// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/running_sums.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "io/base/xxh.h"

namespace rsyncfs {

struct RunningSums::Open {
  Xxh3State state;
  bool running = false;
  size_t block = 0;
  uint64_t next = 0;
};

RunningSums::RunningSums(ContentSums known) : sums_(std::move(known)), open_(std::make_unique<Open>()) {}
RunningSums::~RunningSums() = default;

void RunningSums::go_on_from(ContentSums known) {
  known.resize(sums_.size());
  sums_ = std::move(known);
}

void RunningSums::wrote(uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const size_t block = sums_.block_at(offset);
    // Until it is known how long the content gets, its last block is as long as any.
    const uint64_t end = (block + 1) * sums_.block_bytes();
    const auto piece = data.first(std::min<uint64_t>(data.size(), end - offset));
    wrote_piece(block, offset, piece);
    offset += piece.size();
    data = data.subspan(piece.size());
  }
}

void RunningSums::wrote_piece(size_t block, uint64_t offset, std::span<const std::byte> data) {
  const auto range = sums_.range_of(block);
  const uint64_t end = offset + data.size();
  sums_.forget(offset, end);
  if (offset == range.begin && end == range.end) {
    sums_.set(block, content_sum(data));
    if (open_->block == block) open_->running = false;
    return;
  }
  if (offset == block * sums_.block_bytes()) {
    open_->state.reset();
    open_->running = true;
    open_->block = block;
  } else if (!open_->running || open_->block != block || open_->next != offset) {
    if (open_->block == block) open_->running = false;
    return;
  }
  open_->state.update(data);
  open_->next = end;
  if (end == range.end) {
    sums_.set(block, open_->state.digest_64());
  }
}

void RunningSums::discard(uint64_t begin, uint64_t end) {
  sums_.forget(begin, end);
  open_->running = false;
}

void RunningSums::resize(uint64_t size) {
  if (size == sums_.size()) return;
  const uint64_t before = sums_.block_bytes();
  sums_.resize(size);
  if (sums_.block_bytes() != before) open_->running = false;
  if (open_->running && open_->next == size && size > 0 && open_->block == sums_.block_at(size - 1)) {
    sums_.set(open_->block, open_->state.digest_64());
  }
}

Result<ContentSums> RunningSums::of(const ExtentSet& present, const Read& read) {
  std::vector<std::byte> bytes;
  for (const auto& range : present.ranges()) {
    const uint64_t length = sums_.block_bytes();
    for (uint64_t block = (range.begin + length - 1) / length; block < sums_.blocks(); ++block) {
      const auto at = sums_.range_of(block);
      if (at.end > range.end) break;
      if (sums_.knows(block)) continue;
      bytes.resize(at.end - at.begin);
      if (auto done = read(at.begin, bytes); !done) return done.error();
      sums_.set(block, content_sum(bytes));
    }
  }
  ContentSums out = sums_;
  out.keep_only(present);
  return out;
}

}  // namespace rsyncfs
