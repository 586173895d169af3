// SPDX-License-Identifier: GPL-3.0-or-later
// What a sender says to a generator's items, requests and phases, in their order. Source: rsync's sender.c,
// send_files(); main.c, read_final_goodbye().
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/output_queue.h"
#include "io/base/result.h"
#include "sync/rsync/opening.h"
#include "sync/rsync/push_list.h"
#include "sync/rsync/requests.h"
#include "sync/rsync/token_writer.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

class Answers {
 public:
  // Writes frames to `out`. `append`: the server was called with --append. `list` and `out` belong to the
  // session.
  Answers(const Agreement& agreement, int compress_level, bool append, const PushList& list,
          OutputQueue& out);

  // What the generator said. Items and phases are echoed when all before them is answered. kProtocol, kLimit.
  Result<void> echo(GeneratorItem item);
  Result<void> expect_answer(GeneratorItem item, size_t sum_bytes);
  Result<void> end_phase();

  // As PushSession's.
  void decline(uint32_t ndx);
  void begin_file(uint32_t ndx, const SumHead& head);
  void literal(std::span<const std::byte> data);
  void literal(const SharedBytes& data);
  void copy(uint32_t block);
  void end_file(const ChecksumValue& digest);

  bool was_sent(uint32_t ndx) const { return sent_[ndx]; }
  size_t unanswered() const { return unanswered_; }
  size_t sum_bytes() const { return sum_bytes_; }  // of unanswered requests
  // Everything was said on both sides.
  bool finished() const { return dones_ == all_dones(); }

 private:
  // One thing to be said. A request waits for its answer; the rest waits for what is before it.
  struct Pending {
    enum class What : uint8_t { kItem, kRequest, kDone };
    What what = What::kDone;
    GeneratorItem item;
    size_t sum_bytes = 0;
  };

  int all_dones() const { return agreement_.protocol >= 31 ? 5 : 4; }
  Result<void> add(Pending pending);
  void say_what_can_be();
  void remove(const std::deque<Pending>::const_iterator& request);
  void write_head(const GeneratorItem& item, ByteQueue& out);
  void write_xattrs(const GeneratorItem& item, ByteQueue& out) const;
  void write_scratch();

  Agreement agreement_;
  const bool append_;
  const PushList& list_;
  OutputQueue& out_;
  NdxCoder ndx_;
  std::unique_ptr<TokenWriter> tokens_;
  std::deque<Pending> pending_;
  std::vector<bool> sent_;  // by ndx
  size_t unanswered_ = 0;
  size_t sum_bytes_ = 0;
  int dones_ = 0;                // received
  std::optional<SumHead> file_;  // of the file being sent
  ByteQueue scratch_;
};

}  // namespace rsyncfs
