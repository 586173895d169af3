// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/orphans.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "sync/replica/content_rows.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kMarkOrphan{"UPDATE nodes SET orphan=1, nlink=0 WHERE id=? AND orphan=0"};
constexpr Sql kChildren{"SELECT " RSYNCFS_NODE_COLUMNS
                        " FROM names JOIN nodes AS n ON n.id=names.node WHERE names.parent=?"};
constexpr Sql kEraseChildren{"DELETE FROM names WHERE parent=?"};
constexpr Sql kOrphanSet{"SELECT xattr_set FROM nodes WHERE id=? AND orphan=1"};
constexpr Sql kDeleteNode{"DELETE FROM nodes WHERE id=?"};
constexpr Sql kSomeOrphans{"SELECT id FROM nodes WHERE orphan=1 LIMIT ?"};

Result<void> mark_orphan(Transaction& transaction, NodeId id) {
  Query mark(transaction.db(), kMarkOrphan);
  mark.unsigned_integer(id);
  if (auto done = mark.run(); !done) return done;
  // Two names of one node may go together: it counts once.
  transaction.totals().orphans += transaction.db().changes();
  return {};
}

// Takes the names of a directory away and returns the nodes that they led to, once for each name.
Result<std::vector<Node>> empty_directory(Transaction& transaction, NodeId directory) {
  std::vector<Node> children;
  {
    Query query(transaction.db(), kChildren);
    query.unsigned_integer(directory);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      children.push_back(node_at(query, 0));
    }
  }
  Query erase(transaction.db(), kEraseChildren);
  erase.unsigned_integer(directory);
  if (auto done = erase.run(); !done) return done.error();
  return children;
}

// A node of several names lost one and has `names` left.
Result<void> lower_nlink(Transaction& transaction, NodeId id, uint32_t names,
                         std::vector<NameChange>& changes) {
  // Read again: it may have lost another name since the caller looked.
  auto node = find_node(transaction.db(), id);
  if (!node) return node.error();
  if (!node->has_value()) return {};
  const uint32_t nlink = std::max(names, std::max((*node)->attr.nlink, 1U) - 1);
  if (nlink == (*node)->attr.nlink) return {};
  if (auto done = set_nlink(transaction, id, nlink); !done) return done;
  auto other = find_name_of(transaction.db(), id);
  if (!other) return other.error();
  if (other->has_value()) {
    changes.push_back({NameChange::Kind::kAttributes, (*other)->first, std::move((*other)->second), id, 0});
  }
  return {};
}

}  // namespace

Result<void> lose_name(Transaction& transaction, const Node& node, std::vector<NameChange>& changes) {
  std::vector<Node> losers{node};
  while (!losers.empty()) {
    const Node loser = losers.back();
    losers.pop_back();
    // nlink is never less than the number of names that are stored.
    if (loser.attr.nlink > 1 && !S_ISDIR(loser.attr.mode)) {
      auto names = count_names(transaction.db(), loser.id, loser.attr.nlink);
      if (!names) return names.error();
      if (*names > 0) {
        if (auto done = lower_nlink(transaction, loser.id, *names, changes); !done) return done;
        continue;
      }
    }
    if (auto done = mark_orphan(transaction, loser.id); !done) return done;
    if (!S_ISDIR(loser.attr.mode)) continue;
    auto children = empty_directory(transaction, loser.id);
    if (!children) return children.error();
    losers.insert(losers.end(), children->begin(), children->end());
  }
  return {};
}

Result<size_t> delete_orphans(Transaction& transaction, const std::vector<NodeId>& nodes) {
  size_t deleted = 0;
  for (const NodeId id : nodes) {
    Query find(transaction.db(), kOrphanSet);
    find.unsigned_integer(id);
    auto row = find.step();
    if (!row) return row.error();
    if (!*row) continue;
    const uint64_t xattr_set = find.unsigned_at(0);
    if (auto done = erase_content(transaction, id); !done) return done.error();
    Query erase(transaction.db(), kDeleteNode);
    erase.unsigned_integer(id);
    if (auto done = erase.run(); !done) return done.error();
    transaction.use_xattr_set(xattr_set, -1);
    --transaction.totals().nodes;
    --transaction.totals().orphans;
    ++deleted;
  }
  return deleted;
}

Result<std::vector<NodeId>> some_orphans(Connection& db, size_t limit) {
  std::vector<NodeId> out;
  Query query(db, kSomeOrphans);
  query.unsigned_integer(limit);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    out.push_back(query.unsigned_at(0));
  }
}

}  // namespace rsyncfs
