// SPDX-License-Identifier: GPL-3.0-or-later
// From the wire's file list to the Replica's words: directories with their names, ACLs as xattrs, link
// counts.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "sync/replica/types.h"
#include "sync/rsync/file_list.h"

namespace rsyncfs {

// The kernel's system.posix_acl_* format (linux/posix_acl_xattr.h) of a listed ACL; parts that were not sent
// are taken from the mode. "" when the ACL says no more than the mode.
std::string acl_xattr_value(const PosixAcl& acl, uint32_t mode, bool is_default);

// A view of a file list by directory. The list must outlive it. One thread at a time.
class Listing {
 public:
  // `whole_tree`: hard-link groups show every name, so link counts are known.
  Listing(const FileList& list, bool whole_tree, bool with_xattrs);

  // Directories that have entries in the list, parents before children; "" is the root.
  const std::vector<std::string>& directories() const { return directories_; }
  // The names in `directory`, sorted by bytes, duplicates dropped. The views live as long as the list and
  // this object.
  std::vector<ListedName> names(std::string_view directory);
  // The entry itself; false if the list has none or says it does not exist.
  bool describe(std::string_view path, ListedName& out);

 private:
  ListedName make(const FileEntry& entry);
  const StoredXattrs* xattrs_of(const FileEntry& entry, const EntryExtra& extra);

  const FileList& list_;
  const bool whole_tree_;
  const bool with_xattrs_;
  std::vector<std::string> directories_;
  std::unordered_map<std::string, std::vector<uint32_t>> children_;
  std::unordered_map<uint32_t, uint32_t> group_sizes_;
  std::map<std::tuple<int32_t, int32_t, int32_t, uint32_t>, std::unique_ptr<StoredXattrs>> xattr_cache_;
};

}  // namespace rsyncfs
