// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/replies.h"

#include <sys/stat.h>

#include <algorithm>

#include "sync/rsync/item_flags.h"

namespace rsyncfs {

namespace {

// "I have this much": block sums are announced but, in append mode, not sent.
SumHead append_head(uint64_t offset) {
  if (offset == 0) return {};
  const uint64_t count = (offset + kMaxBlockLength - 1) / kMaxBlockLength;
  return {static_cast<uint32_t>(count), kMaxBlockLength, 0, static_cast<uint32_t>(offset % kMaxBlockLength)};
}

void write_transfer(NdxCoder& coder, uint32_t ndx, const SumHead& head, ByteQueue& out) {
  coder.write(out, static_cast<int32_t>(ndx));
  out.append_le16(kItemTransfer);
  head.write(out);
}

}  // namespace

void write_first_request(const FirstRequest& first, ByteQueue& out) {
  NdxCoder coder;
  write_transfer(coder, first.ndx, append_head(first.offset), out);
}

Replies::Replies(const Agreement& agreement, const PullLimits& limits, bool append_mode, const FileList& list,
                 std::unordered_map<uint32_t, std::vector<uint32_t>> numbers, PullEvents& events)
    : agreement_(agreement),
      limits_(limits),
      append_mode_(append_mode),
      list_(list),
      xattr_numbers_(std::move(numbers)),
      events_(events),
      tokens_(TokenReader::create(agreement.compression)) {}

void Replies::check_requestable(uint32_t ndx) const {
  RSYNCFS_CHECK(ndx < list_.size() && list_.entry(ndx).usable());
}

void Replies::request_file(uint32_t ndx, const BlockSums& sums, FileSink& sink, ByteQueue& out) {
  check_requestable(ndx);
  RSYNCFS_CHECK(S_ISREG(list_.entry(ndx).mode));
  PendingRequest request{.ndx = ndx, .sink = &sink, .head = {}};
  // Without a strong sum a match could not be trusted: ask for the whole file.
  const bool with_sums = !sums.empty() && agreement_.checksum != ChecksumKind::kNone;
  if (with_sums) {
    RSYNCFS_CHECK(sums.block_length > 0 && sums.block_length <= kMaxBlockLength && sums.strong_length > 0);
    RSYNCFS_CHECK(sums.strong_length <= checksum_size(agreement_.checksum) &&
                  sums.remainder < sums.block_length);
    RSYNCFS_CHECK(sums.blocks.size() <= 0x7fffffff);
    request.head = {static_cast<uint32_t>(sums.blocks.size()), sums.block_length, sums.strong_length,
                    sums.remainder};
  }
  // An --append sender reads no sums: they would be taken for the next request.
  RSYNCFS_CHECK(!append_mode_ || request.head.count == 0);
  if (append_mode_) requested_.insert(ndx);
  write_head(request, out);
  for (size_t i = 0; i < request.head.count; ++i) {
    out.append_le32(sums.blocks[i].rolling);
    out.append(sums.blocks[i].strong.span().first(sums.strong_length));
  }
  pending_.push_back(request);
}

void Replies::request_append(uint32_t ndx, uint64_t offset, FileSink& sink, ByteQueue& out) {
  check_requestable(ndx);
  RSYNCFS_CHECK(S_ISREG(list_.entry(ndx).mode));
  // A sender appends to an entry once and then waits for sums.
  RSYNCFS_CHECK(append_mode_ && requested_.insert(ndx).second);
  PendingRequest request{.ndx = ndx, .sink = &sink, .head = {}, .offset = offset, .append = true};
  if (offset > kMaxAppendOffset) return refuse_append(sink);
  request.head = append_head(offset);
  write_head(request, out);
  pending_.push_back(request);
}

void Replies::write_head(const PendingRequest& request, ByteQueue& out) {
  if (!first_) return write_transfer(out_ndx_, request.ndx, request.head, out);
  RSYNCFS_CHECK(request.ndx == first_->ndx && request.head == append_head(first_->offset));
  first_.reset();
  ByteQueue sent;
  write_transfer(out_ndx_, request.ndx, request.head, sent);
}

// A source may list files of any size; the wire counts their blocks in 31 bits.
void Replies::refuse_append(FileSink& sink) {
  FileEnd end;
  end.status = FileEnd::Status::kNotSent;
  end.reason = Error(Errc::kLimit, "rsync cannot begin so deep in a file");
  sink.done(std::move(end));
}

Result<Parsed> Replies::parse(std::span<const std::byte> data) {
  Parsed parsed;
  while (parsed.consumed < data.size()) {
    const auto rest = data.subspan(parsed.consumed);
    // After each answer the session decides who reads on: the caller may have ended it.
    if (phase_ == Phase::kHead && parsed.consumed > 0) break;
    if (phase_ == Phase::kTokens) {
      auto tokens = tokens_->parse(rest, *this);
      if (!tokens.ok()) return tokens.error();
      parsed.consumed += tokens->consumed;
      parsed.need = tokens->need;
      if (!tokens_->ended()) return parsed;
      phase_ = Phase::kDigest;
      continue;
    }
    if (phase_ == Phase::kXattrValue) {
      parsed.consumed += take_xattr_value(rest);
      continue;
    }
    WireReader in(rest);
    const Result<void> taken = phase_ == Phase::kHead     ? parse_head(in)
                               : phase_ == Phase::kDigest ? parse_digest(in)
                                                          : parse_xattr_number(in);
    if (!taken.ok()) return taken.error();
    if (in.is_bad()) return Error(Errc::kProtocol, std::string("in a reply: ") + in.bad());
    if (in.is_short()) {
      parsed.need = in.need();
      return parsed;
    }
    parsed.consumed += in.position();
  }
  parsed.need = 0;
  return parsed;
}

Result<void> Replies::parse_head(WireReader& in) {
  NdxCoder coder = in_ndx_;
  const int32_t ndx = coder.read(in);
  if (!in.ok()) return {};
  if (ndx == kNdxDone) return Error(Errc::kDisconnected, "the server stopped serving files");
  if (pending_.empty()) return Error(Errc::kProtocol, "the server sent a reply to nothing");
  const PendingRequest& expected = pending_.front();
  if (ndx < 0 || static_cast<uint32_t>(ndx) != expected.ndx) {
    return Error(Errc::kProtocol, "the server answered entry " + std::to_string(ndx) + " instead of " +
                                      std::to_string(expected.ndx));
  }
  const uint16_t flags = in.le16();
  if ((flags & kItemBasisType) != 0) in.u8();
  if ((flags & kItemExtraName) != 0) in.vstring();
  const bool transfer = (flags & kItemTransfer) != 0;
  const SumHead head = transfer ? SumHead::read(in) : SumHead();
  if (!in.ok()) return {};
  const bool as_asked = expected.sink != nullptr
                            ? transfer && (flags & kItemXattr) == 0 && head == expected.head
                            : !transfer && (flags & kItemXattr) != 0;
  if (!as_asked) return Error(Errc::kProtocol, "the server's reply does not fit the request");
  in_ndx_ = coder;
  const PendingRequest request = expected;
  pending_.pop_front();
  if (request.sink != nullptr) {
    begin_file(request);
  } else {
    begin_xattrs(request.ndx);
  }
  return {};
}

void Replies::begin_file(const PendingRequest& request) {
  current_.emplace();
  current_->request = request;
  if (!request.sink->digests()) current_->digest.emplace(agreement_.checksum);
  current_->offset = request.offset;
  const uint64_t listed = std::max(list_.entry(request.ndx).size, request.offset);
  current_->limit = listed + std::min(limits_.max_file_excess, UINT64_MAX - listed);
  phase_ = Phase::kTokens;
  tokens_->begin(request.append ? 0 : request.head.count);
  request.sink->begin();
}

Result<void> Replies::grow(uint64_t size) {
  if (size > current_->limit - current_->offset) {
    return Error(Errc::kLimit, "a file is much longer than it was listed: " +
                                   list_.path(list_.entry(current_->request.ndx)));
  }
  return {};
}

Result<void> Replies::on_literal(std::span<const std::byte> data) {
  if (auto grown = grow(data.size()); !grown.ok()) return grown;
  const uint64_t offset = current_->offset;
  current_->offset += data.size();
  if (current_->sink_error) return {};
  if (current_->digest) current_->digest->update(data);
  if (auto stored = current_->request.sink->literal(offset, data); !stored.ok()) {
    current_->sink_error = stored.error();
  }
  return {};
}

Result<void> Replies::on_block(uint32_t index) {
  const SumHead& head = current_->request.head;
  const bool short_block = index + 1 == head.count && head.remainder != 0;
  const uint32_t length = short_block ? head.remainder : head.block_length;
  if (auto grown = grow(length); !grown.ok()) return grown;
  const uint64_t offset = current_->offset;
  current_->offset += length;
  if (current_->sink_error) return {};
  const uint64_t basis_offset = uint64_t{index} * head.block_length;
  auto block = current_->request.sink->copy(offset, basis_offset, length);
  if (!block.ok()) {
    current_->sink_error = block.error();
  } else if (!current_->digest) {
    return {};
  } else if (block->size() != length) {
    current_->sink_error = Error(Errc::kCorrupt, "the old copy is shorter than its sums say");
  } else {
    current_->digest->update(*block);
  }
  return {};
}

Result<void> Replies::parse_digest(WireReader& in) {
  ChecksumValue sent;
  const auto raw = in.bytes(checksum_size(agreement_.checksum));
  if (!in.ok()) return {};
  sent.size = static_cast<uint8_t>(raw.size());
  std::copy(raw.begin(), raw.end(), sent.bytes.begin());
  finish_file(sent);
  return {};
}

void Replies::finish_file(const ChecksumValue& sent) {
  FileEnd end;
  end.size = current_->offset;
  if (current_->sink_error) {
    end.status = FileEnd::Status::kBadDigest;
    end.reason = *current_->sink_error;
  } else if (!current_->digest) {
    end.digest = sent;
  } else if (agreement_.checksum != ChecksumKind::kNone) {
    end.digest = current_->digest->finish();
    if (*end.digest != sent) {
      end.status = FileEnd::Status::kBadDigest;
      end.reason =
          Error(Errc::kCorrupt, "the file's digest does not match: a read error, or it changed meanwhile");
    }
  }
  FileSink* sink = current_->request.sink;
  current_.reset();
  phase_ = Phase::kHead;
  sink->done(std::move(end));
}

Result<void> Replies::not_sent(uint32_t ndx, Error reason) {
  // The last of equal requests: this message overtakes the answers to earlier ones.
  const auto at = std::find_if(pending_.rbegin(), pending_.rend(),
                               [&](const PendingRequest& p) { return p.ndx == ndx && p.sink != nullptr; });
  if (at == pending_.rend())
    return Error(Errc::kProtocol, "the server declined a file that was not asked for");
  FileSink* sink = at->sink;
  pending_.erase(std::next(at).base());
  FileEnd end;
  end.status = FileEnd::Status::kNotSent;
  end.reason = std::move(reason);
  sink->done(std::move(end));
  return {};
}

}  // namespace rsyncfs
