// SPDX-License-Identifier: GPL-3.0-or-later
// One file's answer to a request for contents: first whether what the source has is what may be replaced,
// then the pieces of the new contents. Reads and computes: for an executor's threads, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "io/base/buffer_pool.h"
#include "io/base/result.h"
#include "sync/replica/content.h"
#include "sync/replica/pending.h"
#include "sync/rsync/block_match.h"
#include "sync/rsync/push_session.h"

namespace rsyncfs {

// How the blocks that the source has are found again in the new contents.
enum class PushBasis : uint8_t {
  kNothing,   // the source has no such file
  kOwn,       // it has the snapshot's base: what was not changed here is where it was
  kOther,     // it has other contents: searched for
  kAppended,  // it has all but the end
};

struct PushPieces {
  struct Piece {
    SharedBytes literal;  // empty: a copy
    uint32_t block = 0;
    uint32_t blocks = 0;  // so many from there on
  };
  std::vector<Piece> pieces;
  uint64_t literal_bytes = 0;
  uint64_t bytes = 0;                   // of the new contents, copies included
  std::optional<ChecksumValue> digest;  // set with the last pieces
};

class PushSender {
 public:
  // Of the session that asks.
  struct Wire {
    ChecksumKind checksum;
    int32_t seed;
    bool names_runs;  // blocks that follow one another cost no more than one (compressed tokens)
  };
  // `occupant`: contents that the source is thought to have, with kOther; null: not known here.
  PushSender(std::shared_ptr<PushSnapshot> snapshot, PushBasis basis, std::shared_ptr<const Content> occupant,
             PushRequest request, const Wire& wire, BufferPool& buffers);

  // Whether the source has what it may lose: its blocks are those of base where base's bytes are here, or
  // everything that it has is in the new contents at the same place anyway (a push whose acknowledgement was
  // lost). False: somebody else's version.
  Result<bool> examine();
  // After examine() said yes: about `budget` bytes more, until a digest comes with them.
  Result<PushPieces> next(size_t budget);
  const SumHead& head() const { return head_; }

 private:
  struct Run {  // of the new contents
    uint64_t begin = 0;
    uint64_t end = 0;
    bool copy = false;
  };
  uint64_t size() const { return snapshot_->node().attr.size; }
  uint64_t offset_of(uint32_t block) const { return uint64_t{block} * request_.head.block_length; }
  bool same_block(uint32_t block, std::span<const std::byte> bytes) const;
  bool is_kept(uint64_t begin, uint64_t end) const;
  Result<bool> matches_base() const;
  Result<bool> matches_new() const;
  Result<bool> base_block(uint32_t block, std::vector<std::byte>& out) const;
  uint64_t kept_end() const;
  uint32_t choose_block_length() const;
  void plan_copies();
  void add_run(uint64_t begin, uint64_t end, bool copy);
  Result<PushPieces> next_planned(size_t budget);
  Result<PushPieces> next_matched(size_t budget);

  const std::shared_ptr<PushSnapshot> snapshot_;
  PushBasis basis_;
  const std::shared_ptr<const Content> occupant_;
  const PushRequest request_;
  const ChecksumKind kind_;
  const bool names_runs_;
  const int32_t seed_;
  BufferPool& buffers_;
  SumHead head_;  // of the answer
  Digest digest_;
  std::vector<Run> runs_;
  size_t run_ = 0;
  uint64_t position_ = 0;
  std::unique_ptr<BlockMatcher> matcher_;
};

}  // namespace rsyncfs
