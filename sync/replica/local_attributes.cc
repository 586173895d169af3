// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/stat.h>

#include "sync/replica/base_rows.h"
#include "sync/replica/local_changes_impl.h"
#include "sync/replica/name_edit.h"

namespace rsyncfs {
namespace {

constexpr uint32_t kPermissionBits = 07777;

constexpr Sql kPutXattrValue{"INSERT OR REPLACE INTO xattr_values(digest, size, value) VALUES(?, ?, ?)"};

void set_permissions(Node& node, uint32_t permissions) {
  node.attr.mode = (node.attr.mode & ~kPermissionBits) | (permissions & kPermissionBits);
}

uint32_t compare(const Node& a, const Node& b) {
  uint32_t out = 0;
  if (a.attr.mode != b.attr.mode) out |= kModeDiffers;
  if (a.attr.uid != b.attr.uid || a.attr.gid != b.attr.gid) out |= kOwnerDiffers;
  if (a.attr.mtime_s != b.attr.mtime_s || a.attr.mtime_ns != b.attr.mtime_ns) out |= kMtimeDiffers;
  if (a.xattr_set != b.xattr_set) out |= kXattrsDiffer;
  return out;
}

// Something may be again as the source has it.
Result<void> settle(Transaction& transaction, NodeId node) {
  auto base = find_base_node(transaction.db(), node);
  if (!base) return base.error();
  return base->has_value() ? put_base_node(transaction, **base) : Result<void>();
}

Result<Node> write_attributes(Transaction& transaction, const Node& before, Node after) {
  const uint32_t differences = compare(before, after);
  if (differences != 0) {
    if (auto done = note_difference(transaction, before, differences); !done) return done.error();
  }
  after.ctime = FileTime::now();
  if (auto done = update_node(transaction, after); !done) return done.error();
  if (after.xattr_set != before.xattr_set) {
    transaction.use_xattr_set(after.xattr_set, 1);
    transaction.use_xattr_set(before.xattr_set, -1);
  }
  if (differences == 0) return after;
  if (before.differences != 0 && (before.differences & kAbsentAtSource) == 0) {
    if (auto done = settle(transaction, after.id); !done) return done.error();
  }
  auto now = find_node(transaction.db(), after.id);
  if (!now) return now.error();
  return **now;
}

}  // namespace

Result<Node> StoredLocalChanges::change_attributes(NodeId id, const AttributeChange& wanted) {
  if (auto changed = new_files_.change_attributes(id, wanted)) return *changed;
  return change<Node>([&](Transaction& transaction) -> Result<Node> {
    auto before = NameEdit(transaction).node(id);
    if (!before) return before;
    Node after = *before;
    if (wanted.permissions) set_permissions(after, *wanted.permissions);
    if (wanted.uid) after.attr.uid = *wanted.uid;
    if (wanted.gid) after.attr.gid = *wanted.gid;
    if (wanted.atime) after.atime = wanted.atime;
    if (wanted.mtime) {
      // It was the modification time's shadow until now.
      if (!after.atime) after.atime = FileTime{before->attr.mtime_s, before->attr.mtime_ns};
      after.attr.mtime_s = wanted.mtime->s;
      after.attr.mtime_ns = wanted.mtime->ns;
    }
    return write_attributes(transaction, *before, after);
  });
}

Result<Node> StoredLocalChanges::replace_xattrs(NodeId id, const StoredXattrs& xattrs,
                                                const std::vector<FullValue>& values,
                                                std::optional<uint32_t> permissions) {
  return change<Node>([&](Transaction& transaction) -> Result<Node> {
    auto before = NameEdit(transaction).node(id);
    if (!before) return before;
    for (const FullValue& value : values) {
      Query put(transaction.db(), kPutXattrValue);
      put.blob(value.digest).unsigned_integer(value.value.size()).blob(value.value);
      if (auto done = put.run(); !done) return done.error();
    }
    Node after = *before;
    auto set = transaction.writer().xattr_sets().intern(transaction.db(), &xattrs);
    if (!set) return set.error();
    after.xattr_set = *set;
    if (permissions) set_permissions(after, *permissions);
    return write_attributes(transaction, *before, after);
  });
}

}  // namespace rsyncfs
