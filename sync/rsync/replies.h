// SPDX-License-Identifier: GPL-3.0-or-later
// The requests that a sender has not answered yet, and the reading of its answers. Source: rsync's
// receiver.c, sender.c, rsync.c, xattrs.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "sync/rsync/checksum.h"
#include "sync/rsync/item_stream.h"
#include "sync/rsync/opening.h"
#include "sync/rsync/pull_session.h"
#include "sync/rsync/sum_head.h"
#include "sync/rsync/token_reader.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

// A request that has no answer yet.
struct PendingRequest {
  uint32_t ndx = 0;
  FileSink* sink = nullptr;  // null: extended attributes are asked for
  SumHead head;
  uint64_t offset = 0;  // of the first byte: append requests
  bool append = false;
};

// The file whose tokens are being read.
struct FileInFlight {
  PendingRequest request;
  std::optional<Digest> digest;
  uint64_t offset = 0;
  uint64_t limit = 0;
  std::optional<Error> sink_error;
};

// Values being read.
struct XattrAnswer {
  uint32_t ndx = 0;
  int64_t number = 0;
  std::set<uint32_t> wanted;     // numbers asked for and not seen yet
  size_t bytes_left = 0;         // of what is accepted in all
  std::string* value = nullptr;  // being filled
  size_t value_left = 0;
  std::map<uint32_t, std::string> values;  // by number
};

// As it is written behind what is to be listed.
void write_first_request(const FirstRequest& first, ByteQueue& out);

class Replies : private TokenHandler {
 public:
  // `list` and `numbers` (see FileListDecoder::xattr_numbers) belong to the session. `append_mode`: the
  // server was called with --append.
  Replies(const Agreement& agreement, const PullLimits& limits, bool append_mode, const FileList& list,
          std::unordered_map<uint32_t, std::vector<uint32_t>> numbers, PullEvents& events);

  // It is on its way already: the request that comes first is that, and writes nothing.
  void expect_first(const FirstRequest& first) { first_ = first; }
  // Each writes its request's bytes to `out`, unframed.
  void request_file(uint32_t ndx, const BlockSums& sums, FileSink& sink, ByteQueue& out);
  void request_append(uint32_t ndx, uint64_t offset, FileSink& sink, ByteQueue& out);
  // As PullSession::request_xattrs().
  bool request_xattrs(uint32_t ndx, ByteQueue& out);
  void write_done(ByteQueue& out) { out_ndx_.write(out, kNdxDone); }

  // Takes what it can; data without an unanswered request is an error.
  Result<Parsed> parse(std::span<const std::byte> data);
  // The sender declined `ndx`; it says so ahead of earlier answers.
  Result<void> not_sent(uint32_t ndx, Error reason);
  size_t unanswered() const { return pending_.size() + (current_ ? 1 : 0); }
  NdxCoder& in_ndx() { return in_ndx_; }

 private:
  enum class Phase : uint8_t { kHead, kTokens, kDigest, kXattrs, kXattrValue };

  Result<void> parse_head(WireReader& in);
  Result<void> parse_digest(WireReader& in);
  Result<void> parse_xattr_number(WireReader& in);
  size_t take_xattr_value(std::span<const std::byte> data);
  void finish_xattrs();
  void begin_xattrs(uint32_t ndx);
  std::set<uint32_t> wanted_xattrs(uint32_t set) const;
  void check_requestable(uint32_t ndx) const;
  void write_head(const PendingRequest& request, ByteQueue& out);
  static void refuse_append(FileSink& sink);
  void begin_file(const PendingRequest& request);
  void finish_file(const ChecksumValue& sent);
  Result<void> on_literal(std::span<const std::byte> data) override;
  Result<void> on_block(uint32_t index) override;
  Result<void> grow(uint64_t size);
  uint32_t xattr_number(uint32_t set, size_t place) const;

  Agreement agreement_;
  PullLimits limits_;
  const bool append_mode_;
  std::set<uint32_t> requested_;  // entries, in append mode
  const FileList& list_;
  std::unordered_map<uint32_t, std::vector<uint32_t>> xattr_numbers_;
  PullEvents& events_;
  std::optional<FirstRequest> first_;  // until it is requested
  NdxCoder out_ndx_;
  NdxCoder in_ndx_;
  std::deque<PendingRequest> pending_;
  std::unique_ptr<TokenReader> tokens_;
  Phase phase_ = Phase::kHead;
  std::optional<FileInFlight> current_;
  std::optional<XattrAnswer> xattr_answer_;
  // Sets asked for: a sender gives each value once. The entries wait for the answer; empty = answered.
  std::map<uint32_t, std::vector<uint32_t>> xattr_waiters_;
};

}  // namespace rsyncfs
