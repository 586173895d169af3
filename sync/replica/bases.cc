// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/bases.h"

#include <sys/stat.h>

#include "sync/replica/content_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kFind{"SELECT older FROM bases WHERE node=?"};
constexpr Sql kPut{"INSERT OR REPLACE INTO bases(node, older) VALUES(?, ?)"};
constexpr Sql kErase{"DELETE FROM bases WHERE node=?"};
constexpr Sql kIsBasis{"SELECT EXISTS (SELECT 1 FROM bases WHERE older=?)"};
constexpr Sql kOrphaned{
    "SELECT DISTINCT b.older FROM bases AS b JOIN nodes AS n ON n.id=b.older WHERE n.orphan=1"};

Result<void> put_basis(Transaction& transaction, NodeId node, NodeId older) {
  Query put(transaction.db(), kPut);
  put.unsigned_integer(node).unsigned_integer(older);
  return put.run();
}

}  // namespace

Result<void> note_basis(Transaction& transaction, const Node& older, NodeId node) {
  if (!S_ISREG(older.attr.mode) || older.id == node) return {};
  auto content = find_content(transaction.db(), older.id);
  if (!content) return content.error();
  if (content->has_value() && (*content)->sound && (*content)->present > 0)
    return put_basis(transaction, node, older.id);
  // A version of which nothing was fetched hands its own basis on.
  auto before = find_basis(transaction.db(), older.id);
  if (!before) return before.error();
  return before->has_value() && **before != node ? put_basis(transaction, node, **before) : Result<void>();
}

Result<std::optional<NodeId>> find_basis(Connection& db, NodeId node) {
  Query query(db, kFind);
  query.unsigned_integer(node);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<NodeId>();
  return std::optional<NodeId>(query.unsigned_at(0));
}

Result<std::optional<NodeId>> erase_basis(Transaction& transaction, NodeId node) {
  auto older = find_basis(transaction.db(), node);
  if (!older || !older->has_value()) return older;
  Query erase(transaction.db(), kErase);
  erase.unsigned_integer(node);
  if (auto done = erase.run(); !done) return done.error();
  return older;
}

Result<bool> is_basis(Connection& db, NodeId older) {
  Query query(db, kIsBasis);
  query.unsigned_integer(older);
  if (auto row = query.step(); !row) return row.error();
  return query.integer_at(0) != 0;
}

Result<std::vector<NodeId>> orphaned_bases(Connection& db) {
  std::vector<NodeId> out;
  Query query(db, kOrphaned);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    out.push_back(query.unsigned_at(0));
  }
}

}  // namespace rsyncfs
