// SPDX-License-Identifier: GPL-3.0-or-later
// Open directories: which name each position given out stands for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

// The names of one directory in the order given out, one after the other in one block of memory. Positions
// count them. Not thread-safe: DirectoryHandle::mutex guards it.
class NameTrail {
 public:
  size_t size() const { return ends_.size(); }
  std::string_view at(size_t index) const;
  void append(std::string_view name);
  void truncate(size_t size);

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

struct DirectoryHandle {
  std::mutex mutex;
  NameTrail trail;
};

// Any thread. Handles are numbers, never pointers, never reused.
class DirectoryHandles {
 public:
  uint64_t open();
  std::shared_ptr<DirectoryHandle> find(uint64_t handle) const;  // null: unknown
  void close(uint64_t handle);
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<DirectoryHandle>> handles_;
};

}  // namespace rsyncfs
