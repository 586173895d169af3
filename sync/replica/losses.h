// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes that the source may have lost: a name that base led to them leads elsewhere now. What users do not
// see of them is given up; what users see is absent at the source from then on, and so is what is below it.
#pragma once

#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/dirty_files.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it; of one transaction.
class Losses {
 public:
  // `changes` gets what users see change.
  Losses(Transaction& transaction, DirtyFiles& files, std::vector<NameChange>& changes)
      : transaction_(transaction), files_(files), changes_(changes) {}

  // 0: nothing. `successor`: the version that took its place, 0: none. A file whose bytes nobody has any more
  // leaves its names to that, or loses them.
  void add(NodeId node, NodeId successor = 0) {
    if (node != 0) suspects_.emplace_back(node, successor);
  }
  // After all names are where they belong.
  Result<void> settle();

 private:
  Result<void> lose(const Node& node, NodeId successor);
  Result<void> lose_children(NodeId directory);
  Result<void> give_up(const Node& orphan);
  Result<void> make_absent(const Node& node);
  // Its bytes are neither here nor at the source.
  Result<bool> is_hollow(const Node& node);
  Result<void> hand_over(const Node& node, NodeId successor);

  Transaction& transaction_;
  DirtyFiles& files_;
  std::vector<NameChange>& changes_;
  std::vector<std::pair<NodeId, NodeId>> suspects_;
};

Result<uint32_t> read_subdirectories(Connection& db, NodeId directory);
// Brings nlink of a directory that was listed to what is stored below it.
Result<void> count_subdirectories(Transaction& transaction, const Node& directory);

}  // namespace rsyncfs
