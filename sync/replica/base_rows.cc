// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/base_rows.h"

#include <sys/stat.h>

#include <string>

#include "io/base/log.h"

namespace rsyncfs {
namespace {

constexpr Sql kFindNode{
    "SELECT present, foreign_bytes, mode, uid, gid, rdev, size, mtime_s, mtime_ns, xattr_set FROM base_nodes "
    "WHERE "
    "node=?"};
constexpr Sql kPutNode{
    "INSERT INTO base_nodes(node, present, foreign_bytes, mode, uid, gid, rdev, size, mtime_s, mtime_ns, "
    "xattr_set,"
    " since_ms) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"
    " ON CONFLICT(node) DO UPDATE SET present=excluded.present, foreign_bytes=excluded.foreign_bytes,"
    " mode=excluded.mode, uid=excluded.uid, gid=excluded.gid, rdev=excluded.rdev, size=excluded.size,"
    " mtime_s=excluded.mtime_s, mtime_ns=excluded.mtime_ns, xattr_set=excluded.xattr_set"};
constexpr Sql kYounger{"UPDATE base_nodes SET since_ms=max(since_ms, ?) WHERE node=?"};
constexpr Sql kEraseNode{"DELETE FROM base_nodes WHERE node=?"};
constexpr Sql kHasLayers{"SELECT 1 FROM layers WHERE node=? LIMIT 1"};
constexpr Sql kIsBound{"SELECT 1 FROM base_names WHERE node=? AND node<>0 LIMIT 1"};
constexpr Sql kIsBoundAsSeen{
    "SELECT 1 FROM names AS n WHERE n.node=? AND NOT EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name) LIMIT 1"};
constexpr Sql kFindName{"SELECT node FROM base_names WHERE parent=? AND name=?"};
constexpr Sql kPutName{
    "INSERT INTO base_names(parent, name, node, since_ms) VALUES(?,?,?,?)"
    " ON CONFLICT(parent, name) DO UPDATE SET node=excluded.node"};
constexpr Sql kEraseName{"DELETE FROM base_names WHERE parent=? AND name=?"};

uint64_t join_rdev(const NodeAttributes& attr) {
  return static_cast<uint64_t>(attr.rdev_major) << 32 | attr.rdev_minor;
}

BaseNode base_of(const Node& node) {
  BaseNode base;
  base.node = node.id;
  base.present = true;
  base.attr = node.attr;
  base.xattr_set = node.xattr_set;
  return base;
}

// Inserts the row, or takes its place.
Result<void> write_node(Transaction& transaction, const BaseNode& base, bool is_new) {
  Query put(transaction.db(), kPutNode);
  put.unsigned_integer(base.node).integer(base.present ? 1 : 0).integer(base.foreign ? 1 : 0);
  put.integer(base.attr.mode)
      .integer(base.attr.uid)
      .integer(base.attr.gid)
      .unsigned_integer(join_rdev(base.attr));
  put.unsigned_integer(base.attr.size).integer(base.attr.mtime_s).integer(base.attr.mtime_ns);
  put.unsigned_integer(base.xattr_set).integer(transaction.since_ms());
  if (auto done = put.run(); !done) return done;
  transaction.use_xattr_set(base.xattr_set, 1);
  if (is_new) ++transaction.totals().pending_nodes;
  return {};
}

Result<bool> has_layers(Connection& db, NodeId node) {
  Query query(db, kHasLayers);
  query.unsigned_integer(node);
  return query.step();
}

// As far as attributes tell.
uint32_t compare(const Node& local, const BaseNode& base) {
  uint32_t out = 0;
  const NodeAttributes& a = local.attr;
  const NodeAttributes& b = base.attr;
  if (a.mode != b.mode) out |= kModeDiffers;
  if (a.uid != b.uid || a.gid != b.gid) out |= kOwnerDiffers;
  if (a.mtime_s != b.mtime_s || a.mtime_ns != b.mtime_ns) out |= kMtimeDiffers;
  if (local.xattr_set != base.xattr_set) out |= kXattrsDiffer;
  return out;
}

Result<void> erase_name_row(Transaction& transaction, NodeId parent, std::string_view name) {
  Query erase(transaction.db(), kEraseName);
  erase.unsigned_integer(parent).blob(name);
  if (auto done = erase.run(); !done) return done;
  transaction.totals().pending_names -= transaction.db().changes();
  return {};
}

Result<void> write_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId node,
                        bool is_new) {
  Query put(transaction.db(), kPutName);
  put.unsigned_integer(parent).blob(name).unsigned_integer(node).integer(transaction.since_ms());
  if (auto done = put.run(); !done) return done;
  if (is_new) ++transaction.totals().pending_names;
  return {};
}

// The source has what was deleted here meanwhile, down to its row.
Result<void> insert_relic(Transaction& transaction, const BaseNode& base) {
  Node relic;
  relic.id = base.node;
  relic.ino = base.node;
  relic.attr = base.attr;
  relic.attr.nlink = 0;
  relic.xattr_set = base.xattr_set;
  relic.orphan = true;
  auto inserted = insert_node(transaction, relic, {});
  if (!inserted) return inserted.error();
  // Nobody holds it any more.
  transaction.writer().retained_nodes().retain(relic.id);
  return {};
}

}  // namespace

Result<std::optional<BaseNode>> find_base_node(Connection& db, NodeId node) {
  Query query(db, kFindNode);
  query.unsigned_integer(node);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<BaseNode>();
  BaseNode base;
  base.node = node;
  base.present = query.integer_at(0) != 0;
  base.foreign = query.integer_at(1) != 0;
  base.attr.mode = static_cast<uint32_t>(query.integer_at(2));
  base.attr.uid = static_cast<uint32_t>(query.integer_at(3));
  base.attr.gid = static_cast<uint32_t>(query.integer_at(4));
  const uint64_t rdev = query.unsigned_at(5);
  base.attr.rdev_major = static_cast<uint32_t>(rdev >> 32);
  base.attr.rdev_minor = static_cast<uint32_t>(rdev);
  base.attr.size = query.unsigned_at(6);
  base.attr.mtime_s = query.integer_at(7);
  base.attr.mtime_ns = static_cast<uint32_t>(query.integer_at(8));
  base.xattr_set = query.unsigned_at(9);
  return std::optional<BaseNode>(base);
}

Result<bool> is_bound_elsewhere(Connection& db, NodeId node) {
  Query query(db, kIsBound);
  query.unsigned_integer(node);
  return query.step();
}

Result<bool> is_bound_at_source(Connection& db, NodeId node) {
  auto elsewhere = is_bound_elsewhere(db, node);
  if (!elsewhere || *elsewhere) return elsewhere;
  Query query(db, kIsBoundAsSeen);
  query.unsigned_integer(node);
  return query.step();
}

Result<void> note_difference(Transaction& transaction, const Node& before, uint32_t differences) {
  if (before.differences == 0) {
    // What lost its name at the source too is nobody's business there.
    Result<bool> bound = true;
    if (before.orphan) bound = is_bound_elsewhere(transaction.db(), before.id);
    if (!bound) return bound.error();
    if (!*bound) {
      differences |= kAbsentAtSource;
    } else if (auto done = write_node(transaction, base_of(before), true); !done) {
      return done;
    }
  }
  if ((before.differences | differences) == before.differences) return {};
  return set_differences(transaction, before.id, before.differences | differences);
}

Result<void> note_absent(Transaction& transaction, NodeId node) {
  BaseNode base;
  base.node = node;
  return write_node(transaction, base, true);
}

Result<void> put_base_node(Transaction& transaction, const BaseNode& told) {
  BaseNode base = told;
  auto local = find_node(transaction.db(), base.node);
  if (!local) return local.error();
  if (!local->has_value()) return base.present ? insert_relic(transaction, base) : Result<void>();
  if ((*local)->orphan && !base.present) {
    return leave_to_itself(transaction, base.node, (*local)->differences);
  }
  auto before = find_base_node(transaction.db(), base.node);
  if (!before) return before.error();
  auto layers = has_layers(transaction.db(), base.node);
  if (!layers) return layers.error();
  if (base.whole_seconds && base.attr.mtime_s == (*local)->attr.mtime_s && (*local)->attr.mtime_ns != 0) {
    (*local)->attr.mtime_ns = 0;
    if (auto done = update_node(transaction, **local); !done) return done;
  }
  uint32_t differences = base.present ? compare(**local, base) : static_cast<uint32_t>(kAbsentAtSource);
  // A directory's time follows its names by itself; only what a user set is owed to the source.
  const bool times_set = ((*local)->differences & (kMtimeDiffers | kAbsentAtSource)) != 0 ||
                         (base.present && base.attr.mtime_s == kUnknownTime);
  if (S_ISDIR((*local)->attr.mode) && !times_set) differences &= ~static_cast<uint32_t>(kMtimeDiffers);
  if (base.present && *layers) differences |= kBytesDiffer;
  // Of another size its bytes are others, whether or not anybody knows how that came about.
  const bool other_size = base.present && !*layers && S_ISREG((*local)->attr.mode) &&
                          S_ISREG(base.attr.mode) && (*local)->attr.size != base.attr.size;
  if (other_size && !base.foreign) {
    log_warn("node " + std::to_string(base.node) + " has " + std::to_string((*local)->attr.size) +
             " bytes, and at the source " + std::to_string(base.attr.size));
    base.foreign = true;
  }
  if (base.foreign) differences |= kBytesDiffer;
  if (before->has_value()) transaction.use_xattr_set((*before)->xattr_set, -1);
  if (differences != 0) {
    if (auto done = before->has_value() ? Result<void>() : transaction.inherit_age(); !done) return done;
    if (auto done = write_node(transaction, base, !before->has_value()); !done) return done;
  } else if (before->has_value()) {
    Query erase(transaction.db(), kEraseNode);
    erase.unsigned_integer(base.node);
    if (auto done = erase.run(); !done) return done;
    --transaction.totals().pending_nodes;
  }
  return set_differences(transaction, base.node, differences);
}

Result<void> note_pushed_until(Transaction& transaction, NodeId node, int64_t unix_ms) {
  Query update(transaction.db(), kYounger);
  update.integer(unix_ms).unsigned_integer(node);
  return update.run();
}

Result<void> erase_base_node(Transaction& transaction, NodeId node) {
  auto before = find_base_node(transaction.db(), node);
  if (!before) return before.error();
  if (!before->has_value()) return {};
  Query erase(transaction.db(), kEraseNode);
  erase.unsigned_integer(node);
  if (auto done = erase.run(); !done) return done;
  transaction.use_xattr_set((*before)->xattr_set, -1);
  --transaction.totals().pending_nodes;
  return set_differences(transaction, node, 0);
}

Result<void> leave_to_itself(Transaction& transaction, NodeId node, uint32_t differences) {
  if (auto done = erase_base_node(transaction, node); !done) return done;
  return set_differences(transaction, node, differences | kAbsentAtSource);
}

Result<std::optional<NodeId>> find_base_name(Connection& db, NodeId parent, std::string_view name) {
  Query query(db, kFindName);
  query.unsigned_integer(parent).blob(name);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return std::optional<NodeId>();
  return std::optional<NodeId>(query.unsigned_at(0));
}

Result<void> note_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId before,
                       NodeId after) {
  if (before == after) return {};
  auto base = find_base_name(transaction.db(), parent, name);
  if (!base) return base.error();
  if (!base->has_value()) return write_name(transaction, parent, name, before, true);
  if (**base != after) return {};
  return erase_name_row(transaction, parent, name);
}

Result<void> put_base_name(Transaction& transaction, NodeId parent, std::string_view name, NodeId node,
                           NodeId local) {
  if (node == local) return erase_name_row(transaction, parent, name);
  auto known = find_base_name(transaction.db(), parent, name);
  if (!known) return known.error();
  if (known->has_value() && **known == node) return {};
  // Removed here, and made anew, while something was sent into it: its next list tells what it has.
  auto directory = find_node(transaction.db(), parent);
  if (!directory) return directory.error();
  if (!directory->has_value()) return {};
  if (auto done = transaction.inherit_age(); !done) return done;
  return write_name(transaction, parent, name, node, !known->has_value());
}

}  // namespace rsyncfs
