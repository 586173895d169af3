// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_sender.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {

// Of small files every block is compared; of larger ones those that would be replaced. What is copied is
// covered by the digest of the whole.
constexpr uint64_t kCompareAllBytes = uint64_t{8} << 20;
constexpr size_t kReadBytes = 256 * 1024;
constexpr uint32_t kMinTokenBlock = 4096;

// Servers without the 'C' capability put the seed behind the block.
ChecksumValue old_block_sum(ChecksumKind kind, int32_t seed, std::span<const std::byte> block) {
  Digest digest(kind);
  digest.update(block);
  std::array<std::byte, 4> tail{};
  for (size_t i = 0; i < tail.size(); ++i)
    tail[i] = static_cast<std::byte>(static_cast<uint32_t>(seed) >> (8 * i));
  digest.update(tail);
  return digest.finish();
}

bool same_start(const ChecksumValue& a, const ChecksumValue& b, size_t length) {
  return std::equal(a.bytes.begin(), a.bytes.begin() + static_cast<std::ptrdiff_t>(length), b.bytes.begin());
}

}  // namespace

PushSender::PushSender(std::shared_ptr<PushSnapshot> snapshot, PushBasis basis,
                       std::shared_ptr<const Content> occupant, PushRequest request, const Wire& wire,
                       BufferPool& buffers)
    : snapshot_(std::move(snapshot)),
      basis_(basis),
      occupant_(std::move(occupant)),
      request_(std::move(request)),
      kind_(wire.checksum),
      names_runs_(wire.names_runs),
      seed_(wire.seed),
      buffers_(buffers),
      head_(request_.head),
      digest_(wire.checksum) {}

bool PushSender::same_block(uint32_t block, std::span<const std::byte> bytes) const {
  const BlockSum& theirs = request_.sums.blocks[block];
  if (rolling_sum(bytes) != theirs.rolling) return false;
  const size_t length = request_.sums.strong_length;
  if (same_start(block_sum(kind_, seed_, bytes), theirs.strong, length)) return true;
  return kind_ == ChecksumKind::kMd5 && same_start(old_block_sum(kind_, seed_, bytes), theirs.strong, length);
}

Result<bool> PushSender::examine() {
  const bool is_new = (request_.iflags & kItemIsNew) != 0;
  const uint64_t remote = request_.head.size();
  if (basis_ == PushBasis::kNothing) {
    // Made by somebody else since: theirs, unless it is what we are about to send.
    if (!is_new) {
      auto ours = matches_new();
      if (!ours || !*ours) return ours;
    }
    head_ = {};
    add_run(0, size(), false);
    return true;
  }
  if (is_new || request_.basis_type != kBasisOwn) return false;
  if (basis_ == PushBasis::kAppended) {
    if (request_.again || remote != snapshot_->base().attr.size) return false;
    position_ = remote;
    add_run(remote, size(), false);
    return true;
  }
  if (request_.sums_dropped) return Error(Errc::kLimit, "the file has too many blocks");
  auto fits = matches_base();
  if (!fits) return fits;
  if (*fits && !request_.again) {
    plan_copies();
    return true;
  }
  // Sent in vain once: only if nothing of theirs is lost at all.
  auto ours = matches_new();
  if (!ours || !*ours) return ours;
  basis_ = PushBasis::kOwn;
  head_ = {};
  add_run(0, size(), false);
  return true;
}

// The bytes that base has where that block is; false: not all of them are here.
Result<bool> PushSender::base_block(uint32_t block, std::vector<std::byte>& out) const {
  out.resize(request_.head.length_of(block));
  if (basis_ == PushBasis::kOwn) return snapshot_->read_base(offset_of(block), out);
  if (!occupant_) return false;
  const auto view = occupant_->view(offset_of(block), static_cast<uint32_t>(out.size()));
  if (!view || view->size() != out.size()) return false;
  std::copy(view->begin(), view->end(), out.begin());
  return true;
}

// The new contents have there what base has.
bool PushSender::is_kept(uint64_t begin, uint64_t end) const {
  if (end > snapshot_->base_limit() || end > size()) return false;
  const auto unchanged = snapshot_->changed().missing(begin, end);
  return unchanged.size() == 1 && unchanged.front() == ExtentSet::Range{begin, end};
}

Result<bool> PushSender::matches_base() const {
  const BaseNode& base = snapshot_->base();
  const uint64_t remote = request_.head.size();
  if (basis_ == PushBasis::kOther) {
    if (!occupant_ || occupant_->size() != remote) return !occupant_;
  } else if (remote != base.attr.size) {
    return false;
  }
  const bool all = remote <= kCompareAllBytes || basis_ == PushBasis::kOther;
  std::vector<std::byte> bytes;
  for (uint32_t block = 0; block < request_.head.count; ++block) {
    const uint64_t begin = offset_of(block);
    const uint64_t end = begin + request_.head.length_of(block);
    if (!all && is_kept(begin, end)) continue;
    const auto here = base_block(block, bytes);
    if (!here) return here.error();
    if (*here && !same_block(block, bytes)) return false;
  }
  return true;
}

// Everything that the source has is where it is in the new contents.
Result<bool> PushSender::matches_new() const {
  const uint64_t remote = request_.head.size();
  if (remote > size() || request_.sums.blocks.size() != request_.head.count) return false;
  std::vector<std::byte> bytes;
  for (uint32_t block = 0; block < request_.head.count; ++block) {
    bytes.resize(request_.head.length_of(block));
    if (auto read = snapshot_->read(offset_of(block), bytes); !read) return read.error();
    if (!same_block(block, bytes)) return false;
  }
  return true;
}

void PushSender::add_run(uint64_t begin, uint64_t end, bool copy) {
  if (begin >= end) return;
  if (!runs_.empty() && runs_.back().copy == copy && runs_.back().end == begin) {
    runs_.back().end = end;
  } else {
    runs_.push_back({begin, end, copy});
  }
}

void PushSender::plan_copies() {
  if (basis_ == PushBasis::kOther) {
    matcher_ = std::make_unique<BlockMatcher>(
        request_.sums, kind_, seed_, size(),
        [this](uint64_t offset, std::span<std::byte> out) { return snapshot_->read(offset, out); });
    return;
  }
  const uint64_t remote = request_.head.size();
  const uint32_t length = choose_block_length();
  head_.block_length = length;
  head_.count = static_cast<uint32_t>((remote + length - 1) / length);
  head_.remainder = static_cast<uint32_t>(remote % length);
  const uint64_t kept = kept_end();
  // The last block of all may be short, any other is copied as a whole or not at all.
  const uint64_t copied = kept == remote ? kept : kept - kept % length;
  uint64_t at = 0;
  for (const ExtentSet::Range& range : snapshot_->changed().ranges()) {
    if (range.begin >= copied) break;
    const uint64_t begin = std::max(at, range.begin - range.begin % length);
    const uint64_t end = std::min((range.end + length - 1) / length * length, copied);
    add_run(at, begin, true);
    add_run(begin, end, false);
    at = std::max(at, end);
  }
  add_run(at, copied, true);
  add_run(std::max(at, copied), size(), false);
}

// Up to here the source has what the new contents have, but for changed().
uint64_t PushSender::kept_end() const {
  return std::min({snapshot_->base_limit(), request_.head.size(), size()});
}

// The blocks that the answer speaks of need not be those of the sums: as small as what changed, but not so
// small that naming all the others costs more.
uint32_t PushSender::choose_block_length() const {
  constexpr uint64_t kTokenBytes = 4;
  if (names_runs_) return kMinTokenBlock;
  uint32_t best = kMaxBlockLength;
  uint64_t least = UINT64_MAX;
  for (uint32_t length = kMinTokenBlock; length <= kMaxBlockLength; length *= 2) {
    uint64_t blocks = 0;
    uint64_t after = 0;  // the block behind the last one counted
    for (const ExtentSet::Range& range : snapshot_->changed().ranges()) {
      if (range.begin >= kept_end()) break;
      const uint64_t first = std::max(after, range.begin / length);
      const uint64_t last = (std::min(range.end, kept_end()) + length - 1) / length;
      if (last <= first) continue;
      blocks += last - first;
      after = last;
    }
    const uint64_t cost = blocks * length + kept_end() / length * kTokenBytes;
    if (cost < least) {
      least = cost;
      best = length;
    }
  }
  return best;
}

Result<PushPieces> PushSender::next(size_t budget) {
  return matcher_ ? next_matched(budget) : next_planned(budget);
}

Result<PushPieces> PushSender::next_planned(size_t budget) {
  PushPieces out;
  while (run_ < runs_.size() && out.bytes < budget) {
    const Run& run = runs_[run_];
    if (position_ < run.begin) position_ = run.begin;
    // Copies are counted in whole blocks.
    uint64_t end = std::min<uint64_t>(run.end, position_ + kReadBytes);
    if (run.copy && end < run.end) end -= (end - run.begin) % head_.block_length;
    PushPieces::Piece piece;
    const BufferPool::Buffer buffer = buffers_.get(static_cast<size_t>(end - position_));
    const size_t size = buffer.bytes.size();
    if (auto read = snapshot_->read(position_, buffer.bytes); !read) return read.error();
    digest_.update(buffer.bytes);
    out.bytes += size;
    if (run.copy) {
      piece.block = static_cast<uint32_t>(position_ / head_.block_length);
      piece.blocks = static_cast<uint32_t>((size + head_.block_length - 1) / head_.block_length);
    } else {
      out.literal_bytes += size;
      piece.literal = buffer.shared();
    }
    out.pieces.push_back(std::move(piece));
    position_ = end;
    if (position_ == run.end) ++run_;
  }
  if (run_ == runs_.size()) out.digest = digest_.finish();
  return out;
}

Result<PushPieces> PushSender::next_matched(size_t budget) {
  PushPieces out;
  while (out.bytes < budget) {
    const auto found = matcher_->next();
    if (!found) return found.error();
    if (found->what == MatchedPiece::What::kEnd) {
      out.digest = digest_.finish();
      return out;
    }
    digest_.update(found->bytes);
    out.bytes += found->bytes.size();
    PushPieces::Piece piece;
    if (found->what == MatchedPiece::What::kCopy) {
      piece.block = found->block;
      piece.blocks = 1;
    } else {
      const BufferPool::Buffer buffer = buffers_.get(found->bytes.size());
      std::copy(found->bytes.begin(), found->bytes.end(), buffer.bytes.begin());
      out.literal_bytes += found->bytes.size();
      piece.literal = buffer.shared();
    }
    out.pieces.push_back(std::move(piece));
  }
  return out;
}

}  // namespace rsyncfs
