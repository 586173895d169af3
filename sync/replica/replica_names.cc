// SPDX-License-Identifier: GPL-3.0-or-later
// The reading methods of the Replica that need more than one row.
#include <string>
#include <utility>

#include "sync/replica/node_rows.h"
#include "sync/replica/replica_impl.h"

namespace rsyncfs {
namespace {

constexpr Sql kList{
    "SELECT names.name, " RSYNCFS_NODE_COLUMNS
    " FROM names JOIN nodes AS n ON n.id=names.node WHERE names.parent=? ORDER BY names.name"};
constexpr Sql kListAfter{"SELECT names.name, " RSYNCFS_NODE_COLUMNS
                         " FROM names JOIN nodes AS n ON n.id=names.node WHERE names.parent=? AND "
                         "names.name>? ORDER BY names.name LIMIT ?"};
constexpr Sql kXattrValue{"SELECT value FROM xattr_values WHERE digest=? AND size=?"};
constexpr Sql kBegin{"BEGIN"};
constexpr Sql kEnd{"COMMIT"};

Error no_name() {
  return Error(Errc::kNotFound, "no name leads to this node").with_errno(ESTALE);
}

}  // namespace

Result<void> StoredReplica::list(
    NodeId directory, const std::function<void(std::string_view name, const Node& node)>& visit) const {
  return reading_all([&](Connection& db) -> Result<void> {
    Query query(db, kList);
    query.unsigned_integer(directory);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) return {};
      visit(query.blob_at(0), node_at(query, 1));
    }
  });
}

Result<std::vector<std::pair<DirectoryEntry, Node>>> StoredReplica::list_after(NodeId directory,
                                                                               std::string_view after,
                                                                               size_t limit) const {
  using Entries = std::vector<std::pair<DirectoryEntry, Node>>;
  return reading_all([&](Connection& db) -> Result<Entries> {
    Entries out;
    Query query(db, kListAfter);
    query.unsigned_integer(directory).blob(after).unsigned_integer(limit);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) return out;
      const Node node = node_at(query, 1);
      out.emplace_back(DirectoryEntry{std::string(query.blob_at(0)), node.id}, node);
    }
  });
}

Result<std::optional<std::string>> StoredReplica::xattr_value(std::string_view digest, uint64_t size) const {
  return reading_all([&](Connection& db) -> Result<std::optional<std::string>> {
    Query query(db, kXattrValue);
    query.blob(digest).unsigned_integer(size);
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return std::optional<std::string>();
    return std::optional<std::string>(query.blob_at(0));
  });
}

Result<std::string> StoredReplica::path_of(NodeId id) const {
  return reading_all([id](Connection& db) -> Result<std::string> {
    if (auto done = Query(db, kBegin).run(); !done) return done.error();
    auto path = local_path(db, id);
    static_cast<void>(Query(db, kEnd).run());
    return path;
  });
}

Result<std::pair<NodeId, std::string>> StoredReplica::name_of(NodeId id) const {
  return reading_all([id](Connection& db) -> Result<std::pair<NodeId, std::string>> {
    auto name = find_name_of(db, id);
    if (!name) return name.error();
    if (!name->has_value()) return no_name();
    return std::move(**name);
  });
}

}  // namespace rsyncfs
