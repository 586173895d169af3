// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/node_rows.h"

#include <cerrno>

namespace rsyncfs {
namespace {

// Deeper than any path that a system call could name step by step in reasonable time; bounds a damaged
// store's cycle.
constexpr int kMaxDepth = 1 << 16;

constexpr Sql kFindNode{"SELECT " RSYNCFS_NODE_COLUMNS " FROM nodes AS n WHERE n.id=?"};
constexpr Sql kFindName{
    "SELECT " RSYNCFS_NODE_COLUMNS
    " FROM names JOIN nodes AS n ON n.id=names.node WHERE names.parent=? AND names.name=?"};
constexpr Sql kLinkTarget{"SELECT link_target FROM nodes WHERE id=?"};
constexpr Sql kNameOf{"SELECT parent, name FROM names WHERE node=? LIMIT 1"};
constexpr Sql kCountNames{"SELECT count(*) FROM (SELECT 1 FROM names WHERE node=? LIMIT ?)"};
#define RSYNCFS_INSERT_NODES                                                                     \
  "INSERT INTO nodes(id, ino, mode, uid, gid, nlink, rdev, size, mtime_s, mtime_ns, xattr_set, " \
  "listed_at_s, orphan, link_target, ctime_s, ctime_ns, atime_s, atime_ns, differences) VALUES"
#define RSYNCFS_NODE_VALUES "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
#define RSYNCFS_THREE_MORE(values) "," values "," values "," values
constexpr Sql kInsertNode{RSYNCFS_INSERT_NODES RSYNCFS_NODE_VALUES};
constexpr size_t kRowsTogether = 8;
constexpr Sql kInsertNodes{RSYNCFS_INSERT_NODES RSYNCFS_NODE_VALUES RSYNCFS_THREE_MORE(
    RSYNCFS_NODE_VALUES) "," RSYNCFS_NODE_VALUES RSYNCFS_THREE_MORE(RSYNCFS_NODE_VALUES)};
constexpr Sql kInsertNames{"INSERT INTO names(parent, name, node) VALUES(?,?,?)" RSYNCFS_THREE_MORE(
    "(?,?,?)") ",(?,?,?)" RSYNCFS_THREE_MORE("(?,?,?)")};
constexpr Sql kUpdateNode{
    "UPDATE nodes SET mode=?, uid=?, gid=?, nlink=?, rdev=?, size=?, mtime_s=?, mtime_ns=?, xattr_set=?,"
    " ctime_s=?, ctime_ns=?, atime_s=?, atime_ns=? WHERE id=?"};
constexpr Sql kSetDifferences{"UPDATE nodes SET differences=? WHERE id=?"};
constexpr Sql kSetNlink{"UPDATE nodes SET nlink=? WHERE id=?"};
constexpr Sql kSetListing{"UPDATE nodes SET nlink=?, listed_at_s=? WHERE id=?"};
constexpr Sql kPutName{"INSERT OR REPLACE INTO names(parent, name, node) VALUES(?, ?, ?)"};
constexpr Sql kEraseName{"DELETE FROM names WHERE parent=? AND name=?"};

std::optional<FileTime> time_at(const Query& query, int column) {
  if (query.is_null(column)) return std::nullopt;
  return FileTime{query.integer_at(column), static_cast<uint32_t>(query.integer_at(column + 1))};
}

void bind_time(Query& query, const std::optional<FileTime>& time) {
  if (time) {
    query.integer(time->s).integer(time->ns);
  } else {
    query.null().null();
  }
}

uint64_t join_rdev(const NodeAttributes& attr) {
  return static_cast<uint64_t>(attr.rdev_major) << 32 | attr.rdev_minor;
}

}  // namespace

Node node_at(const Query& query, int first_column) {
  int column = first_column;
  Node node;
  node.id = query.unsigned_at(column++);
  node.ino = query.unsigned_at(column++);
  node.attr.mode = static_cast<uint32_t>(query.integer_at(column++));
  node.attr.uid = static_cast<uint32_t>(query.integer_at(column++));
  node.attr.gid = static_cast<uint32_t>(query.integer_at(column++));
  node.attr.nlink = static_cast<uint32_t>(query.integer_at(column++));
  const uint64_t rdev = query.unsigned_at(column++);
  node.attr.rdev_major = static_cast<uint32_t>(rdev >> 32);
  node.attr.rdev_minor = static_cast<uint32_t>(rdev);
  node.attr.size = query.unsigned_at(column++);
  node.attr.mtime_s = query.integer_at(column++);
  node.attr.mtime_ns = static_cast<uint32_t>(query.integer_at(column++));
  node.xattr_set = query.unsigned_at(column++);
  node.listed_at_s = query.integer_at(column++);
  node.orphan = query.integer_at(column++) != 0;
  node.ctime = time_at(query, column);
  column += 2;
  node.atime = time_at(query, column);
  column += 2;
  node.differences = static_cast<uint32_t>(query.integer_at(column));
  return node;
}

Result<std::optional<Node>> find_node(Connection& db, NodeId id) {
  Query query(db, kFindNode);
  query.unsigned_integer(id);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<Node>();
  return std::optional<Node>(node_at(query, 0));
}

Result<std::optional<Node>> find_name(Connection& db, NodeId parent, std::string_view name) {
  Query query(db, kFindName);
  query.unsigned_integer(parent).blob(name);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<Node>();
  return std::optional<Node>(node_at(query, 0));
}

Result<std::string> read_link_target(Connection& db, NodeId id) {
  Query query(db, kLinkTarget);
  query.unsigned_integer(id);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return Error(Errc::kNotFound, "no such node");
  return std::string(query.blob_at(0));
}

Result<std::optional<std::pair<NodeId, std::string>>> find_name_of(Connection& db, NodeId id) {
  using Found = std::optional<std::pair<NodeId, std::string>>;
  Query query(db, kNameOf);
  query.unsigned_integer(id);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return Found();
  return Found(std::in_place, query.unsigned_at(0), query.blob_at(1));
}

Result<std::string> local_path(Connection& db, NodeId id) {
  std::string path;
  for (int depth = 0; id != kRootNode; ++depth) {
    if (depth == kMaxDepth) return Error(Errc::kCorrupt, "the store's directories form a circle");
    auto name = find_name_of(db, id);
    if (!name) return name.error();
    if (!name->has_value()) return Error(Errc::kNotFound, "no name leads to this node").with_errno(ESTALE);
    path.insert(0, (*name)->second);
    id = (*name)->first;
    if (id != kRootNode) path.insert(0, "/");
  }
  return path;
}

Result<uint32_t> count_names(Connection& db, NodeId id, uint32_t limit) {
  Query query(db, kCountNames);
  query.unsigned_integer(id).integer(limit);
  auto row = query.step();
  if (!row) return row.error();
  return static_cast<uint32_t>(query.integer_at(0));
}

namespace {

void bind_node(Query& insert, NodeId id, const Node& node, std::string_view link_target) {
  const NodeAttributes& attr = node.attr;
  insert.unsigned_integer(id).unsigned_integer(node.ino == 0 ? id : node.ino).integer(attr.mode);
  insert.integer(attr.uid).integer(attr.gid).integer(attr.nlink);
  insert.unsigned_integer(join_rdev(attr))
      .unsigned_integer(attr.size)
      .integer(attr.mtime_s)
      .integer(attr.mtime_ns);
  insert.unsigned_integer(node.xattr_set).integer(node.listed_at_s).integer(node.orphan ? 1 : 0);
  if (link_target.empty()) {
    insert.null();
  } else {
    insert.blob(link_target);
  }
  bind_time(insert, node.ctime);
  bind_time(insert, node.atime);
  insert.integer(node.differences);
}

void count_node(Transaction& transaction, const Node& node) {
  transaction.use_xattr_set(node.xattr_set, 1);
  ++transaction.totals().nodes;
  if (node.orphan) ++transaction.totals().orphans;
}

}  // namespace

Result<NodeId> insert_node(Transaction& transaction, const Node& node, std::string_view link_target) {
  NodeId id = node.id;
  if (id == 0) {
    auto fresh = transaction.writer().new_node_id();
    if (!fresh) return fresh;
    id = *fresh;
  }
  Query insert(transaction.db(), kInsertNode);
  bind_node(insert, id, node, link_target);
  if (auto done = insert.run(); !done) return done.error();
  count_node(transaction, node);
  return id;
}

Result<NodeId> NewNames::add(const Node& node, std::string_view name, std::string_view link_target) {
  auto id = transaction_.writer().new_node_id();
  if (!id) return id;
  rows_.push_back({node, name, link_target});
  rows_.back().node.id = *id;
  if (rows_.size() == kRowsTogether) {
    if (auto done = insert_together(); !done) return done.error();
  }
  return id;
}

Result<void> NewNames::insert_together() {
  Query nodes(transaction_.db(), kInsertNodes);
  Query names(transaction_.db(), kInsertNames);
  for (const Row& row : rows_) {
    bind_node(nodes, row.node.id, row.node, row.link_target);
    names.unsigned_integer(directory_).blob(row.name).unsigned_integer(row.node.id);
  }
  if (auto done = nodes.run(); !done) return done;
  if (auto done = names.run(); !done) return done;
  for (const Row& row : rows_) count_node(transaction_, row.node);
  rows_.clear();
  return {};
}

Result<void> NewNames::flush() {
  for (const Row& row : rows_) {
    auto id = insert_node(transaction_, row.node, row.link_target);
    if (!id) return id.error();
    if (auto done = put_name(transaction_, directory_, row.name, *id); !done) return done;
  }
  rows_.clear();
  return {};
}

Result<void> update_node(Transaction& transaction, const Node& node) {
  const NodeAttributes& attr = node.attr;
  Query update(transaction.db(), kUpdateNode);
  update.integer(attr.mode).integer(attr.uid).integer(attr.gid).integer(attr.nlink);
  update.unsigned_integer(join_rdev(attr))
      .unsigned_integer(attr.size)
      .integer(attr.mtime_s)
      .integer(attr.mtime_ns);
  update.unsigned_integer(node.xattr_set);
  bind_time(update, node.ctime);
  bind_time(update, node.atime);
  update.unsigned_integer(node.id);
  return update.run();
}

Result<void> set_differences(Transaction& transaction, NodeId id, uint32_t differences) {
  Query update(transaction.db(), kSetDifferences);
  update.integer(differences).unsigned_integer(id);
  return update.run();
}

Result<void> set_nlink(Transaction& transaction, NodeId id, uint32_t nlink) {
  Query update(transaction.db(), kSetNlink);
  update.integer(nlink).unsigned_integer(id);
  return update.run();
}

Result<void> set_listing_state(Transaction& transaction, NodeId directory, uint32_t nlink,
                               int64_t listed_at_s) {
  Query update(transaction.db(), kSetListing);
  update.integer(nlink).integer(listed_at_s).unsigned_integer(directory);
  return update.run();
}

Result<void> put_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId node) {
  Query put(transaction.db(), kPutName);
  put.unsigned_integer(parent).blob(name).unsigned_integer(node);
  return put.run();
}

Result<void> erase_name(Transaction& transaction, NodeId parent, std::string_view name) {
  Query erase(transaction.db(), kEraseName);
  erase.unsigned_integer(parent).blob(name);
  return erase.run();
}

}  // namespace rsyncfs
