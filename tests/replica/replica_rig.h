// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of the store share: a store in a temporary directory, listings made from literals, known
// contents.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/replica.h"

namespace rsyncfs {

// Removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Aborts the test program with the error's message.
template <class T>
T must(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().message();
    std::abort();
  }
  return std::move(result).value();
}
inline void must(const Result<void>& result) {
  if (!result) {
    ADD_FAILURE() << result.error().message();
    std::abort();
  }
}

std::unique_ptr<Replica> open_store(const std::string& directory);
// How the stores that are opened from now on do batches of file reads and syncs.
void use_io(IoChoice choice);

NodeAttributes file_attributes(uint64_t size, int64_t mtime_s = 1, uint32_t mode = S_IFREG | 0644);
NodeAttributes directory_attributes();

// A directory's listing; owns its texts. Sorted by take().
class Listing {
 public:
  ListedName& add(std::string name, const NodeAttributes& attr, uint32_t group = 0);
  ListedName& file(std::string name, uint64_t size, int64_t mtime_s = 1) {
    return add(std::move(name), file_attributes(size, mtime_s));
  }
  ListedName& directory(std::string name) { return add(std::move(name), directory_attributes()); }
  ListedName& link(std::string name, std::string target);
  const std::vector<ListedName>& take();

 private:
  std::deque<std::string> texts_;
  std::deque<ListedName> added_;
  std::vector<ListedName> names_;
};

struct Applied {
  std::vector<NameChange> changes;
  std::vector<NodeId> nodes;
  std::vector<Collision> collisions;
};
// One batch with one directory.
Applied apply(Replica& replica, NodeId directory, Listing& listing, bool complete, HardLinkGroups& groups);
Applied apply(Replica& replica, NodeId directory, Listing& listing, bool complete = true);
NodeId only_node(const Applied& applied);

// The bytes that a content of this seed and size has; about a third are runs of zeros.
std::vector<std::byte> known_bytes(uint64_t seed, uint64_t size);
void store_content(Replica& replica, NodeId node, const std::vector<std::byte>& bytes);
// All of it, from the map; fails the test unless it is complete.
std::vector<std::byte> stored_content(Replica& replica, NodeId node);

}  // namespace rsyncfs
