// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that changes attributes.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/tree/acl.h"
#include "fs/tree/tree.h"

namespace rsyncfs {
namespace {

bool changes_anything(const AttributeChange& change) {
  return change.permissions || change.uid || change.gid || change.mtime || change.atime;
}

// An id that is made up cannot be changed.
Result<std::optional<uint32_t>> new_id(const std::optional<uint32_t>& asked,
                                       const std::optional<uint32_t>& shown, uint32_t shown_now,
                                       const std::optional<uint32_t>& at_source) {
  if (!asked) return std::optional<uint32_t>();
  if (shown) {
    if (*asked != *shown) return Error::os(EPERM, "the owner is set by a mount option");
    return std::optional<uint32_t>();
  }
  // Several of the source's may be shown as one: it stays the one that it is.
  if (*asked == shown_now) return std::optional<uint32_t>();
  if (!at_source) return Error::os(EINVAL, "the source has no number for this user or group");
  return at_source;
}

}  // namespace

uint32_t Tree::lost_by_writing(const Node& file, const Caller& caller) const {
  if (caller.is_privileged()) return 0;
  return lost_by_chown(file, caller);
}

// What setattr_should_drop_suidgid() of the kernel says; it is left to us (FUSE_HANDLE_KILLPRIV_V2).
uint32_t Tree::lost_by_chown(const Node& file, const Caller& caller) const {
  const uint32_t mode = file.attr.mode;
  if (S_ISDIR(mode)) return 0;
  uint32_t lost = mode & S_ISUID;
  if ((mode & S_ISGID) != 0) {
    const bool keeps = caller.is_privileged() || caller.is_in_group(stat_of(file).st_gid);
    if ((mode & S_IXGRP) != 0 || !keeps) lost |= S_ISGID;
  }
  return lost;
}

// Bits that are not shown stay as the source has them, and so does a mode that is only confirmed.
Result<AttributeChange> Tree::attribute_change(const Node& before, const AttributeRequest& request,
                                               const Caller& caller) const {
  const ShownAttributes& shown = options_.shown;
  const IdMap& ids = syncer_.ids();
  AttributeChange change;
  const bool confirmed = !shown.mode_changes.empty() && request.permissions &&
                         (stat_of(before).st_mode & ALLPERMS) == *request.permissions;
  if (request.permissions && !confirmed) {
    const uint32_t hidden = S_ISDIR(before.attr.mode) ? shown.directory_mask : shown.file_mask;
    change.permissions = ((*request.permissions & ~hidden) | (before.attr.mode & hidden)) & ALLPERMS;
  }
  const auto uid = new_id(request.uid, shown.uid, ids.local_uid(before.attr.uid),
                          request.uid ? ids.source_uid(*request.uid) : std::nullopt);
  if (!uid) return uid.error();
  const auto gid = new_id(request.gid, shown.gid, ids.local_gid(before.attr.gid),
                          request.gid ? ids.source_gid(*request.gid) : std::nullopt);
  if (!gid) return gid.error();
  if ((request.uid || request.gid) && !request.permissions) {
    const uint32_t lost = lost_by_chown(before, caller);
    if (lost != 0) change.permissions = before.attr.mode & ALLPERMS & ~lost;
  }
  change.uid = *uid;
  change.gid = *gid;
  change.mtime = request.mtime;
  change.atime = request.atime;
  return change;
}

// The permissions are in an access ACL too, if there is one.
Result<Node> Tree::change_attributes(const Node& before, AttributeChange change) {
  Node now = before;
  if (change.permissions && before.xattr_set != 0) {
    Result<StoredXattrs> all = replica_.xattrs(before.id);
    if (!all) return all.error();
    const auto acl =
        std::find_if(all->begin(), all->end(), [](const StoredXattr& x) { return x.name == kAccessAcl; });
    if (acl != all->end()) {
      if (auto changed = acl_after_chmod(acl->value, *change.permissions)) acl->value = std::move(*changed);
      Result<Node> stored = replica_.local().replace_xattrs(before.id, *all, {}, change.permissions);
      if (!stored) return stored;
      now = std::move(*stored);
      change.permissions.reset();
    }
  }
  if (!changes_anything(change)) return now;
  return replica_.local().change_attributes(before.id, change);
}

Result<Node> Tree::set_attributes(NodeId id, const AttributeRequest& request, const Caller& caller) {
  Result<Node> node = present_node(id);
  if (!node) return node;
  const Result<AttributeChange> change = attribute_change(*node, request, caller);
  if (!change) return change.error();
  if (request.size) {
    if (!S_ISREG(node->attr.mode)) return Error(Errc::kUsage, "not a regular file");
    node = replica_.local().resize(id, *request.size, lost_by_writing(*node, caller));
    if (!node) return node;
  }
  return change_attributes(*node, *change);
}

void Tree::setattr(NodeId id, const AttributeRequest& request, const Caller& caller, Done<struct stat> done) {
  const AnswerGate::Section section(gate_);
  const Result<Node> changed = set_attributes(id, request, caller);
  if (!changed) return done(of_node(changed.error()));
  syncer_.note_change(id);
  done(stat_of(*changed));
}

}  // namespace rsyncfs
