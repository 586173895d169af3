// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/source_node.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/bases.h"
#include "sync/replica/conflict_rows.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

// More hard links than any local file system has.
constexpr uint32_t kMaxNamesCounted = 1 << 20;

constexpr Sql kAnyBaseName{"SELECT 1 FROM base_names WHERE parent=? LIMIT 1"};
constexpr Sql kLocalOnly{
    "SELECT count(*) FROM names AS n WHERE n.node=? AND EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name)"};
constexpr Sql kBaseOnly{"SELECT count(*) FROM base_names WHERE node=? AND node<>0"};

uint64_t join_rdev(const NodeAttributes& attr) {
  return static_cast<uint64_t>(attr.rdev_major) << 32 | attr.rdev_minor;
}

Side side_of(const NodeAttributes& attr, uint64_t xattr_set, std::string_view target) {
  Side side;
  side.mode = attr.mode;
  side.uid = attr.uid;
  side.gid = attr.gid;
  side.version = {attr.size, attr.mtime_s, attr.mtime_ns};
  side.rdev = join_rdev(attr);
  side.target = target;
  side.xattr_set = xattr_set;
  return side;
}

Result<int64_t> count(Connection& db, const Sql& sql, NodeId node) {
  Query query(db, sql);
  query.unsigned_integer(node);
  if (auto row = query.step(); !row) return row.error();
  return query.integer_at(0);
}

Result<void> record_overruled(Transaction& transaction, NodeId node, uint32_t overruled) {
  if (overruled == 0) return {};
  ConflictRecord record;
  record.at_s = FileTime::now().s;
  auto path = local_path(transaction.db(), node);
  if (!path) return path.error().code() == Errc::kNotFound ? Result<void>() : path.error();
  record.path = std::move(*path);
  record.what = "both changed its";
  const char* separator = " ";
  const auto add = [&](uint32_t bit, const char* what) {
    if ((overruled & bit) == 0) return;
    record.what += separator;
    record.what += what;
    separator = ", ";
  };
  add(kModeDiffers, "permissions");
  add(kOwnerDiffers, "owner");
  add(kXattrsDiffer, "extended attributes");
  record.what += "; those of here stay";
  return put_conflict(transaction, record);
}

void take(NodeAttributes& attr, const MergedAttributes& merged) {
  attr.mode = merged.mode;
  attr.uid = merged.uid;
  attr.gid = merged.gid;
  attr.mtime_s = merged.mtime_s;
  attr.mtime_ns = merged.mtime_ns;
}

// A directory's time follows its names, here as there.
Result<void> choose_directory_time(Transaction& transaction, const Node& before, const ListedName& listed,
                                   Node& after) {
  Result<bool> ours = false;
  if (transaction.something_pending()) ours = has_pending_names(transaction.db(), before.id);
  if (!ours) return ours.error();
  const NodeAttributes& from = *ours || (before.differences & kMtimeDiffers) != 0 ? before.attr : listed.attr;
  after.attr.mtime_s = from.mtime_s;
  after.attr.mtime_ns = from.mtime_ns;
  return {};
}

}  // namespace

Side KnownNode::local_side() const {
  Side side = side_of(node.attr, node.xattr_set, target);
  side.other_object = (node.differences & kBytesDiffer) != 0;
  return side;
}

Side KnownNode::base_side() const {
  return base.present ? side_of(base.attr, base.xattr_set, target) : Side();
}

Result<KnownNode> read_known_node(Connection& db, NodeId id) {
  KnownNode out;
  auto node = find_node(db, id);
  if (!node) return node.error();
  if (!node->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
  out.node = **node;
  if (out.node.differences == 0) {
    out.base.node = id;
    out.base.present = true;
    out.base.attr = out.node.attr;
    out.base.xattr_set = out.node.xattr_set;
  } else {
    auto base = base_state(db, id);
    if (!base) return base.error();
    out.base = *base;
  }
  if (S_ISLNK(out.node.attr.mode)) {
    auto target = read_link_target(db, id);
    if (!target) return target.error();
    out.target = std::move(*target);
  }
  return out;
}

Result<uint64_t> listed_xattr_set(Transaction& transaction, const ListedName& listed, uint64_t otherwise) {
  if (!listed.xattrs_known) return otherwise;
  return transaction.writer().xattr_sets().intern(transaction.db(), listed.xattrs);
}

Side remote_side(const ListedName& listed, uint64_t xattr_set) {
  return side_of(listed.attr, xattr_set, listed.link_target);
}

BaseNode base_of_listed(NodeId node, const ListedName& listed, uint64_t xattr_set) {
  BaseNode base;
  base.node = node;
  base.present = true;
  base.attr = listed.attr;
  base.xattr_set = xattr_set;
  return base;
}

Result<NodeId> insert_listed(Transaction& transaction, const ListedName& listed, uint64_t ino) {
  Node node;
  node.ino = ino;
  node.attr = listed.attr;
  node.attr.nlink = std::max(listed.attr.nlink, 1U);
  auto set = listed_xattr_set(transaction, listed, 0);
  if (!set) return set.error();
  node.xattr_set = *set;
  return insert_node(transaction, node, listed.link_target);
}

Result<NodeId> insert_hidden(Transaction& transaction, const ListedName& listed) {
  Node node;
  node.attr = listed.attr;
  node.attr.nlink = 0;
  node.orphan = true;
  auto set = listed_xattr_set(transaction, listed, 0);
  if (!set) return set.error();
  node.xattr_set = *set;
  auto id = insert_node(transaction, node, listed.link_target);
  // Nobody ever held it.
  if (id) transaction.writer().retained_nodes().retain(*id);
  return id;
}

Result<bool> follow_source(Transaction& transaction, const KnownNode& known, const ListedName& listed,
                           uint32_t nlink) {
  const Node& before = known.node;
  auto set = listed_xattr_set(transaction, listed, known.base.xattr_set);
  if (!set) return set.error();
  const MergedAttributes merged =
      merge_attributes(known.base_side(), known.local_side(), remote_side(listed, *set));
  Node after = before;
  take(after.attr, merged);
  after.xattr_set = merged.xattr_set;
  after.attr.nlink = before.orphan ? 0 : nlink;
  if ((before.differences & kBytesDiffer) == 0) after.attr.size = listed.attr.size;
  if (S_ISDIR(before.attr.mode)) {
    if (auto done = choose_directory_time(transaction, before, listed, after); !done) return done.error();
  }
  const bool changed = after.attr != before.attr || after.xattr_set != before.xattr_set;
  if (changed) {
    if (after.ctime) after.ctime = FileTime::now();
    if (auto done = update_node(transaction, after); !done) return done.error();
    transaction.use_xattr_set(after.xattr_set, 1);
    transaction.use_xattr_set(before.xattr_set, -1);
  }
  if (before.differences != 0) {
    BaseNode base = base_of_listed(before.id, listed, *set);
    base.foreign = known.base.foreign;
    if (auto done = put_base_node(transaction, base); !done) return done.error();
  }
  if (auto done = record_overruled(transaction, before.id, merged.overruled); !done) return done.error();
  return changed;
}

Result<NodeId> insert_next_version(Transaction& transaction, const KnownNode& before,
                                   const ListedName& listed, uint64_t ino) {
  auto set = listed_xattr_set(transaction, listed, before.base.xattr_set);
  if (!set) return set.error();
  const MergedAttributes merged =
      merge_attributes(before.base_side(), before.local_side(), remote_side(listed, *set));
  Node node;
  node.ino = ino;
  node.attr = listed.attr;
  take(node.attr, merged);
  node.attr.nlink = 1;
  node.xattr_set = merged.xattr_set;
  node.atime = before.node.atime;
  if (before.node.ctime) node.ctime = FileTime::now();
  auto id = insert_node(transaction, node, listed.link_target);
  if (!id) return id;
  if (auto done = note_basis(transaction, before.node, *id); !done) return done.error();
  if (auto done = put_base_node(transaction, base_of_listed(*id, listed, *set)); !done) return done.error();
  if (auto done = record_overruled(transaction, before.node.id, merged.overruled); !done) return done.error();
  return id;
}

Result<uint32_t> shown_nlink(Connection& db, const Node& node, uint32_t told) {
  auto names = count_names(db, node.id, kMaxNamesCounted);
  if (!names) return names.error();
  auto added = count(db, kLocalOnly, node.id);
  if (!added) return added.error();
  auto removed = count(db, kBaseOnly, node.id);
  if (!removed) return removed.error();
  if (told == 0) return std::max(node.attr.nlink, std::max(*names, 1U));
  const int64_t shown = static_cast<int64_t>(told) + *added - *removed;
  return static_cast<uint32_t>(std::max<int64_t>({shown, *names, 1}));
}

Result<bool> has_pending_names(Connection& db, NodeId directory) {
  Query query(db, kAnyBaseName);
  query.unsigned_integer(directory);
  return query.step();
}

}  // namespace rsyncfs
