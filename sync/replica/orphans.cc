// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/orphans.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "sync/replica/base_rows.h"
#include "sync/replica/bases.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/former_names.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kMarkOrphan{"UPDATE nodes SET orphan=1, nlink=0 WHERE id=? AND orphan=0"};
constexpr Sql kMarkLive{"UPDATE nodes SET orphan=0, nlink=1, ino=?, differences=? WHERE id=?"};
constexpr Sql kChildren{"SELECT " RSYNCFS_NODE_COLUMNS
                        " FROM names JOIN nodes AS n ON n.id=names.node WHERE names.parent=?"};
constexpr Sql kEraseChildren{"DELETE FROM names WHERE parent=?"};
constexpr Sql kOrphan{"SELECT xattr_set, differences FROM nodes WHERE id=? AND orphan=1"};
constexpr Sql kDeleteNode{"DELETE FROM nodes WHERE id=?"};
constexpr Sql kIsNeeded{
    "SELECT EXISTS (SELECT 1 FROM base_names WHERE node=?1 AND node<>0)"
    " OR EXISTS (SELECT 1 FROM base_names WHERE parent=?1)"};
constexpr Sql kSomeOrphans{
    "SELECT id FROM nodes WHERE orphan=1"
    " AND NOT EXISTS (SELECT 1 FROM base_names AS b WHERE b.node=nodes.id AND b.node<>0)"
    " AND NOT EXISTS (SELECT 1 FROM base_names AS b WHERE b.parent=nodes.id)"
    " AND NOT EXISTS (SELECT 1 FROM bases WHERE bases.older=nodes.id) LIMIT ?"};

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

// Still needed for what is to be removed at the source, or for a newer version?
Result<bool> is_needed(Transaction& transaction, NodeId id) {
  auto basis = is_basis(transaction.db(), id);
  if (!basis || *basis) return basis;
  if (transaction.writer().totals().pending_names + transaction.totals().pending_names == 0) return false;
  Query query(transaction.db(), kIsNeeded);
  query.unsigned_integer(id);
  if (auto row = query.step(); !row) return row.error();
  return query.integer_at(0) != 0;
}

// False: it is no orphan, or still needed. `freed` gets what was kept as its basis only.
Result<bool> delete_orphan(Transaction& transaction, NodeId id, DirtyFiles& files,
                           std::vector<NodeId>& freed) {
  Query find(transaction.db(), kOrphan);
  find.unsigned_integer(id);
  auto row = find.step();
  if (!row || !*row) return row;
  const uint64_t xattr_set = find.unsigned_at(0);
  const bool differs = find.integer_at(1) != 0;
  auto needed = is_needed(transaction, id);
  if (!needed) return needed;
  RetainedNodes& retained = transaction.writer().retained_nodes();
  if (*needed) {
    retained.retain(id);
    return false;
  }
  retained.forget(id);
  if (differs) {
    if (auto done = files.discard(transaction, id); !done) return done.error();
    if (auto done = erase_base_node(transaction, id); !done) return done.error();
  }
  auto older = erase_basis(transaction, id);
  if (!older) return older.error();
  if (older->has_value() && retained.has(**older)) freed.push_back(**older);
  if (auto done = erase_former_name(transaction, id); !done) return done.error();
  if (auto done = erase_content(transaction, id); !done) return done.error();
  Query erase(transaction.db(), kDeleteNode);
  erase.unsigned_integer(id);
  if (auto done = erase.run(); !done) return done.error();
  transaction.use_xattr_set(xattr_set, -1);
  transaction.aftermath().nodes_gone.push_back(id);
  --transaction.totals().nodes;
  --transaction.totals().orphans;
  return true;
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
    if (auto done = make_orphan(transaction, loser); !done) return done;
    if (!S_ISDIR(loser.attr.mode)) continue;
    auto children = empty_directory(transaction, loser.id);
    if (!children) return children.error();
    losers.insert(losers.end(), children->begin(), children->end());
  }
  return {};
}

Result<void> make_orphan(Transaction& transaction, const Node& node) {
  Query mark(transaction.db(), kMarkOrphan);
  mark.unsigned_integer(node.id);
  if (auto done = mark.run(); !done) return done;
  // Two names of one node may go together: it counts once.
  if (transaction.db().changes() == 0) return {};
  ++transaction.totals().orphans;
  if (S_ISREG(node.attr.mode)) transaction.orphaned().push_back(node);
  if (node.differences == 0) return {};
  auto bound = is_bound_elsewhere(transaction.db(), node.id);
  if (!bound) return bound.error();
  return *bound ? Result<void>() : leave_to_itself(transaction, node.id, node.differences);
}

Result<Node> revive(Transaction& transaction, const Node& orphan) {
  Node node = orphan;
  node.orphan = false;
  node.attr.nlink = 1;
  auto bound = is_bound_at_source(transaction.db(), node.id);
  if (!bound) return bound.error();
  if (!*bound) node.differences |= kAbsentAtSource;
  auto former = find_former_name(transaction.db(), node.id);
  if (!former) return former.error();
  if (former->has_value()) {
    // The version after it may have taken the number over.
    auto ino = transaction.writer().new_node_id();
    if (!ino) return ino.error();
    node.ino = *ino;
    if (auto done = erase_former_name(transaction, node.id); !done) return done.error();
  }
  Query mark(transaction.db(), kMarkLive);
  mark.unsigned_integer(node.ino).integer(node.differences).unsigned_integer(node.id);
  if (auto done = mark.run(); !done) return done.error();
  --transaction.totals().orphans;
  transaction.writer().retained_nodes().forget(node.id);
  if (!*bound) {
    if (auto done = note_absent(transaction, node.id); !done) return done.error();
  }
  return node;
}

Result<size_t> delete_orphans(Transaction& transaction, const std::vector<NodeId>& nodes, DirtyFiles& files) {
  size_t deleted = 0;
  std::vector<NodeId> doomed(nodes.rbegin(), nodes.rend());
  while (!doomed.empty()) {
    const NodeId id = doomed.back();
    doomed.pop_back();
    auto gone = delete_orphan(transaction, id, files, doomed);
    if (!gone) return gone.error();
    if (*gone) ++deleted;
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
