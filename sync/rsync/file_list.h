// SPDX-License-Identifier: GPL-3.0-or-later
// One rsync file list as received: every entry, in index (ndx) order. Source: rsync's flist.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rsyncfs {

// How large a list is taken. Ten million entries of ordinary names need about 1 GiB.
constexpr size_t kMaxListEntries = 12'000'000;
constexpr size_t kMaxListBytes = size_t{2} << 30;

// One extended attribute as listed. Values above 32 bytes come as their 16-byte digest only; the value itself
// is asked for with PullSession::request_xattrs().
struct ListedXattr {
  std::string name;   // as on the source, "user.comment"; never empty
  std::string value;  // the value, or its 16-byte digest
  uint64_t size = 0;  // bytes of the full value
  bool abbreviated = false;
  bool operator==(const ListedXattr&) const = default;
};
using XattrSet = std::vector<ListedXattr>;  // sorted by name

// One POSIX ACL as listed; permissions are 3-bit rwx. An absent field was not sent because the mode bits say
// it.
struct AclName {
  bool user = false;  // else group
  uint32_t id = 0;    // numeric id on the source
  std::string name;   // empty if the source sent none
  uint8_t perms = 0;
  bool operator==(const AclName&) const = default;
};
struct PosixAcl {
  std::optional<uint8_t> user_obj, group_obj, mask_obj, other_obj;
  std::vector<AclName> names;
  bool operator==(const PosixAcl&) const = default;
};

// The fixed part of an entry. Ids are the source's.
struct FileEntry {
  uint64_t size = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  uint32_t mode = 0;  // st_mode, type bits included; 0 = "does not exist" (--delete-missing-args)
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t dirname = 0;      // index into FileList's directory names
  uint32_t name_offset = 0;  // of the last component, in FileList's arena
  uint16_t name_length = 0;  // at least 1; "." only for the list's own root
  uint16_t flags = 0;        // kTopDir...
  uint32_t extra = 0;        // index + 1 into FileList's extras, 0 = none

  static constexpr uint16_t kTopDir = 1;        // named in the request itself
  static constexpr uint16_t kNoContentDir = 2;  // a directory whose contents are not in this list
  static constexpr uint16_t kHardLinked = 4;    // st_nlink > 1 on the source
  // Nothing Linux can show: a component of its path is longer than NAME_MAX, or its type (in `mode`) is
  // another system's own. It is here for the sake of the others' indices, and must not be asked for.
  static constexpr uint16_t kUnusable = 8;

  bool usable() const { return (flags & kUnusable) == 0; }
};

// What only some entries have.
struct EntryExtra {
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  std::string link_target;  // symlinks
  // Entries of one list with equal groups are one inode; 0 = none. Meaningful within this list only.
  uint32_t hlink_group = 0;
  int32_t xattrs = -1;       // index into FileList::xattr_sets, -1 = none
  int32_t access_acl = -1;   // index into FileList::acls
  int32_t default_acl = -1;  // directories
};

// Names as received are bytes, relative to the list's root, checked: no empty, "." (but the root), ".."
// component, no NUL, not absolute. One owner; no internal synchronisation.
class FileList {
 public:
  size_t size() const { return entries.size(); }
  const FileEntry& entry(uint32_t ndx) const { return entries[ndx]; }
  std::string_view dirname(const FileEntry& entry) const {
    return dirnames[entry.dirname];
  }  // "" at the root
  std::string_view basename(const FileEntry& entry) const {
    return {arena.data() + entry.name_offset, entry.name_length};
  }
  std::string path(const FileEntry& entry) const;         // "a/b/c"; "." for the root
  const EntryExtra& extra(const FileEntry& entry) const;  // a shared empty one if there is none
  // The index of `path` ("." = root), by binary search in rsync's order; the first if it was listed
  // repeatedly. No unusable one.
  std::optional<uint32_t> find(std::string_view path) const;
  size_t memory_bytes() const;

  std::vector<FileEntry> entries;  // sorted as rsync sorts (f_name_cmp): the position is the ndx
  std::vector<std::string> dirnames;
  std::string arena;
  std::vector<EntryExtra> extras;
  std::vector<XattrSet> xattr_sets;
  std::vector<PosixAcl> acls;
  std::map<uint32_t, std::string> user_names;  // source uid -> name, where the source sent it
  std::map<uint32_t, std::string> group_names;
  // Bits of io_error. Non-zero: the source could not read everything; absence proves nothing.
  static constexpr uint32_t kIoErrorGeneral = 1;
  static constexpr uint32_t kIoErrorVanished =
      2;  // something went away while it was listed, or a path's parent is missing
  uint32_t io_error = 0;
  uint32_t unusable = 0;  // entries with FileEntry::kUnusable
};

// rsync's order for two paths split into directory and last component (flist.c f_name_cmp, protocol >= 29):
// byte-wise, at each level everything that is not a directory before all directories, "." first.
int compare_list_order(std::string_view dir_a, std::string_view name_a, bool a_is_dir, std::string_view dir_b,
                       std::string_view name_b, bool b_is_dir);

}  // namespace rsyncfs
