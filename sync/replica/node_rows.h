// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes and names as rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The columns of table `nodes` as n, in the order that node_at() reads.
#define RSYNCFS_NODE_COLUMNS                                                                         \
  "n.id, n.ino, n.mode, n.uid, n.gid, n.nlink, n.rdev, n.size, n.mtime_s, n.mtime_ns, n.xattr_set, " \
  "n.listed_at_s, n.orphan, n.ctime_s, n.ctime_ns, n.atime_s, n.atime_ns, n.differences"
constexpr int kNodeColumns = 18;

Node node_at(const Query& query, int first_column);

Result<std::optional<Node>> find_node(Connection& db, NodeId id);
Result<std::optional<Node>> find_name(Connection& db, NodeId parent, std::string_view name);
Result<std::string> read_link_target(Connection& db, NodeId id);
// A name that leads to the node.
Result<std::optional<std::pair<NodeId, std::string>>> find_name_of(Connection& db, NodeId id);
// The path from the root to the node, without a leading '/'; "" is the root. kNotFound for orphans. All of it
// in one transaction.
Result<std::string> local_path(Connection& db, NodeId id);
// How many names lead to the node, counted up to `limit`.
Result<uint32_t> count_names(Connection& db, NodeId id, uint32_t limit);

// Inserts the node and returns its id; id 0 means: a new one, ino 0: the id.
Result<NodeId> insert_node(Transaction& transaction, const Node& node, std::string_view link_target);
// New nodes with one name each in a directory that has none of these, several in a statement: a statement of
// one row costs more than the row.
class NewNames {
 public:
  NewNames(Transaction& transaction, NodeId directory) : transaction_(transaction), directory_(directory) {}
  // Returns the node's id, which is taken anew. The texts must live until flush(), before which nobody may
  // ask for these rows.
  Result<NodeId> add(const Node& node, std::string_view name, std::string_view link_target);
  Result<void> flush();

 private:
  struct Row {
    Node node;
    std::string_view name;
    std::string_view link_target;
  };
  Result<void> insert_together();

  Transaction& transaction_;
  const NodeId directory_;
  std::vector<Row> rows_;
};
// Writes the attributes, the times and the xattr set of node.id.
Result<void> update_node(Transaction& transaction, const Node& node);
Result<void> set_differences(Transaction& transaction, NodeId id, uint32_t differences);
Result<void> set_nlink(Transaction& transaction, NodeId id, uint32_t nlink);
Result<void> set_listing_state(Transaction& transaction, NodeId directory, uint32_t nlink,
                               int64_t listed_at_s);
// Makes `name` lead to `node`, whatever it led to before.
Result<void> put_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId node);
Result<void> erase_name(Transaction& transaction, NodeId parent, std::string_view name);

}  // namespace rsyncfs
