// SPDX-License-Identifier: GPL-3.0-or-later
// Memory with a page behind it and one before it that must not be touched: a read beyond either end kills the
// test.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <span>

#include "tests/support/setup_failure.h"

namespace rsyncfs::support {

class GuardedBytes {
 public:
  // Holds at least `size`.
  explicit GuardedBytes(size_t size) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (size + page - 1) / page * page;
    mapped_ = size_ + 2 * page;
    void* memory = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail_setup_errno("mmap");
    memory_ = static_cast<std::byte*>(memory);
    begin_ = memory_ + page;
    if (size_ != 0 && mprotect(begin_, size_, PROT_READ | PROT_WRITE) != 0) fail_setup_errno("mprotect");
  }
  ~GuardedBytes() { munmap(memory_, mapped_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  std::span<std::byte> all() { return {begin_, size_}; }
  std::span<std::byte> at_end(size_t size) { return all().last(size); }
  std::span<std::byte> at_begin(size_t size) { return all().first(size); }

 private:
  size_t size_ = 0;
  size_t mapped_ = 0;
  std::byte* memory_ = nullptr;
  std::byte* begin_ = nullptr;
};

}  // namespace rsyncfs::support
