// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/base_bindings.h"

#include <sys/stat.h>

#include <cerrno>
#include <limits>

#include "sync/replica/base_rows.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/orphans.h"

namespace rsyncfs {
namespace {

// Bounds a damaged store's cycle.
constexpr int kMaxDepth = 1 << 16;

constexpr Sql kLocalBinding{"SELECT node FROM names WHERE parent=? AND name=?"};
constexpr Sql kLocalNames{"SELECT parent, name, node FROM names WHERE node=? LIMIT ?"};
constexpr Sql kBaseNames{
    "SELECT parent, name, node FROM base_names WHERE node=?1 AND node<>0"
    " UNION ALL SELECT n.parent, n.name, n.node FROM names AS n WHERE n.node=?1 AND NOT EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name) LIMIT ?2"};
constexpr Sql kBaseChildren{
    "SELECT parent, name, node FROM base_names WHERE parent=?1 AND node<>0"
    " UNION ALL SELECT n.parent, n.name, n.node FROM names AS n WHERE n.parent=?1 AND NOT EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name) ORDER BY name LIMIT ?2"};
constexpr Sql kCountDirectories{
    "SELECT count(*) FROM names JOIN nodes AS n ON n.id=names.node"
    " WHERE names.parent=? AND (n.mode & 61440)=16384"};

Result<std::vector<Binding>> read_bindings(Connection& db, const Sql& sql, NodeId key, size_t limit) {
  std::vector<Binding> out;
  Query query(db, sql);
  query.unsigned_integer(key).unsigned_integer(limit);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    out.push_back({query.unsigned_at(0), std::string(query.blob_at(1)), query.unsigned_at(2)});
  }
}

Error not_there() {
  return Error(Errc::kNotFound, "the source does not have it").with_errno(ENOENT);
}

// Nodes that base may lead to no more, and what follows from that.
class Losses {
 public:
  Losses(Transaction& transaction, DirtyFiles& files) : transaction_(transaction), files_(files) {}

  void add(NodeId node) {
    if (node != 0) suspects_.push_back(node);
  }

  Result<void> settle() {
    while (!suspects_.empty()) {
      const NodeId id = suspects_.back();
      suspects_.pop_back();
      auto bound = is_bound_at_source(transaction_.db(), id);
      if (!bound) return bound.error();
      if (*bound) continue;
      auto node = find_node(transaction_.db(), id);
      if (!node) return node.error();
      if (!node->has_value()) continue;
      if (auto done = lose(**node); !done) return done;
    }
    return {};
  }

 private:
  Result<void> lose(const Node& node) {
    if (S_ISDIR(node.attr.mode)) {
      if (auto done = lose_children(node.id); !done) return done;
    }
    return node.orphan ? give_up(node) : make_absent(node);
  }

  Result<void> lose_children(NodeId directory) {
    auto children = base_children(transaction_.db(), directory, std::numeric_limits<int64_t>::max());
    if (!children) return children.error();
    for (const Binding& child : *children) {
      auto local = local_binding(transaction_.db(), directory, child.name);
      if (!local) return local.error();
      if (auto done = put_base_name(transaction_, directory, child.name, 0, *local); !done) return done;
      add(child.node);
    }
    return {};
  }

  Result<void> give_up(const Node& orphan) {
    if (orphan.differences != 0) {
      if (auto done = leave_to_itself(transaction_, orphan.id, orphan.differences); !done) return done;
    }
    if (!transaction_.writer().retained_nodes().has(orphan.id)) return {};
    auto deleted = delete_orphans(transaction_, {orphan.id}, files_);
    return deleted ? Result<void>() : deleted.error();
  }

  Result<void> make_absent(const Node& node) {
    BaseNode nothing;
    nothing.node = node.id;
    if (auto done = put_base_node(transaction_, nothing); !done) return done;
    if (!S_ISDIR(node.attr.mode) || node.listed_at_s != 0) return {};
    // What is stored of it is all that there is from now on.
    Query count(transaction_.db(), kCountDirectories);
    count.unsigned_integer(node.id);
    if (auto row = count.step(); !row) return row.error();
    const auto nlink = static_cast<uint32_t>(2 + count.integer_at(0));
    return set_listing_state(transaction_, node.id, nlink, FileTime::now().s);
  }

  Transaction& transaction_;
  DirtyFiles& files_;
  std::vector<NodeId> suspects_;
};

}  // namespace

Result<NodeId> local_binding(Connection& db, NodeId parent, std::string_view name) {
  Query query(db, kLocalBinding);
  query.unsigned_integer(parent).blob(name);
  auto row = query.step();
  if (!row) return row.error();
  return *row ? query.unsigned_at(0) : NodeId{0};
}

Result<NodeId> base_binding(Connection& db, NodeId parent, std::string_view name) {
  auto base = find_base_name(db, parent, name);
  if (!base) return base.error();
  if (base->has_value()) return **base;
  return local_binding(db, parent, name);
}

Result<std::vector<Binding>> local_names_of(Connection& db, NodeId node, size_t limit) {
  return read_bindings(db, kLocalNames, node, limit);
}

Result<std::vector<Binding>> base_names_of(Connection& db, NodeId node, size_t limit) {
  return read_bindings(db, kBaseNames, node, limit);
}

Result<std::vector<Binding>> base_children(Connection& db, NodeId directory, size_t limit) {
  return read_bindings(db, kBaseChildren, directory, limit);
}

Result<BaseNode> base_state(Connection& db, NodeId id) {
  auto node = find_node(db, id);
  if (!node) return node.error();
  if (!node->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
  auto base = find_base_node(db, id);
  if (!base) return base.error();
  if (base->has_value()) return **base;
  BaseNode out;
  out.node = id;
  if (((*node)->differences & kAbsentAtSource) != 0) return out;
  out.present = true;
  out.attr = (*node)->attr;
  out.xattr_set = (*node)->xattr_set;
  return out;
}

Result<std::string> remote_path_of(Connection& db, NodeId id) {
  std::string path;
  for (int depth = 0; id != kRootNode; ++depth) {
    if (depth == kMaxDepth) return Error(Errc::kCorrupt, "the source's directories form a circle");
    auto names = base_names_of(db, id, 1);
    if (!names) return names.error();
    if (names->empty()) return not_there();
    path.insert(0, names->front().name);
    id = names->front().parent;
    if (id != kRootNode) path.insert(0, "/");
  }
  return path;
}

Result<void> bind_at_source(Transaction& transaction, const std::vector<Binding>& names, DirtyFiles& files) {
  Losses losses(transaction, files);
  for (const Binding& name : names) {
    auto before = base_binding(transaction.db(), name.parent, name.name);
    if (!before) return before.error();
    if (*before == name.node) continue;
    auto local = local_binding(transaction.db(), name.parent, name.name);
    if (!local) return local.error();
    if (auto done = put_base_name(transaction, name.parent, name.name, name.node, *local); !done) return done;
    losses.add(*before);
  }
  return losses.settle();
}

Result<void> settle_bindings(Transaction& transaction, const std::vector<NodeId>& nodes, DirtyFiles& files) {
  Losses losses(transaction, files);
  for (const NodeId node : nodes) losses.add(node);
  return losses.settle();
}

}  // namespace rsyncfs
