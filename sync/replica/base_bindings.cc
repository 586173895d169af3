// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/base_bindings.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "sync/replica/base_rows.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/source_node.h"

namespace rsyncfs {
namespace {

// Bounds a damaged store's cycle.
constexpr int kMaxDepth = 1 << 16;
constexpr size_t kAllNames = std::numeric_limits<int64_t>::max();

constexpr Sql kLocalBinding{"SELECT node FROM names WHERE parent=? AND name=?"};
constexpr Sql kLocalNames{"SELECT parent, name, node FROM names WHERE node=? LIMIT ?"};
constexpr Sql kLocalChildren{"SELECT parent, name, node FROM names WHERE parent=? LIMIT ?"};
constexpr Sql kBaseNames{
    "SELECT parent, name, node FROM base_names WHERE node=?1 AND node<>0"
    " UNION ALL SELECT n.parent, n.name, n.node FROM names AS n WHERE n.node=?1 AND NOT EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name) LIMIT ?2"};
constexpr Sql kBaseChildren{
    "SELECT parent, name, node FROM base_names WHERE parent=?1 AND node<>0"
    " UNION ALL SELECT n.parent, n.name, n.node FROM names AS n WHERE n.parent=?1 AND NOT EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name) ORDER BY name LIMIT ?2"};
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

Result<std::vector<Binding>> local_children(Connection& db, NodeId directory) {
  return read_bindings(db, kLocalChildren, directory, std::numeric_limits<int64_t>::max());
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

Result<void> leave_former_copies(Transaction& transaction, NodeId node, const std::vector<Binding>& made) {
  auto known = read_known_node(transaction.db(), node);
  if (!known) return known.error().code() == Errc::kNotFound ? Result<void>() : known.error();
  if (!known->base.present || S_ISREG(known->base.attr.mode) || S_ISDIR(known->base.attr.mode)) return {};
  auto places = base_names_of(transaction.db(), node, kAllNames);
  if (!places) return places.error();
  const auto is_made = [&](const Binding& place) {
    return std::find(made.begin(), made.end(), place) != made.end();
  };
  const bool anew = std::any_of(made.begin(), made.end(), [&](const Binding& name) {
    return name.node == node && std::find(places->begin(), places->end(), name) == places->end();
  });
  if (!anew) return {};
  for (const Binding& place : *places) {
    auto local = local_binding(transaction.db(), place.parent, place.name);
    if (!local) return local.error();
    if (*local == node || is_made(place)) continue;
    ListedName former;
    former.attr = known->base.attr;
    former.link_target = known->target;
    former.xattrs_known = false;
    auto relic = insert_hidden(transaction, former);
    if (!relic) return relic.error();
    if (auto done = put_base_name(transaction, place.parent, place.name, *relic, *local); !done) return done;
  }
  return {};
}

// Where it was is nothing, or something else by now, which the next list of that place will tell.
Result<void> leave_other_places(Transaction& transaction, const Binding& place) {
  auto node = find_node(transaction.db(), place.node);
  if (!node) return node.error();
  if (!node->has_value() || !S_ISDIR((*node)->attr.mode)) return {};
  auto places = base_names_of(transaction.db(), place.node, kAllNames);
  if (!places) return places.error();
  for (const Binding& other : *places) {
    if (other == place) continue;
    auto local = local_binding(transaction.db(), other.parent, other.name);
    if (!local) return local.error();
    if (auto done = put_base_name(transaction, other.parent, other.name, 0, *local); !done) return done;
  }
  return {};
}

Result<void> bind_at_source(Transaction& transaction, const std::vector<Binding>& names, Losses& losses) {
  for (const Binding& name : names) {
    auto before = base_binding(transaction.db(), name.parent, name.name);
    if (!before) return before.error();
    if (*before == name.node) continue;
    auto local = local_binding(transaction.db(), name.parent, name.name);
    if (!local) return local.error();
    if (auto done = put_base_name(transaction, name.parent, name.name, name.node, *local); !done) return done;
    if (auto done = leave_other_places(transaction, name); !done) return done;
    losses.add(*before);
  }
  return {};
}

}  // namespace rsyncfs
