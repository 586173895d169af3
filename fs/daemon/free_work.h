// SPDX-License-Identifier: GPL-3.0-or-later
// `rsyncfs free`: lets go of the contents of files, and of all below directories.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fs/daemon/mapped_files.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

struct FreedTotals {
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t dirty = 0;  // files that stay, and why
  uint64_t pinned = 0;
  uint64_t in_use = 0;
};

// One thread at a time; not the loop's.
class FreeWork {
 public:
  static constexpr size_t kPageEntries = 1'024;   // names of a directory taken at a time
  static constexpr size_t kContentsAtOnce = 128;  // of one transaction

  FreeWork(Replica& replica, MappedFiles& mapped) : replica_(replica), mapped_(mapped) {}
  Result<void> free_below(const Node& node);
  const FreedTotals& totals() const { return totals_; }

 private:
  Result<void> free_directory(NodeId directory, std::vector<NodeId>& directories);
  Result<void> free_files(const std::vector<NodeId>& files);

  Replica& replica_;
  MappedFiles& mapped_;
  FreedTotals totals_;
};

}  // namespace rsyncfs
