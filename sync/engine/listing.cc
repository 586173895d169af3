// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/listing.h"

#include <sys/stat.h>

#include <algorithm>

namespace rsyncfs {

namespace {

// linux/posix_acl.h and posix_acl_xattr.h
constexpr uint32_t kAclVersion = 2;
constexpr uint16_t kUserObj = 0x01;
constexpr uint16_t kUser = 0x02;
constexpr uint16_t kGroupObj = 0x04;
constexpr uint16_t kGroup = 0x08;
constexpr uint16_t kMask = 0x10;
constexpr uint16_t kOther = 0x20;
constexpr uint32_t kNoId = 0xffffffff;

void put_le(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
}

void put_entry(std::string& out, uint16_t tag, uint8_t perms, uint32_t id) {
  put_le(out, tag, 2);
  put_le(out, perms, 2);
  put_le(out, id, 4);
}

void put_names(std::string& out, const PosixAcl& acl, bool users) {
  std::vector<const AclName*> sorted;
  for (const auto& name : acl.names) {
    if (name.user == users) sorted.push_back(&name);
  }
  std::sort(sorted.begin(), sorted.end(), [](const AclName* a, const AclName* b) { return a->id < b->id; });
  for (const AclName* name : sorted) put_entry(out, users ? kUser : kGroup, name->perms, name->id);
}

}  // namespace

std::string acl_xattr_value(const PosixAcl& acl, uint32_t mode, bool is_default) {
  const bool extended = !acl.names.empty() || acl.mask_obj.has_value();
  const bool anything = extended || acl.user_obj || acl.group_obj || acl.other_obj;
  if (is_default ? !anything : !extended) return {};
  const auto group_bits = static_cast<uint8_t>((mode >> 3) & 7);
  std::string out;
  put_le(out, kAclVersion, 4);
  put_entry(out, kUserObj, acl.user_obj.value_or(static_cast<uint8_t>((mode >> 6) & 7)), kNoId);
  put_names(out, acl, true);
  put_entry(out, kGroupObj, acl.group_obj.value_or(group_bits), kNoId);
  put_names(out, acl, false);
  if (extended) put_entry(out, kMask, acl.mask_obj.value_or(group_bits), kNoId);
  put_entry(out, kOther, acl.other_obj.value_or(static_cast<uint8_t>(mode & 7)), kNoId);
  return out;
}

Listing::Listing(const FileList& list, bool whole_tree, bool with_xattrs)
    : list_(list), whole_tree_(whole_tree), with_xattrs_(with_xattrs) {
  // Entries of one directory come in runs with one dirname index: look the name up once a run.
  std::vector<uint32_t>* run = nullptr;
  uint32_t run_dirname = 0;
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
    const FileEntry& entry = list.entry(ndx);
    if (!entry.usable()) continue;
    if (whole_tree && entry.extra != 0) {
      if (const uint32_t group = list.extra(entry).hlink_group; group != 0) ++group_sizes_[group];
    }
    if (list.basename(entry) == ".") {
      children_[std::string()];
      continue;
    }
    // A directory that shows no names is one whose names are known: none.
    const bool has_contents = S_ISDIR(entry.mode) && (entry.flags & FileEntry::kNoContentDir) == 0;
    if (whole_tree && has_contents) children_[list.path(entry)];
    if (run == nullptr || entry.dirname != run_dirname) {
      run_dirname = entry.dirname;
      run = &children_[std::string(list.dirname(entry))];
    }
    run->push_back(ndx);
  }
  directories_.reserve(children_.size());
  for (const auto& [name, entries] : children_) directories_.push_back(name);
  std::sort(directories_.begin(), directories_.end());
}

std::vector<ListedName> Listing::names(std::string_view directory) {
  std::vector<ListedName> out;
  const auto found = children_.find(std::string(directory));
  if (found == children_.end()) return out;
  std::vector<uint32_t>& entries = found->second;
  std::stable_sort(entries.begin(), entries.end(), [this](uint32_t a, uint32_t b) {
    return list_.basename(list_.entry(a)) < list_.basename(list_.entry(b));
  });
  out.reserve(entries.size());
  for (const uint32_t ndx : entries) {
    const FileEntry& entry = list_.entry(ndx);
    if (entry.mode == 0) continue;
    if (!out.empty() && out.back().name == list_.basename(entry)) continue;
    out.push_back(make(entry));
  }
  return out;
}

bool Listing::describe(std::string_view path, ListedName& out) {
  const auto ndx = list_.find(path.empty() ? "." : path);
  if (!ndx || list_.entry(*ndx).mode == 0) return false;
  out = make(list_.entry(*ndx));
  return true;
}

ListedName Listing::make(const FileEntry& entry) {
  const EntryExtra& extra = list_.extra(entry);
  ListedName out;
  out.name = list_.basename(entry);
  out.attr.mode = entry.mode;
  out.attr.uid = entry.uid;
  out.attr.gid = entry.gid;
  out.attr.size = entry.size;
  out.attr.mtime_s = entry.mtime_s;
  out.attr.mtime_ns = entry.mtime_ns;
  if (S_ISCHR(entry.mode) || S_ISBLK(entry.mode)) {
    out.attr.rdev_major = extra.rdev_major;
    out.attr.rdev_minor = extra.rdev_minor;
  }
  if (S_ISLNK(entry.mode)) out.link_target = extra.link_target;
  out.hlink_group = extra.hlink_group;
  if (S_ISDIR(entry.mode)) {
    out.attr.nlink = 0;  // the Replica counts sub-directories
  } else if (extra.hlink_group != 0 || (entry.flags & FileEntry::kHardLinked) != 0) {
    const auto size = group_sizes_.find(extra.hlink_group);
    out.attr.nlink = whole_tree_ && size != group_sizes_.end() ? size->second : 0;
  } else {
    out.attr.nlink = 1;
  }
  out.xattrs_known = with_xattrs_;
  if (with_xattrs_) out.xattrs = xattrs_of(entry, extra);
  return out;
}

const StoredXattrs* Listing::xattrs_of(const FileEntry& entry, const EntryExtra& extra) {
  if (extra.xattrs < 0 && extra.access_acl < 0 && extra.default_acl < 0) return nullptr;
  auto& slot = xattr_cache_[{extra.xattrs, extra.access_acl, extra.default_acl, entry.mode & 0777}];
  if (!slot) {
    slot = std::make_unique<StoredXattrs>();
    if (extra.xattrs >= 0) {
      for (const ListedXattr& x : list_.xattr_sets[static_cast<size_t>(extra.xattrs)]) {
        slot->push_back({x.name, x.value, x.size, x.abbreviated});
      }
    }
    const auto add_acl = [&](int32_t index, bool is_default) {
      if (index < 0) return;
      std::string value = acl_xattr_value(list_.acls[static_cast<size_t>(index)], entry.mode, is_default);
      if (value.empty()) return;
      const uint64_t size = value.size();
      slot->push_back({is_default ? "system.posix_acl_default" : "system.posix_acl_access", std::move(value),
                       size, false});
    };
    add_acl(extra.access_acl, false);
    add_acl(extra.default_acl, true);
    std::sort(slot->begin(), slot->end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  return slot->empty() ? nullptr : slot.get();
}

}  // namespace rsyncfs
