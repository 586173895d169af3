// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_uses.h"

namespace rsyncfs {
namespace {

constexpr Sql kLast{"SELECT max(used) FROM contents"};
constexpr Sql kUse{"UPDATE contents SET used=? WHERE node=?"};

}  // namespace

Result<void> ContentUses::recover(Connection& db) {
  Query query(db, kLast);
  if (auto row = query.step(); !row) return row.error();
  last_ = query.unsigned_at(0);
  return {};
}

bool ContentUses::note(NodeId node) {
  std::lock_guard lock(mutex_);
  const auto known = noted_.find(node);
  if (known != noted_.end()) {
    known->second = next();
    return false;
  }
  if (noted_.size() >= kMaxNoted) return false;
  noted_.emplace(node, next());
  return noted_.size() == kMany;
}

Result<void> ContentUses::record(Connection& db) {
  std::unordered_map<NodeId, uint64_t> noted;
  {
    std::lock_guard lock(mutex_);
    noted.swap(noted_);
  }
  for (const auto& [node, used] : noted) {
    Query use(db, kUse);
    use.unsigned_integer(used).unsigned_integer(node);
    if (auto done = use.run(); !done) return done;
  }
  return {};
}

}  // namespace rsyncfs
