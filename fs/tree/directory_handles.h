// SPDX-License-Identifier: GPL-3.0-or-later
// Open directories, and which name each position given out stands for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

// Numbers for the names of one directory, in the order of first sight. A name keeps its number, come and go
// what may: so a position means the same to every handle of the directory and in the kernel's copy of its
// listing. Not thread-safe.
class NameNumbers {
 public:
  size_t size() const { return ends_.size(); }
  size_t bytes() const {
    return bytes_.capacity() + (ends_.capacity() + order_.capacity()) * sizeof(uint32_t);
  }
  std::string_view at(size_t number) const;
  size_t number_of(std::string_view name);  // the next one if it has none

 private:
  std::string bytes_;            // the names, one after the other
  std::vector<uint32_t> ends_;   // by number, where each ends
  std::vector<uint32_t> order_;  // numbers, by the byte order of their names
};

struct DirectoryNames {
  std::mutex mutex;  // guards numbers
  NameNumbers numbers;
};

struct OpenedDirectory {
  uint64_t handle = 0;
  // False: what the kernel holds of an earlier listing has positions that nobody knows any more.
  bool positions_known = false;
};

// Any thread. Handles are numbers, never pointers, never reused. A directory's numbers outlive its handles,
// because the kernel keeps listings that nobody has open: until the kernel forgets the directory, or newer
// ones need the room.
// Lock order: mutex_, then DirectoryNames::mutex.
class DirectoryHandles {
 public:
  static constexpr size_t kMaxIdleBytes = 16 * 1024 * 1024;

  explicit DirectoryHandles(size_t max_idle_bytes = kMaxIdleBytes) : max_idle_bytes_(max_idle_bytes) {}
  OpenedDirectory open(NodeId directory);
  std::shared_ptr<DirectoryNames> find(uint64_t handle) const;  // null: unknown
  void close(uint64_t handle);
  void forget(NodeId directory);  // the kernel holds nothing of it any more
  size_t size() const;            // open handles

 private:
  struct Directory {
    std::shared_ptr<DirectoryNames> names;
    size_t handles = 0;
    size_t idle_bytes = 0;              // while nobody has it open
    std::list<NodeId>::iterator place;  // in idle_, likewise
  };
  using Directories = std::unordered_map<NodeId, Directory>;

  void rest(NodeId id, Directory& directory);
  void wake(Directory& directory);

  const size_t max_idle_bytes_;
  mutable std::mutex mutex_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, NodeId> handles_;
  Directories directories_;
  std::list<NodeId> idle_;  // closed last at the front
  size_t idle_bytes_ = 0;
};

}  // namespace rsyncfs
