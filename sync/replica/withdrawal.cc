// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/withdrawal.h"

#include <sys/stat.h>

#include <algorithm>

#include "sync/replica/node_rows.h"
#include "sync/replica/orphans.h"

namespace rsyncfs {
namespace {

constexpr Sql kChildren{
    "SELECT n2.name, EXISTS (SELECT 1 FROM base_names AS b WHERE b.parent=n2.parent AND "
    "b.name=n2.name), " RSYNCFS_NODE_COLUMNS
    " FROM names AS n2 JOIN nodes AS n ON n.id=n2.node WHERE n2.parent=?"};
constexpr Sql kAnyBaseName{"SELECT 1 FROM base_names WHERE parent=? LIMIT 1"};
constexpr Sql kBelow{
    "SELECT n.id, n.differences, (n.mode & 61440)=16384 FROM names JOIN nodes AS n ON n.id=names.node"
    " WHERE names.parent=?"};

}  // namespace

Result<bool> holds_changes(Connection& db, NodeId directory) {
  std::vector<NodeId> directories{directory};
  while (!directories.empty()) {
    const NodeId id = directories.back();
    directories.pop_back();
    Query names(db, kAnyBaseName);
    names.unsigned_integer(id);
    auto any = names.step();
    if (!any || *any) return any;
    Query below(db, kBelow);
    below.unsigned_integer(id);
    for (;;) {
      auto row = below.step();
      if (!row) return row;
      if (!*row) break;
      if (below.integer_at(1) != 0) return true;
      if (below.integer_at(2) != 0) directories.push_back(below.unsigned_at(0));
    }
  }
  return false;
}

// Directories before what is in them.
Result<std::vector<Withdrawal::Entry>> Withdrawal::collect(const Node& directory) {
  std::vector<Entry> out;
  std::vector<NodeId> directories{directory.id};
  while (!directories.empty()) {
    const NodeId id = directories.back();
    directories.pop_back();
    Query query(transaction_.db(), kChildren);
    query.unsigned_integer(id);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      Entry& entry = out.emplace_back();
      entry.parent = id;
      entry.name = query.blob_at(0);
      entry.pending = query.integer_at(1) != 0;
      entry.node = node_at(query, 2);
      if (S_ISDIR(entry.node.attr.mode) && !entry.pending) directories.push_back(entry.node.id);
    }
  }
  return out;
}

Result<bool> Withdrawal::withdraw(const Node& directory) {
  auto entries = collect(directory);
  if (!entries) return entries.error();
  std::unordered_set<NodeId> stay;
  for (auto entry = entries->rbegin(); entry != entries->rend(); ++entry) {
    const bool is_directory = S_ISDIR(entry->node.attr.mode);
    // A directory alone, with another mode, is nothing to keep.
    const bool changed =
        entry->pending || (is_directory ? stay.count(entry->node.id) != 0 : entry->node.differences != 0);
    if (changed) {
      stay.insert(entry->parent);
    } else if (auto done = remove(*entry); !done) {
      return done.error();
    }
  }
  return stay.count(directory.id) != 0;
}

Result<void> Withdrawal::remove(const Entry& entry) {
  if (auto done = erase_name(transaction_, entry.parent, entry.name); !done) return done;
  changes_.push_back({NameChange::Kind::kRemoved, entry.parent, entry.name, entry.node.id, 0});
  if (auto done = lose_name(transaction_, entry.node, changes_); !done) return done;
  // It may live on by a name that only users see; and what was removed from it here is removed there, too.
  losses_.add(entry.node.id);
  return {};
}

}  // namespace rsyncfs
