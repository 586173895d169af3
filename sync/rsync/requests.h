// SPDX-License-Identifier: GPL-3.0-or-later
// What a generator sends: items, requests for contents with their block sums, the ends of its phases. Source:
// rsync's rsync.c read_ndx_and_attrs(), sender.c receive_sums(), xattrs.c recv_xattr_request().
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/checksum.h"
#include "sync/rsync/item_stream.h"
#include "sync/rsync/opening.h"
#include "sync/rsync/push_list.h"
#include "sync/rsync/push_session.h"
#include "sync/rsync/sum_head.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

// One thing said about an entry. With kItemTransfer a request: its head and sums count.
struct GeneratorItem {
  uint32_t ndx = 0;
  uint16_t iflags = 0;
  uint8_t basis_type = kBasisOwn;
  std::string xname;
  bool xattrs_asked = false;     // even if for no value
  std::vector<uint32_t> xattrs;  // places, from 1, of values asked for, ascending
  SumHead head;
  BlockSums sums;
  bool sums_dropped = false;
  bool again = false;
};

// Receives what a Requests finds. An error returned ends the reading.
class GeneratorHandler {
 public:
  virtual ~GeneratorHandler() = default;
  virtual Result<void> on_generator_item(GeneratorItem item) = 0;
  virtual Result<void> on_generator_done() = 0;
  // Whether the entry's contents have been sent in this session.
  virtual bool was_sent(uint32_t ndx) const = 0;
  // How much memory the sums of the request being read may take.
  virtual size_t sum_bytes_left() const = 0;
};

class Requests {
 public:
  // `append`: the server was called with --append. `list` and `handler` belong to the session.
  Requests(const Agreement& agreement, bool xattrs, bool append, const PushList& list,
           GeneratorHandler& handler);

  Result<Parsed> parse(std::span<const std::byte> data);

 private:
  enum class Phase : uint8_t { kHead, kDeleteCounts, kXattrs, kSumHead, kSums };

  Result<void> step(WireReader& in);
  Result<void> parse_head(WireReader& in);
  Result<void> parse_delete_count(WireReader& in);
  Result<void> parse_xattr(WireReader& in);
  Result<void> parse_sum_head(WireReader& in);
  Result<void> parse_sum(WireReader& in);
  Result<void> after_head();
  Result<void> after_xattrs();
  Result<void> finish_item();
  Result<void> check_item() const;

  Agreement agreement_;
  const bool xattrs_;
  const bool append_;
  const PushList& list_;
  GeneratorHandler& handler_;
  NdxCoder ndx_;
  Phase phase_ = Phase::kHead;
  GeneratorItem item_;
  int64_t xattr_number_ = 0;
  uint32_t sums_left_ = 0;
  int delete_counts_left_ = 0;
};

}  // namespace rsyncfs
