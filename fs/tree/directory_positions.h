// SPDX-License-Identifier: GPL-3.0-or-later
// Which name each position in a directory stands for that was given out.
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
// what may: so a position means the same to everybody who has the directory open and in the kernel's copy of
// its listing. Not thread-safe.
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

// Any thread. The kernel keeps listings, and need not tell who has a directory open: so a directory's numbers
// stay until it forgets the directory, or those listed later need the room.
class DirectoryPositions {
 public:
  static constexpr size_t kMaxBytes = 16 * 1024 * 1024;

  explicit DirectoryPositions(size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}
  // New ones if there are none.
  std::shared_ptr<DirectoryNames> of(NodeId directory);
  // These take so much now. Returns the directories whose numbers are no more: nobody knows what the
  // positions mean that the kernel may have of them. The one given here stays, however large.
  [[nodiscard]] std::vector<NodeId> keep(NodeId directory, const std::shared_ptr<DirectoryNames>& names,
                                         size_t bytes);
  void forget(NodeId directory);  // the kernel holds nothing of it any more
  size_t size() const;            // directories

 private:
  struct Directory {
    std::shared_ptr<DirectoryNames> names;
    size_t bytes = 0;
    std::list<NodeId>::iterator place;  // in order_
  };
  using Directories = std::unordered_map<NodeId, Directory>;

  void put_first(Directory& directory);
  void erase(Directories::iterator directory);

  const size_t max_bytes_;
  mutable std::mutex mutex_;  // guards what follows
  Directories directories_;
  std::list<NodeId> order_;  // listed last at the front
  size_t bytes_ = 0;
};

}  // namespace rsyncfs
