// SPDX-License-Identifier: GPL-3.0-or-later
// The words in which the Replica speaks: nodes, names, versions, listings.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rsyncfs {

// A persistent FUSE nodeid: one inode in one remote version of its content. Never reused, never a pointer.
using NodeId = uint64_t;
constexpr NodeId kRootNode = 1;

// Attributes as the source has them; uid and gid are the source's numbers.
struct NodeAttributes {
  uint32_t mode = 0;  // with type bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 1;  // names of this inode that the source showed; directories: 2 + subdirectories
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  uint64_t size = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  bool operator==(const NodeAttributes&) const = default;
};

// By what versions of a regular file are told apart.
struct FileVersion {
  uint64_t size = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  bool operator==(const FileVersion&) const = default;
};

struct FileTime {
  int64_t s = 0;
  uint32_t ns = 0;
  bool operator==(const FileTime&) const = default;
  static FileTime now();
};

struct Node {
  NodeId id = 0;
  uint64_t ino = 0;  // st_ino: survives a replacement of the content, and remounts
  NodeAttributes attr;
  uint64_t xattr_set = 0;  // 0: none
  int64_t listed_at_s =
      0;  // directories: when a complete listing last changed something (Unix time), 0 = never listed
  bool orphan = false;  // no name leads here any more; kept while the kernel may hold it
  // Times that rsync does not carry, where something here set them; otherwise they are the modification time.
  std::optional<FileTime> ctime;
  std::optional<FileTime> atime;
  uint32_t differences =
      0;  // from what the source has: NodeDifference bits (sync/replica/pending.h), 0 = none
  FileVersion version() const { return {attr.size, attr.mtime_s, attr.mtime_ns}; }
};

// One extended attribute. ACLs are here too, as system.posix_acl_access / _default in the kernel's format,
// with the source's ids. An abbreviated one has only the digest: the value is in Replica::xattr_value() once
// fetched.
struct StoredXattr {
  std::string name;
  std::string value;  // or the 16-byte digest
  uint64_t size = 0;
  bool abbreviated = false;
  bool operator==(const StoredXattr&) const = default;
};
using StoredXattrs = std::vector<StoredXattr>;  // sorted by name

struct DirectoryEntry {
  std::string name;
  NodeId node = 0;
};

// One name of a directory as the source lists it now.
struct ListedName {
  std::string_view name;
  NodeAttributes attr;  // nlink: as far as the list knows; 0 = unknown (keep what is stored, else 1)
  std::string_view link_target;
  const StoredXattrs* xattrs = nullptr;  // null: none
  uint32_t hlink_group = 0;              // names with equal groups are one inode; 0 = none
  bool xattrs_known = true;  // false: the list carried no xattrs (server without -X): keep what is stored
};

// The same, to be kept.
struct KeptListedName {
  std::string name;
  NodeAttributes attr;
  std::string link_target;
  StoredXattrs xattrs;
  uint32_t hlink_group = 0;
  bool xattrs_known = true;
  static KeptListedName of(const ListedName& listed);
  ListedName view() const;  // as long as this is there, and stays where it is
};

// The hard-link groups of one file list, shared by all directories of that list. When a batch that was given
// it is not committed, it names nodes that do not exist: begin the list again with a new one.
class RenamedFiles;
class HardLinkGroups {
 public:
  HardLinkGroups();
  ~HardLinkGroups();
  HardLinkGroups(const HardLinkGroups&) = delete;
  HardLinkGroups& operator=(const HardLinkGroups&) = delete;
  // Of the same list.
  RenamedFiles& renamed() { return *renamed_; }
  NodeId node_of(uint32_t group) const;  // 0: not met yet
  uint32_t group_of(NodeId node) const;  // 0: no group leads to it
  void set(uint32_t group, NodeId node);

 private:
  std::unordered_map<uint32_t, NodeId> nodes_;
  std::unordered_map<NodeId, uint32_t> groups_;
  std::unique_ptr<RenamedFiles> renamed_;
};

// What became of one name, for invalidation, inotify and the log.
struct NameChange {
  enum class Kind : uint8_t { kCreated, kRemoved, kReplaced, kAttributes };
  Kind kind = Kind::kCreated;
  NodeId parent = 0;
  std::string name;
  NodeId node = 0;      // the node the name leads to now (kRemoved: led to)
  NodeId old_node = 0;  // kReplaced: the node it led to before
  // Most likely the same file, renamed. kRemoved: what it is at its new name; otherwise: what it was at the
  // old one. 0: none that this list has shown by now. A guess, good enough for telling people.
  NodeId renamed = 0;
};

// Sorted, disjoint, non-adjacent byte ranges that are present locally.
class ExtentSet {
 public:
  struct Range {
    uint64_t begin;
    uint64_t end;  // exclusive
    bool operator==(const Range&) const = default;
  };
  void add(uint64_t begin, uint64_t end);
  void remove(uint64_t begin, uint64_t end);
  bool covers(uint64_t begin, uint64_t end) const;  // true for an empty range
  uint64_t bytes() const;
  const std::vector<Range>& ranges() const { return ranges_; }
  // The ranges of [begin, end) that are absent.
  std::vector<Range> missing(uint64_t begin, uint64_t end) const;
  std::string serialize() const;  // sync/replica/FORMAT.md
  static std::optional<ExtentSet> parse(std::string_view bytes);
  bool operator==(const ExtentSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace rsyncfs
