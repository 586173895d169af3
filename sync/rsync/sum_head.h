// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>

#include "io/base/byte_queue.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

// The four numbers before block sums: what a receiver says of its old copy, and what a sender's tokens speak
// of. Only the last block may be short. Source: rsync's io.c, read_sum_head().
struct SumHead {
  uint32_t count = 0;
  uint32_t block_length = 0;
  uint32_t strong_length = 0;
  uint32_t remainder = 0;  // length of the last block, 0 = full

  bool operator==(const SumHead&) const = default;
  // Bytes of the copy they describe.
  uint64_t size() const {
    const uint64_t full = uint64_t{count} * block_length;
    return count > 0 && remainder > 0 ? full - block_length + remainder : full;
  }
  uint32_t length_of(uint32_t block) const {
    return block + 1 == count && remainder != 0 ? remainder : block_length;
  }
  void write(ByteQueue& out) const;
  static SumHead read(WireReader& in);
};

}  // namespace rsyncfs
