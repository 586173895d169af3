// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that changes extended attributes and ACLs.
#include <linux/limits.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "fs/tree/acl.h"
#include "fs/tree/tree.h"
#include "fs/tree/xattr_names.h"
#include "sync/engine/stored_xattr.h"

namespace rsyncfs {
namespace {

// Of one file. More names than this could not be listed anyhow (XATTR_LIST_MAX).
constexpr size_t kMaxXattrs = 1024;

StoredXattrs::iterator place_of(StoredXattrs& all, std::string_view name) {
  return std::lower_bound(all.begin(), all.end(), name,
                          [](const StoredXattr& x, std::string_view wanted) { return x.name < wanted; });
}

bool holds(const StoredXattrs& all, StoredXattrs::iterator at, std::string_view name) {
  return at != all.end() && at->name == name;
}

void put(StoredXattrs& all, StoredXattr xattr) {
  const auto at = place_of(all, xattr.name);
  if (holds(all, at, xattr.name)) {
    *at = std::move(xattr);
  } else {
    all.insert(at, std::move(xattr));
  }
}

bool erase(StoredXattrs& all, std::string_view name) {
  const auto at = place_of(all, name);
  if (!holds(all, at, name)) return false;
  all.erase(at);
  return true;
}

Result<void> check_room(const StoredXattrs& all) {
  size_t listed = 0;
  for (const StoredXattr& x : all) listed += x.name.size() + 1;
  if (all.size() > kMaxXattrs || listed > XATTR_LIST_MAX) return Error::os(ENOSPC, "extended attributes");
  return {};
}

}  // namespace

Result<void> Tree::may_set_xattr(std::string_view name) const {
  if (is_own_xattr(name)) return Error::os(EPERM, "this attribute cannot be set");
  if (is_posix_acl(name)) {
    if (!options_.acls) return Error(Errc::kUnsupported, "the source is not asked for ACLs");
    return {};
  }
  if (options_.xattrs && is_kept_xattr(name)) return {};
  return Error(Errc::kUnsupported, "no such kind of extended attribute");
}

Result<StoredXattrs> Tree::xattrs_of(const Node& node) const {
  if (node.xattr_set == 0) return StoredXattrs();
  return replica_.xattrs(node.id);
}

Result<void> Tree::store_xattrs(const Node& node, const StoredXattrs& all,
                                const std::vector<LocalChanges::FullValue>& values,
                                std::optional<uint32_t> permissions) {
  if (auto room = check_room(all); !room) return room;
  const Result<Node> stored = replica_.local().replace_xattrs(node.id, all, values, permissions);
  if (!stored) return stored.error();
  return {};
}

Result<void> Tree::set_plain_xattr(const Node& node, std::string_view name, std::string_view value,
                                   SetXattrFlags flags) {
  if (value.size() > XATTR_SIZE_MAX) return Error::os(E2BIG, "extended attribute");
  Result<StoredXattrs> all = xattrs_of(node);
  if (!all) return all.error();
  const bool present = holds(*all, place_of(*all, name), name);
  if (present && flags.must_be_new) return Error::os(EEXIST, "extended attribute");
  if (!present && flags.must_be_there) return Error::os(ENODATA, "extended attribute");
  StoredXattr stored = store_form(name, value);
  std::vector<LocalChanges::FullValue> values;
  if (stored.abbreviated) values.push_back({stored.value, std::string(value)});
  put(*all, std::move(stored));
  return store_xattrs(node, *all, values, std::nullopt);
}

// An access ACL changes the mode, and is not kept when the mode says it all.
Result<void> Tree::set_acl(const Node& node, std::string_view name, std::string_view value,
                           const Caller& caller) {
  const std::optional<AclMode> mode = mode_of_acl(value);
  std::optional<std::string> at_source = unmap_acl_ids(value, syncer_.ids());
  if (!mode || !at_source) return Error::os(EINVAL, "ACL");
  Result<StoredXattrs> all = xattrs_of(node);
  if (!all) return all.error();
  const uint64_t size = at_source->size();
  StoredXattr stored{std::string(name), std::move(*at_source), size, false};
  if (name == kDefaultAcl) {
    if (!S_ISDIR(node.attr.mode)) return Error::os(EACCES, "default ACL");
    put(*all, std::move(stored));
    return store_xattrs(node, *all, {}, std::nullopt);
  }
  uint32_t permissions = (node.attr.mode & ALLPERMS & ~0777U) | mode->permissions;
  if (!caller.is_privileged() && !caller.is_in_group(stat_of(node).st_gid))
    permissions &= ~static_cast<uint32_t>(S_ISGID);
  if (mode->says_it_all) {
    erase(*all, name);
  } else {
    put(*all, std::move(stored));
  }
  return store_xattrs(node, *all, {}, permissions);
}

void Tree::setxattr(NodeId id, std::string_view name, std::string_view value, SetXattrFlags flags,
                    const Caller& caller, Done<void> done) {
  const AnswerGate::Section section(gate_);
  if (auto allowed = may_set_xattr(name); !allowed) return done(std::move(allowed));
  const Result<Node> node = present_node(id);
  if (!node) return done(node.error());
  const Result<void> set =
      is_posix_acl(name) ? set_acl(*node, name, value, caller) : set_plain_xattr(*node, name, value, flags);
  if (!set) return done(of_node(set.error()));
  syncer_.note_change(id);
  done({});
}

void Tree::removexattr(NodeId id, std::string_view name, Done<void> done) {
  const AnswerGate::Section section(gate_);
  if (auto allowed = may_set_xattr(name); !allowed) return done(std::move(allowed));
  const Result<Node> node = present_node(id);
  if (!node) return done(node.error());
  Result<StoredXattrs> all = xattrs_of(*node);
  if (!all) return done(of_node(all.error()));
  // An ACL that is not there is no failure, as elsewhere.
  if (!erase(*all, name)) {
    return done(is_posix_acl(name) ? Result<void>() : Error::os(ENODATA, "extended attribute"));
  }
  const Result<void> removed = store_xattrs(*node, *all, {}, std::nullopt);
  if (!removed) return done(of_node(removed.error()));
  syncer_.note_change(id);
  done({});
}

}  // namespace rsyncfs
