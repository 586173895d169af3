// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/pins.h"

#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kDropGone{
    "DELETE FROM pins WHERE NOT EXISTS (SELECT 1 FROM nodes AS n WHERE n.id=pins.ino AND n.ino=n.id AND "
    "n.orphan=0)"
    " AND NOT EXISTS (SELECT 1 FROM nodes AS n WHERE n.ino=pins.ino AND n.ino<>n.id AND n.orphan=0)"};
constexpr Sql kAll{"SELECT ino FROM pins"};
constexpr Sql kPut{"INSERT OR IGNORE INTO pins(ino) VALUES(?)"};
constexpr Sql kErase{"DELETE FROM pins WHERE ino=?"};
constexpr Sql kParents{"SELECT DISTINCT parent FROM names WHERE node=? LIMIT ?"};

}  // namespace

Result<void> Pins::recover(Connection& db) {
  std::unordered_set<uint64_t> inos;
  {
    Query query(db, kAll);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      inos.insert(query.unsigned_at(0));
    }
  }
  if (!inos.empty()) {
    if (auto done = Query(db, kDropGone).run(); !done) return done;
    if (db.changes() > 0) return recover(db);
  }
  std::lock_guard lock(mutex_);
  inos_ = std::make_shared<const std::unordered_set<uint64_t>>(std::move(inos));
  return {};
}

size_t Pins::count() const {
  std::lock_guard lock(mutex_);
  return inos_->size();
}

bool Pins::has(uint64_t ino) const {
  std::lock_guard lock(mutex_);
  return inos_->contains(ino);
}

Pins::Inodes Pins::all() const {
  std::lock_guard lock(mutex_);
  return inos_;
}

Result<void> Pins::put(Connection& db, uint64_t ino) const {
  if (count() >= kMaxPins) return Error(Errc::kLimit, "too many pins; pin directories instead of files");
  Query put(db, kPut);
  put.unsigned_integer(ino);
  return put.run();
}

Result<void> Pins::erase(Connection& db, uint64_t ino) {
  Query erase(db, kErase);
  erase.unsigned_integer(ino);
  return erase.run();
}

void Pins::note(uint64_t ino) {
  std::lock_guard lock(mutex_);
  std::unordered_set<uint64_t> more = *inos_;
  more.insert(ino);
  inos_ = std::make_shared<const std::unordered_set<uint64_t>>(std::move(more));
}

void Pins::forget(uint64_t ino) {
  std::lock_guard lock(mutex_);
  std::unordered_set<uint64_t> fewer = *inos_;
  fewer.erase(ino);
  inos_ = std::make_shared<const std::unordered_set<uint64_t>>(std::move(fewer));
}

Result<bool> PinLookup::covers(NodeId node) {
  if (inos_->empty()) return false;
  return covers(node, 0);
}

Result<bool> PinLookup::covers(NodeId node, int depth) {
  if (const auto known = known_.find(node); known != known_.end()) return known->second;
  auto found = find_node(db_, node);
  if (!found) return found.error();
  bool pinned = found->has_value() && inos_->contains((*found)->ino);
  if (!pinned && found->has_value() && node != kRootNode && depth < kMaxDepth) {
    auto parents = parents_of(node);
    if (!parents) return parents.error();
    for (const NodeId parent : *parents) {
      auto above = covers(parent, depth + 1);
      if (!above) return above;
      pinned = pinned || *above;
    }
  }
  // Of files each is asked for once.
  if (depth > 0) known_.emplace(node, pinned);
  return pinned;
}

Result<std::vector<NodeId>> PinLookup::parents_of(NodeId node) const {
  std::vector<NodeId> parents;
  Query query(db_, kParents);
  query.unsigned_integer(node).unsigned_integer(kMaxNames);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return parents;
    parents.push_back(query.unsigned_at(0));
  }
}

}  // namespace rsyncfs
