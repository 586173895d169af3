// SPDX-License-Identifier: GPL-3.0-or-later
// Buffers for bytes that pass through, used again instead of being made, and zeroed, each time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace rsyncfs {

// Bytes that stay where they are for as long as somebody holds them.
struct SharedBytes {
  std::shared_ptr<const void> owner;
  std::span<const std::byte> bytes;

  SharedBytes first(size_t count) const { return {owner, bytes.first(count)}; }
  SharedBytes from(size_t offset) const { return {owner, bytes.subspan(offset)}; }
};

// Any thread. Buffers may outlive the pool.
class BufferPool {
 public:
  // Of one buffer; what is longer is made for the occasion.
  static constexpr size_t kMaxPooledBytes = 1 << 20;

  // Keeps at most `budget` bytes that nobody uses.
  explicit BufferPool(size_t budget);

  // Its bytes are indeterminate.
  struct Buffer {
    std::shared_ptr<void> owner;
    std::span<std::byte> bytes;

    SharedBytes shared() const { return {owner, bytes}; }
  };
  Buffer get(size_t size);
  // What it keeps now.
  size_t idle_bytes() const;

 private:
  struct Shelves;
  std::shared_ptr<Shelves> shelves_;
};

}  // namespace rsyncfs
