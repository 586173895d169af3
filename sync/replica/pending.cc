// SPDX-License-Identifier: GPL-3.0-or-later
// Questions about what is to be pushed, and what the source has acknowledged. Decisions about conflicts are
// in conflicts.cc.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "io/base/log.h"
#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/conflict_rows.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/pending_impl.h"
#include "sync/replica/remade_directories.h"
#include "sync/replica/source_node.h"

namespace rsyncfs {
namespace {

constexpr Sql kOldest{
    "SELECT min(since_ms) FROM (SELECT min(since_ms) AS since_ms FROM base_names"
    " UNION ALL SELECT min(since_ms) FROM base_nodes)"};
constexpr Sql kNames{
    "SELECT b.parent, b.name, b.node, b.since_ms,"
    " coalesce((SELECT n.node FROM names AS n WHERE n.parent=b.parent AND n.name=b.name), 0)"
    " FROM base_names AS b ORDER BY b.since_ms, b.parent, b.name LIMIT ? OFFSET ?"};
constexpr Sql kNodes{"SELECT " RSYNCFS_NODE_COLUMNS
                     ", b.since_ms FROM base_nodes AS b JOIN nodes AS n ON n.id=b.node"
                     " WHERE n.orphan=0 ORDER BY b.since_ms, b.node LIMIT ? OFFSET ?"};
constexpr Sql kNode{"SELECT " RSYNCFS_NODE_COLUMNS
                    ", b.since_ms FROM base_nodes AS b JOIN nodes AS n ON n.id=b.node"
                    " WHERE b.node=?"};
constexpr Sql kRemovals{
    "SELECT count(DISTINCT b.node) FROM base_names AS b JOIN nodes AS n ON n.id=b.node WHERE n.orphan=1"};
constexpr Sql kBegin{"BEGIN"};
constexpr Sql kEnd{"COMMIT"};

PendingNode node_of(const Query& query) {
  PendingNode out;
  out.local = node_at(query, 0);
  out.differences = out.local.differences;
  if ((out.differences & kAbsentAtSource) != 0) {
    out.differences |= kModeDiffers | kOwnerDiffers | kMtimeDiffers | kXattrsDiffer | kBytesDiffer;
  }
  out.since_ms = query.integer_at(kNodeColumns);
  out.changed_ms = out.since_ms;
  // Every change sets it.
  if (const auto& ctime = out.local.ctime) {
    out.changed_ms = std::max(out.since_ms, ctime->s * 1000 + ctime->ns / 1'000'000);
  }
  return out;
}

Result<void> fill_base(Connection& db, PendingNode& pending) {
  auto base = base_state(db, pending.local.id);
  if (!base) return base.error();
  pending.base = *base;
  return {};
}

// One moment of the store for all that the body reads.
template <class Body>
auto at_one_moment(Connection& db, const Body& body) -> decltype(body()) {
  if (auto done = Query(db, kBegin).run(); !done) return done.error();
  auto result = body();
  static_cast<void>(Query(db, kEnd).run());
  return result;
}

Result<void> put_found(Transaction& transaction, NodeId node, const ListedName& listed) {
  const auto known = base_state(transaction.db(), node);
  if (!known && known.error().code() != Errc::kNotFound) return known.error();
  auto set = listed_xattr_set(transaction, listed, known ? known->xattr_set : 0);
  if (!set) return set.error();
  return put_base_node(transaction, base_of_listed(node, listed, *set));
}

ListedName as_listed(const BaseNode& made) {
  ListedName out;
  out.attr = made.attr;
  out.xattrs_known = false;
  return out;
}

// A directory that was made at `names` while a list showed it at another place: users have moved it there,
// and a former one of that name was taken for it. What was made is one of its own then, which nobody sees.
Result<bool> set_apart(Transaction& transaction, NodeId node, const ListedName& made,
                       std::vector<Binding>& names) {
  if (!S_ISDIR(made.attr.mode)) return false;
  auto places = base_names_of(transaction.db(), node, 1);
  if (!places) return places.error();
  const auto is_of = [&](const Binding& name) { return name.node == node; };
  const auto here = std::find_if(names.begin(), names.end(), is_of);
  if (places->empty() || here == names.end() || places->front() == *here) return false;
  auto relic = insert_hidden(transaction, made);
  if (!relic) return relic.error();
  here->node = *relic;
  return true;
}

Result<int64_t> oldest(Connection& db) {
  Query query(db, kOldest);
  auto row = query.step();
  if (!row) return row.error();
  return query.integer_at(0);
}

}  // namespace

PendingSummary StoredPendingChanges::summary() const {
  if (auto done = new_files_.settle(); !done) log_error(done.error().message());
  const Totals totals = writer_.totals();
  PendingSummary out;
  out.names = static_cast<uint64_t>(totals.pending_names);
  out.nodes = static_cast<uint64_t>(totals.pending_nodes);
  out.bytes = static_cast<uint64_t>(totals.pending_bytes);
  if (out.names == 0 && out.nodes == 0) return out;
  auto since = reading([](Connection& db) { return oldest(db); });
  if (!since) {
    log_error(since.error().message());
  } else {
    out.oldest_ms = *since;
  }
  return out;
}

Result<std::vector<PendingName>> StoredPendingChanges::names(size_t skip, size_t limit) const {
  if (auto done = begin_scan(skip); !done) return done.error();
  return reading([&](Connection& db) -> Result<std::vector<PendingName>> {
    std::vector<PendingName> out;
    Query query(db, kNames);
    query.unsigned_integer(limit).unsigned_integer(skip);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) return out;
      PendingName& name = out.emplace_back();
      name.parent = query.unsigned_at(0);
      name.name = query.blob_at(1);
      name.base = query.unsigned_at(2);
      name.since_ms = query.integer_at(3);
      name.local = query.unsigned_at(4);
    }
  });
}

Result<std::vector<PendingNode>> StoredPendingChanges::nodes(size_t skip, size_t limit) const {
  using Nodes = std::vector<PendingNode>;
  if (auto done = begin_scan(skip); !done) return done.error();
  return reading([&](Connection& db) {
    return at_one_moment(db, [&]() -> Result<Nodes> {
      Nodes out;
      Query query(db, kNodes);
      query.unsigned_integer(limit).unsigned_integer(skip);
      for (;;) {
        auto row = query.step();
        if (!row) return row.error();
        if (!*row) break;
        out.push_back(node_of(query));
      }
      for (PendingNode& node : out) {
        if (auto done = fill_base(db, node); !done) return done.error();
      }
      return out;
    });
  });
}

Result<std::optional<PendingNode>> StoredPendingChanges::node(NodeId id) const {
  using Found = std::optional<PendingNode>;
  return reading_of(id, [&](Connection& db) {
    return at_one_moment(db, [&]() -> Result<Found> {
      Query query(db, kNode);
      query.unsigned_integer(id);
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) return Found();
      PendingNode found = node_of(query);
      if (auto done = fill_base(db, found); !done) return done.error();
      return Found(found);
    });
  });
}

Result<uint64_t> StoredPendingChanges::removals() const {
  return reading([](Connection& db) -> Result<uint64_t> {
    Query query(db, kRemovals);
    if (auto row = query.step(); !row) return row.error();
    return query.unsigned_at(0);
  });
}

Result<NodeId> StoredPendingChanges::base_binding(NodeId parent, std::string_view name) const {
  return reading([&](Connection& db) {
    return at_one_moment(db, [&] { return rsyncfs::base_binding(db, parent, name); });
  });
}

Result<NodeId> StoredPendingChanges::local_binding(NodeId parent, std::string_view name) const {
  return reading_all([&](Connection& db) { return rsyncfs::local_binding(db, parent, name); });
}

Result<std::vector<Binding>> StoredPendingChanges::base_names_of(NodeId node, size_t limit) const {
  return reading([&](Connection& db) { return rsyncfs::base_names_of(db, node, limit); });
}

Result<std::vector<Binding>> StoredPendingChanges::local_names_of(NodeId node, size_t limit) const {
  return reading_all([&](Connection& db) { return rsyncfs::local_names_of(db, node, limit); });
}

Result<std::vector<Binding>> StoredPendingChanges::base_children(NodeId directory, size_t limit) const {
  return reading([&](Connection& db) { return rsyncfs::base_children(db, directory, limit); });
}

Result<BaseNode> StoredPendingChanges::base_of(NodeId node) const {
  return reading_of(node,
                    [&](Connection& db) { return at_one_moment(db, [&] { return base_state(db, node); }); });
}

Result<RemotePlace> StoredPendingChanges::remote_place(NodeId node) const {
  return reading_of(node, [&](Connection& db) {
    return at_one_moment(db, [&]() -> Result<RemotePlace> {
      RemotePlace out;
      auto base = base_state(db, node);
      if (!base) return base.error();
      out.base = *base;
      auto path = remote_path_of(db, node);
      if (!path) return path.error();
      out.path = std::move(*path);
      if (node == kRootNode) return out;
      auto names = rsyncfs::base_names_of(db, node, 1);
      if (!names) return names.error();
      out.parent = names->front().parent;
      out.name = std::move(names->front().name);
      return out;
    });
  });
}

Result<std::string> StoredPendingChanges::remote_path(NodeId parent, std::string_view name) const {
  return reading_of(parent, [&](Connection& db) {
    return at_one_moment(db, [&]() -> Result<std::string> {
      auto path = remote_path_of(db, parent);
      if (!path) return path;
      if (!path->empty()) *path += '/';
      path->append(name);
      return path;
    });
  });
}

Result<void> StoredPendingChanges::pushed(std::vector<PushedContent> files) {
  std::vector<NodeId> replaced;
  for (const PushedContent& file : files) {
    for (const Binding& name : file.names) {
      auto before = base_binding(name.parent, name.name);
      if (!before) return before.error();
      if (*before != 0 && *before != name.node) replaced.push_back(*before);
    }
  }
  const auto recorded = files_.pushed(files);
  for (PushedContent& file : files) {
    file.snapshot.reset();
    auto node = reading([&file](Connection& db) { return find_node(db, file.now.node); });
    if (!node) return node.error();
    // The source may have lost it while it was on its way.
    if (node->has_value() && (*node)->orphan) replaced.push_back(file.now.node);
  }
  if (replaced.empty()) return recorded;
  auto settled = changing([&](Transaction& transaction) -> Result<void> {
    std::vector<NameChange> changes;
    Losses losses(transaction, files_, changes);
    for (const NodeId lost : replaced) losses.add(lost);
    return losses.settle();
  });
  return recorded ? settled : recorded;
}

Result<void> StoredPendingChanges::acknowledge(const Acknowledged& news) {
  return changing([&](Transaction& transaction) -> Result<void> {
    std::vector<NameChange> changes;
    Losses losses(transaction, files_, changes);
    std::vector<Binding> names = news.names;
    for (const BaseNode& node : news.nodes) {
      auto apart = set_apart(transaction, node.node, as_listed(node), names);
      if (!apart) return apart.error();
      if (*apart) continue;
      if (auto done = leave_former_copies(transaction, node.node, names); !done) return done;
      if (auto done = put_base_node(transaction, node); !done) return done;
    }
    for (const auto& [node, as] : news.found) {
      auto apart = set_apart(transaction, node, as.view(), names);
      if (!apart) return apart.error();
      if (*apart) continue;
      if (auto done = leave_former_copies(transaction, node, names); !done) return done;
      if (auto done = put_found(transaction, node, as.view()); !done) return done;
    }
    for (const auto& [place, as] : news.strangers) {
      auto stranger = insert_hidden(transaction, as.view());
      if (!stranger) return stranger.error();
      names.push_back({place.parent, place.name, *stranger});
    }
    if (auto done = bind_at_source(transaction, names, losses); !done) return done;
    // Where the directory is gone, the name was not bound.
    for (const Binding& name : names) losses.add(name.node);
    for (const RemadeDirectory& directory : news.remade) {
      if (auto done = note_remade(transaction, directory, losses); !done) return done;
    }
    return losses.settle();
  });
}

Result<void> StoredPendingChanges::record_conflict(const ConflictRecord& record) {
  return changing([&](Transaction& transaction) { return put_conflict(transaction, record); });
}

Result<std::vector<ConflictRecord>> StoredPendingChanges::conflicts(size_t limit) const {
  return reading([&](Connection& db) { return read_conflicts(db, limit); });
}

Result<void> StoredPendingChanges::clear_conflicts(const std::vector<uint64_t>& ids) {
  return changing([&](Transaction& transaction) { return erase_conflicts(transaction, ids); });
}

}  // namespace rsyncfs
