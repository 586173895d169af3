// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/delta_assembly.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rsyncfs {

namespace {
// Others wait for the strand.
constexpr uint64_t kStepBytes = 4 << 20;
}  // namespace

DeltaAssembly::DeltaAssembly(Replica& replica, FileTarget target, std::shared_ptr<const Content> basis,
                             ChecksumKind kind, bool may_grow)
    : replica_(replica),
      target_(std::move(target)),
      basis_(std::move(basis)),
      kind_(kind),
      may_grow_(may_grow),
      digest_(kind),
      in_place_(may_grow) {}

void DeltaAssembly::add(std::vector<DeltaPiece> pieces) {
  for (DeltaPiece& piece : pieces) {
    if (!piece.copy) literal_bytes_ += piece.literal.size();
    pieces_.push_back(std::move(piece));
  }
}

Result<bool> DeltaAssembly::step() {
  uint64_t left = kStepBytes;
  while (left > 0 && !pieces_.empty()) {
    DeltaPiece& piece = pieces_.front();
    if (!piece.copy) {
      if (auto done = take(piece.literal, false); !done) return done.error();
      literal_bytes_ -= piece.literal.size();
      left -= std::min<uint64_t>(left, piece.literal.size());
      pieces_.pop_front();
      continue;
    }
    const uint64_t count = std::min(left, piece.length);
    const auto bytes = basis_->unchecked_view(piece.from, count);
    if (!bytes || bytes->size() != count)
      return Error(Errc::kProtocol, "a block that is not here is referred to");
    if (auto done = take(*bytes, piece.from == position_); !done) return done.error();
    piece.from += count;
    piece.length -= count;
    left -= count;
    if (piece.length == 0) pieces_.pop_front();
  }
  if (auto done = catch_up(left); !done) return done.error();
  return !pieces_.empty() || caught_up_ < left_place_;
}

Result<void> DeltaAssembly::take(std::span<const std::byte> bytes, bool in_its_place) {
  digest_.update(bytes);
  sent_size_ += bytes.size();
  if (in_place_ && !in_its_place && !equals_basis(bytes)) {
    if (auto done = leave_place(); !done) return done;
  }
  const uint64_t before = position_;
  // What came after the end that was listed is of no version that anybody knows.
  const uint64_t room = target_.size - std::min(target_.size, before);
  bytes = bytes.first(std::min<uint64_t>(bytes.size(), room));
  position_ += bytes.size();
  if (in_place_) {
    const uint64_t known =
        std::min<uint64_t>(basis_->size() - std::min(basis_->size(), before), bytes.size());
    bytes = bytes.subspan(known);
    if (bytes.empty()) return {};
    if (!writer_) {
      auto writer = replica_.extend_content(target_.node, target_.size);
      if (!writer) return writer.error();
      writer_ = std::move(*writer);
    }
    return writer_->write(before + known, bytes);
  }
  if (!writer_) {
    auto writer = replica_.create_content(target_.node, target_.size);
    if (!writer) return writer.error();
    writer_ = std::move(*writer);
  }
  return writer_->write(before, bytes);
}

bool DeltaAssembly::equals_basis(std::span<const std::byte> bytes) const {
  if (position_ >= basis_->size()) return true;
  const auto old = basis_->unchecked_view(position_, bytes.size());
  return old && std::memcmp(old->data(), bytes.data(), old->size()) == 0;
}

// It is another file, of which the beginning may still be that of the basis.
Result<void> DeltaAssembly::leave_place() {
  in_place_ = false;
  left_place_ = position_;
  writer_.reset();
  auto writer = replica_.create_content(target_.node, target_.size);
  if (!writer) return writer.error();
  writer_ = std::move(*writer);
  return {};
}

Result<void> DeltaAssembly::catch_up(uint64_t bytes) {
  const uint64_t count = std::min(bytes, left_place_ - caught_up_);
  if (count == 0) return {};
  const auto old = basis_->unchecked_view(caught_up_, count);
  RSYNCFS_CHECK(old && old->size() == count);
  if (auto done = writer_->write(caught_up_, *old); !done) return done;
  caught_up_ += count;
  return {};
}

Result<DeltaResult> DeltaAssembly::finish(const ChecksumValue& sent) {
  if (digest_.finish() != sent) {
    return Error(Errc::kCorrupt, "what was put together is not what the source has");
  }
  DeltaResult out;
  out.version = target_.version();
  out.sent_size = sent_size_;
  out.grown = in_place_ && position_ >= basis_->size();
  if (!out.grown && !writer_) {
    // Empty, or cut short.
    auto writer = replica_.create_content(target_.node, position_);
    if (!writer) return writer.error();
    writer_ = std::move(*writer);
    if (in_place_) {
      for (uint64_t at = 0; at < position_;) {
        const auto old = basis_->unchecked_view(at, std::min(kStepBytes, position_ - at));
        RSYNCFS_CHECK(old.has_value() && !old->empty());
        if (auto done = writer_->write(at, *old); !done) return done.error();
        at += old->size();
      }
    }
  }
  out.writer = std::move(writer_);
  const auto digest = sent.span();
  out.digest.assign(reinterpret_cast<const char*>(digest.data()), digest.size());  // NOLINT: bytes as text
  out.digest_name = checksum_name(kind_);
  return out;
}

}  // namespace rsyncfs
