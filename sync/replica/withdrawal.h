// SPDX-License-Identifier: GPL-3.0-or-later
// Directories that the source has no more: what is below them goes, but for what users changed.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/losses.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// Whether something below the directory differs from the source.
Result<bool> holds_changes(Connection& db, NodeId directory);

// The references must outlive it; of one transaction.
class Withdrawal {
 public:
  Withdrawal(Transaction& transaction, Losses& losses, std::vector<NameChange>& changes)
      : transaction_(transaction), losses_(losses), changes_(changes) {}

  // Removes below the directory what users did not change. True: something is left, so it must stay; what
  // that is at the source is for `losses` to say once the directory is lost.
  Result<bool> withdraw(const Node& directory);

 private:
  struct Entry {
    NodeId parent = 0;
    std::string name;
    Node node;
    bool pending = false;  // the name differs: what it leads to comes from elsewhere
  };
  Result<std::vector<Entry>> collect(const Node& directory);
  Result<void> remove(const Entry& entry);

  Transaction& transaction_;
  Losses& losses_;
  std::vector<NameChange>& changes_;
};

}  // namespace rsyncfs
