// SPDX-License-Identifier: GPL-3.0-or-later
// The last bytes that came of a large file that cannot be stored: larger than the cache, or the disk does not
// take it. Its readers get them from here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>

#include "io/base/buffer_pool.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// One thread at a time (the store strand); limit() on any.
class PassingBytes {
 public:
  static constexpr uint64_t kMaxBytes = 16 << 20;     // of one file
  static constexpr uint64_t kMaxAllBytes = 64 << 20;  // of all together, as long as each has kMinBytes
  static constexpr uint64_t kMinBytes = 2 << 20;

  PassingBytes();
  PassingBytes(const PassingBytes&) = delete;
  PassingBytes& operator=(const PassingBytes&) = delete;
  ~PassingBytes();

  // How many each may have now.
  static uint64_t limit();

  // Returns what is not here any more: the oldest make room.
  ExtentSet add(uint64_t offset, SharedBytes bytes);
  // False: some of it is not here any more.
  bool read(uint64_t offset, std::span<std::byte> out) const;

 private:
  using Piece = std::pair<uint64_t, SharedBytes>;
  std::deque<Piece> pieces_;  // in the order in which they came
  uint64_t bytes_ = 0;
};

}  // namespace rsyncfs
