// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/answers.h"

#include <algorithm>
#include <utility>

#include "sync/rsync/mux.h"

namespace rsyncfs {

namespace {
// A generator speaks of an entry a few times at most: its contents, those once more, its attributes.
constexpr size_t kMaxPendingPerEntry = 4;
constexpr size_t kMaxPendingBeside = 16;
// Requests come in the two transfer phases only.
constexpr int kTransferPhases = 2;
}  // namespace

Answers::Answers(const Agreement& agreement, int compress_level, bool append, const PushList& list,
                 OutputQueue& out)
    : agreement_(agreement),
      append_(append),
      list_(list),
      out_(out),
      tokens_(TokenWriter::create(agreement.compression, compress_level)),
      sent_(list.size(), false) {}

Result<void> Answers::echo(GeneratorItem item) {
  return add({.what = Pending::What::kItem, .item = std::move(item)});
}

Result<void> Answers::expect_answer(GeneratorItem item, size_t sum_bytes) {
  if (dones_ >= kTransferPhases) return Error(Errc::kProtocol, "the server asks for contents too late");
  if (auto added = add({.what = Pending::What::kRequest, .item = std::move(item), .sum_bytes = sum_bytes});
      !added.ok()) {
    return added;
  }
  sum_bytes_ += sum_bytes;
  ++unanswered_;
  return {};
}

Result<void> Answers::end_phase() {
  if (finished()) return Error(Errc::kProtocol, "the server ends more phases than there are");
  ++dones_;
  if (!finished()) return add({.what = Pending::What::kDone, .item = {}});
  if (!pending_.empty()) return Error(Errc::kProtocol, "the server ended without waiting for its answers");
  return {};
}

Result<void> Answers::add(Pending pending) {
  if (finished()) return Error(Errc::kProtocol, "the server goes on after its end");
  if (pending_.size() >= kMaxPendingPerEntry * list_.size() + kMaxPendingBeside) {
    return Error(Errc::kLimit, "the server asks for too much at once");
  }
  pending_.push_back(std::move(pending));
  say_what_can_be();
  return {};
}

void Answers::say_what_can_be() {
  while (!pending_.empty() && pending_.front().what != Pending::What::kRequest) {
    const Pending& next = pending_.front();
    if (next.what == Pending::What::kDone) {
      ndx_.write(scratch_, kNdxDone);
    } else {
      write_head(next.item, scratch_);
    }
    pending_.pop_front();
  }
  write_scratch();
}

void Answers::remove(const std::deque<Pending>::const_iterator& request) {
  sum_bytes_ -= request->sum_bytes;
  --unanswered_;
  pending_.erase(request);
}

void Answers::decline(uint32_t ndx) {
  const auto request = std::ranges::find_if(pending_, [&](const Pending& pending) {
    return pending.what == Pending::What::kRequest && pending.item.ndx == ndx;
  });
  RSYNCFS_CHECK(request != pending_.end() && !(file_ && request == pending_.begin()));
  remove(request);
  ByteQueue number;
  number.append_le32(ndx);
  mux_write_message(out_.tail(), MuxTag::kNoSend, number.readable());
  if (!file_) say_what_can_be();
}

void Answers::begin_file(uint32_t ndx, const SumHead& head) {
  RSYNCFS_CHECK(!file_ && !pending_.empty());
  const Pending& next = pending_.front();
  RSYNCFS_CHECK(next.what == Pending::What::kRequest && next.item.ndx == ndx);
  RSYNCFS_CHECK(head.block_length <= kMaxBlockLength && head.remainder <= head.block_length);
  RSYNCFS_CHECK(head.strong_length <= checksum_size(agreement_.checksum));
  // A copy of what is not there ends the session, and all that is in it.
  RSYNCFS_CHECK(head.count == 0 || (head.block_length > 0 && (next.item.iflags & kItemIsNew) == 0));
  // The tail goes where the head says that the remote file ends.
  RSYNCFS_CHECK(!append_ || next.item.again || head == next.item.head);
  write_head(next.item, scratch_);
  head.write(scratch_);
  write_scratch();
  file_ = head;
  tokens_->begin();
}

void Answers::literal(std::span<const std::byte> data) {
  RSYNCFS_CHECK(file_.has_value());
  tokens_->literal(data, scratch_);
  write_scratch();
}

// The bytes stay where they are until they are sent.
void Answers::literal(const SharedBytes& data) {
  if (!tokens_->is_plain()) return literal(data.bytes);
  RSYNCFS_CHECK(file_.has_value());
  for (size_t at = 0; at < data.bytes.size();) {
    const SharedBytes piece = data.from(at).first(std::min(data.bytes.size() - at, kMaxPlainLiteral));
    const auto length = static_cast<uint32_t>(piece.bytes.size());
    mux_write_head(out_.tail(), MuxTag::kData, sizeof(length) + length);
    out_.tail().append_le32(length);
    out_.append_shared(piece);
    at += length;
  }
}

void Answers::copy(uint32_t block) {
  RSYNCFS_CHECK(file_ && block < file_->count);
  tokens_->copy(block, scratch_);
  write_scratch();
}

void Answers::end_file(const ChecksumValue& digest) {
  RSYNCFS_CHECK(file_ && digest.size == checksum_size(agreement_.checksum));
  tokens_->end(scratch_);
  scratch_.append(digest.span());
  write_scratch();
  file_.reset();
  sent_[pending_.front().item.ndx] = true;
  remove(pending_.begin());
  say_what_can_be();
}

void Answers::write_head(const GeneratorItem& item, ByteQueue& out) {
  ndx_.write(out, static_cast<int32_t>(item.ndx));
  out.append_le16(item.iflags);
  if ((item.iflags & kItemBasisType) != 0) out.append_u8(item.basis_type);
  if ((item.iflags & kItemExtraName) != 0) write_vstring(out, item.xname);
  if (item.xattrs_asked) write_xattrs(item, out);
}

// A value that is not known here is left out: the server then keeps its own, or complains.
void Answers::write_xattrs(const GeneratorItem& item, ByteQueue& out) const {
  uint32_t previous = 0;
  for (const uint32_t number : item.xattrs) {
    const PushXattr& x = list_.entry(item.ndx).xattrs[number - 1];
    if (x.abbreviated) continue;
    write_varint(out, static_cast<int32_t>(number - previous));
    previous = number;
    write_varint(out, static_cast<int32_t>(x.value.size()));
    out.append(x.value);
  }
  out.append_u8(0);
}

void Answers::write_scratch() {
  mux_write_data(out_.tail(), scratch_.readable());
  scratch_.clear();
}

}  // namespace rsyncfs
