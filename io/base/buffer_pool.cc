// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/buffer_pool.h"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <utility>
#include <vector>

namespace rsyncfs {

namespace {
constexpr size_t kSmallestShelf = 12;  // powers of two, from a page on
constexpr size_t kShelves = std::bit_width(BufferPool::kMaxPooledBytes) - kSmallestShelf;

size_t shelf_of(size_t size) {
  return std::max<size_t>(std::bit_width(std::max<size_t>(size, 1) - 1), kSmallestShelf) - kSmallestShelf;
}
size_t bytes_of(size_t shelf) {
  return size_t{1} << (shelf + kSmallestShelf);
}
}  // namespace

struct BufferPool::Shelves {
  using Memory = std::unique_ptr<std::byte[]>;

  explicit Shelves(size_t most) : budget(most) {}

  Memory take(size_t shelf) {
    {
      const std::lock_guard lock(mutex);
      if (!idle[shelf].empty()) {
        Memory out = std::move(idle[shelf].back());
        idle[shelf].pop_back();
        idle_bytes -= bytes_of(shelf);
        return out;
      }
    }
    return std::make_unique_for_overwrite<std::byte[]>(bytes_of(shelf));
  }

  void give_back(size_t shelf, Memory memory) {
    const std::lock_guard lock(mutex);
    if (idle_bytes + bytes_of(shelf) > budget) return;
    idle[shelf].push_back(std::move(memory));
    idle_bytes += bytes_of(shelf);
  }

  const size_t budget;
  std::mutex mutex;  // guards the two below
  std::array<std::vector<Memory>, kShelves> idle;
  size_t idle_bytes = 0;
};

BufferPool::BufferPool(size_t budget) : shelves_(std::make_shared<Shelves>(budget)) {}

BufferPool::Buffer BufferPool::get(size_t size) {
  if (size > kMaxPooledBytes) {
    std::shared_ptr<std::byte[]> made = std::make_unique_for_overwrite<std::byte[]>(size);
    std::byte* const begin = made.get();
    return {std::move(made), {begin, size}};
  }
  const size_t shelf = shelf_of(size);
  Shelves::Memory memory = shelves_->take(shelf);
  std::byte* const begin = memory.get();
  std::shared_ptr<void> owner(memory.release(), [shelves = shelves_, shelf](void* used) {
    shelves->give_back(shelf, Shelves::Memory(static_cast<std::byte*>(used)));
  });
  return {std::move(owner), {begin, size}};
}

size_t BufferPool::idle_bytes() const {
  const std::lock_guard lock(shelves_->mutex);
  return shelves_->idle_bytes;
}

}  // namespace rsyncfs
