// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_entry.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {

namespace {

constexpr int kMaxAttempts = 16;

// linux/posix_acl.h and posix_acl_xattr.h
constexpr uint32_t kAclVersion = 2;
constexpr size_t kAclHeader = 4;
constexpr size_t kAclEntry = 8;
constexpr uint32_t kUserObj = 0x01;
constexpr uint32_t kUser = 0x02;
constexpr uint32_t kGroupObj = 0x04;
constexpr uint32_t kGroup = 0x08;
constexpr uint32_t kMask = 0x10;
constexpr uint32_t kOther = 0x20;

uint32_t get_le(std::string_view bytes, size_t at, size_t count) {
  uint32_t out = 0;
  for (size_t i = count; i-- > 0;) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

bool add_acl_entry(PosixAcl& acl, uint32_t tag, uint8_t perms, uint32_t id) {
  switch (tag) {
    case kUserObj:
      acl.user_obj = perms;
      return true;
    case kGroupObj:
      acl.group_obj = perms;
      return true;
    case kMask:
      acl.mask_obj = perms;
      return true;
    case kOther:
      acl.other_obj = perms;
      return true;
    case kUser:
    case kGroup:
      acl.names.push_back({tag == kUser, id, {}, perms});
      return true;
    default:
      return false;
  }
}

Result<void> add_xattrs(const Replica& replica, StoredXattrs xattrs, PushEntry& entry) {
  entry.xattrs.clear();
  entry.access_acl.reset();
  entry.default_acl.reset();
  for (StoredXattr& x : xattrs) {
    if (x.name == "system.posix_acl_access") {
      entry.access_acl = parse_acl_xattr(x.value);
    } else if (x.name == "system.posix_acl_default") {
      entry.default_acl = parse_acl_xattr(x.value);
    } else if (!x.name.starts_with("system.")) {
      PushXattr out{std::move(x.name), std::move(x.value), x.size, x.abbreviated};
      if (x.abbreviated) {
        auto whole = replica.xattr_value(out.value, out.size);
        if (!whole) return whole.error();
        if (whole->has_value()) {
          out.value = std::move(**whole);
          out.abbreviated = false;
        }
      }
      entry.xattrs.push_back(std::move(out));
    }
  }
  return {};
}

// Users may change them all the while, and values of former ones go.
Result<void> read_xattrs(const Replica& replica, Node& node, PushEntry& entry) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    auto xattrs = replica.xattrs(node.id);
    if (!xattrs) return xattrs.error();
    if (auto done = add_xattrs(replica, std::move(*xattrs), entry); !done) return done;
    const auto now = replica.node(node.id);
    if (!now) return now.error();
    if (now->xattr_set == node.xattr_set) return {};
    node.xattr_set = now->xattr_set;
  }
  return Error(Errc::kChanged, "its extended attributes change all the time");
}

}  // namespace

std::optional<PosixAcl> parse_acl_xattr(std::string_view value) {
  if (value.size() < kAclHeader || (value.size() - kAclHeader) % kAclEntry != 0) return std::nullopt;
  if (get_le(value, 0, 4) != kAclVersion) return std::nullopt;
  PosixAcl out;
  for (size_t at = kAclHeader; at < value.size(); at += kAclEntry) {
    const auto perms = static_cast<uint8_t>(get_le(value, at + 2, 2) & 7);
    if (!add_acl_entry(out, get_le(value, at, 2), perms, get_le(value, at + 4, 4))) return std::nullopt;
  }
  return out;
}

Result<PushEntry> make_push_entry(const Replica& replica, Node& node, std::string path) {
  const NodeAttributes& attr = node.attr;
  PushEntry out;
  out.path = path.empty() ? "." : std::move(path);
  out.mode = attr.mode;
  out.size = S_ISREG(attr.mode) ? attr.size : 0;
  out.mtime_s = attr.mtime_s;
  out.mtime_ns = attr.mtime_ns;
  out.uid = attr.uid;
  out.gid = attr.gid;
  out.rdev_major = attr.rdev_major;
  out.rdev_minor = attr.rdev_minor;
  if (S_ISLNK(attr.mode)) {
    auto target = replica.link_target(node.id);
    if (!target) return target.error();
    out.link_target = std::move(*target);
  }
  if (auto done = read_xattrs(replica, node, out); !done) return done.error();
  return out;
}

PushEntry link_entry(const NodeAttributes& attr, std::string path, uint32_t group) {
  PushEntry out;
  out.path = std::move(path);
  out.mode = attr.mode;
  out.size = attr.size;
  out.mtime_s = attr.mtime_s;
  out.mtime_ns = attr.mtime_ns;
  out.uid = attr.uid;
  out.gid = attr.gid;
  out.hlink_group = group;
  return out;
}

}  // namespace rsyncfs
