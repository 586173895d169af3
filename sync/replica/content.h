// SPDX-License-Identifier: GPL-3.0-or-later
// The bytes of files. Small ones lie together in slab files, larger ones each in a private sparse file; both
// are opened by this process alone (mode 0700 directory), so mapping them is safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Files up to this size are kept in slabs.
constexpr uint64_t kSlabMaxFileBytes = 64 * 1024;

class BlockGuard;

// Committed bytes of one node, mapped. Immutable but for growing extents of the node's next Content object;
// shared: holding the pointer keeps the map and the bytes. Any thread.
class Content {
 public:
  virtual ~Content();
  uint64_t size() const { return size_; }
  bool complete() const { return complete_; }
  const ExtentSet& extents() const { return extents_; }
  // The bytes [offset, offset + length) clipped to size(), straight from the map; nullopt when some are not
  // here, or the disk has others than were written: Replica::settle_damage() makes those count as absent.
  std::optional<std::span<const std::byte>> view(uint64_t offset, uint64_t length) const;
  // Whatever the disk has: for those who compare a digest of the whole before anybody sees a byte.
  std::optional<std::span<const std::byte>> unchecked_view(uint64_t offset, uint64_t length) const;
  // Everything was compared with its sums since this object was made, as far as it has any.
  bool checked() const;
  // The ranges of [begin, end), which is within size(), that are not here, or were found damaged.
  std::vector<ExtentSet::Range> missing(uint64_t begin, uint64_t end) const;
  // Start of the next data / hole at or after `offset` for lseek, from the block file; size() if none.
  // complete() only.
  virtual uint64_t seek_data(uint64_t offset) const = 0;
  virtual uint64_t seek_hole(uint64_t offset) const = 0;

 protected:
  Content();
  uint64_t size_ = 0;
  bool complete_ = false;
  ExtentSet extents_;
  const std::byte* base_ = nullptr;
  std::unique_ptr<const BlockGuard> guard_;  // none: nothing to compare with
};

// A content whose bytes somebody reads without asking the store (Replica::lend_content()).
class LentContent {
 public:
  virtual ~LentContent() = default;
  // For reading: what users see of the file, its local changes too.
  virtual int fd() const = 0;
};

// Writes the bytes of one node during a fetch. One thread at a time (the engine's store strand). Destroying
// it without finish() keeps what commit_partial() recorded, and nothing else.
class ContentWriter {
 public:
  virtual ~ContentWriter() = default;
  // Small files are held in memory until finish(); larger ones go to the block file at once. A run of zero
  // blocks (4 KiB aligned) becomes a hole.
  virtual Result<void> write(uint64_t offset, std::span<const std::byte> data) = 0;
  // Reads back what was written; [offset, offset + out.size()) must have been.
  virtual Result<void> read(uint64_t offset, std::span<std::byte> out) const = 0;
  // What is there: written by this object, or before it (Replica::resume_content()).
  virtual ExtentSet extents() const = 0;
  // Takes back [begin, end): it turned out wrong. A later commit_partial() or finish does not claim it.
  virtual Result<void> discard(uint64_t begin, uint64_t end) = 0;
  // Records the extents written so far (larger files; no-op for small ones), so that a crash does not lose
  // them.
  virtual Result<void> commit_partial() = 0;
};

}  // namespace rsyncfs
