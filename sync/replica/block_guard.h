// SPDX-License-Identifier: GPL-3.0-or-later
// Compares the blocks of a mapped content with their sums, each when its bytes are first asked for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "sync/replica/content_sums.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Blocks that are not what was written, until somebody has looked into it. Any thread.
class DamageReports {
 public:
  using Blocks = std::map<NodeId, std::vector<size_t>>;
  // `wake` is called with the first report after a take(), on the thread that found it, which may hold
  // anything.
  explicit DamageReports(std::function<void()> wake) : wake_(std::move(wake)) {}
  void add(NodeId node, size_t block);
  Blocks take();
  // Those of one node.
  std::vector<size_t> take(NodeId node);
  // No call of `wake` is running, and there will be none.
  void close();

 private:
  // More are found again when they are asked for again.
  static constexpr size_t kMaxBlocks = 4096;

  std::mutex mutex_;
  std::function<void()> wake_;  // guarded by mutex_; none: closed
  Blocks blocks_;               // guarded by mutex_
  size_t count_ = 0;            // guarded by mutex_: of all
};

// Any thread; the map must outlive it.
class BlockGuard {
 public:
  BlockGuard(NodeId node, ContentSums sums, const std::byte* base, std::shared_ptr<DamageReports> reports);

  // Bytes of blocks without a sum are as they are. False: what the map has of [begin, end) is not what was
  // written, or can't be read.
  bool holds(uint64_t begin, uint64_t end) const;
  // Every block that has a sum was found to be as it was written.
  bool checked() const;
  // Takes what is known to be damaged of [begin, end) away from `present`.
  void subtract_damage(uint64_t begin, uint64_t end, ExtentSet& present) const;

 private:
  static constexpr size_t kWordBits = 64;
  // Reads of several threads may overtake each other by so much, and are still in order.
  static constexpr uint64_t kInOrderBytes = 1 << 20;
  void prefetch(size_t first, size_t last) const;
  bool check(size_t block) const;

  const NodeId node_;
  const ContentSums sums_;
  const std::byte* const base_;
  const std::shared_ptr<DamageReports> reports_;
  // A bit per block.
  mutable std::vector<std::atomic<uint64_t>> sound_;
  mutable std::vector<std::atomic<uint64_t>> damaged_;
  mutable std::atomic<bool> any_damage_{false};
  mutable std::atomic<uint64_t> checked_until_{0};  // the end of what was compared last
};

// Copies from a map, as far as it can be read: what the disk does not give is false instead of a SIGBUS.
bool read_map(const std::byte* from, std::span<std::byte> out);

}  // namespace rsyncfs
