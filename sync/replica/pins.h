// SPDX-License-Identifier: GPL-3.0-or-later
// What is to stay here: inodes, and all that is below them. By inode number, so a pin stays when the source
// replaces the file, or it is renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class Pins {
 public:
  static constexpr size_t kMaxPins = 10'000;

  // Takes over what is stored, and drops pins of what is gone. Before anything else.
  Result<void> recover(Connection& db);

  size_t count() const;
  bool has(uint64_t ino) const;
  using Inodes = std::shared_ptr<const std::unordered_set<uint64_t>>;
  Inodes all() const;
  // In a transaction; note() and forget() once it is committed. kLimit.
  Result<void> put(Connection& db, uint64_t ino) const;
  static Result<void> erase(Connection& db, uint64_t ino);
  void note(uint64_t ino);
  void forget(uint64_t ino);

 private:
  mutable std::mutex mutex_;
  Inodes inos_ = std::make_shared<const std::unordered_set<uint64_t>>();  // guarded by mutex_
};

// Whether nodes are pinned, or lie below something that is; remembers directories. For one moment of `db`.
class PinLookup {
 public:
  PinLookup(Connection& db, Pins::Inodes pinned) : db_(db), inos_(std::move(pinned)) {}
  Result<bool> covers(NodeId node);

 private:
  static constexpr int kMaxDepth = 2'048;
  static constexpr size_t kMaxNames = 1'024;  // of one node that are looked at

  Result<bool> covers(NodeId node, int depth);
  Result<std::vector<NodeId>> parents_of(NodeId node) const;

  Connection& db_;
  const Pins::Inodes inos_;
  std::unordered_map<NodeId, bool> known_;
};

}  // namespace rsyncfs
