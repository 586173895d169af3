// SPDX-License-Identifier: GPL-3.0-or-later
// What is sent of a complete content to find out whether the source has the same bytes, and the digest that
// the source then has to have.
#pragma once

#include <cstdint>
#include <memory>

#include "sync/replica/content.h"
#include "sync/rsync/checksum.h"

namespace rsyncfs {

// Where nothing differs a block costs its sums and its token, whatever its length: so they are as long, and
// their strong sums as short, as rsync takes them. What decides is the digest of the whole. One thread at a
// time.
class ComparisonSums {
 public:
  // `content` is complete.
  ComparisonSums(std::shared_ptr<const Content> content, ChecksumKind kind, int32_t seed);

  // Reads about so many bytes more. False: that was all, or it is damaged.
  bool compute(uint64_t bytes);
  // Some of it is not to be had any more, though it was complete.
  bool damaged() const { return damaged_; }
  // Both once compute() has said false, unless it is damaged.
  const BlockSums& sums() const { return sums_; }
  const ChecksumValue& digest() const { return whole_; }

 private:
  std::shared_ptr<const Content> content_;
  const ChecksumKind kind_;
  const int32_t seed_;
  BlockSums sums_;
  Digest digest_;
  ChecksumValue whole_;
  uint64_t position_ = 0;
  bool over_ = false;
  bool damaged_ = false;
};

}  // namespace rsyncfs
