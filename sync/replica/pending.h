// SPDX-License-Identifier: GPL-3.0-or-later
// What the source does not have yet, as differences between the tree that users see ("local") and the last
// known state of the source ("base"):
//   - a name differs when base and local lead it to different nodes; directories are told by their node, so
//   everything
//     below a renamed one stays as it is;
//   - a node differs when the source does not have it (not present), has other attributes, or other bytes.
// Pushing makes base equal to local, step by step; each step that the source has acknowledged is recorded
// here. Any thread. Errors: the Replica's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// The time of a directory at the source that pushing has moved: what it is here is owed to the source.
constexpr int64_t kUnknownTime = std::numeric_limits<int64_t>::min() / 2;

// What the source has of one inode, as far as we know.
struct BaseNode {
  NodeId node = 0;
  bool present = false;  // false: the source has no such inode; the rest is empty
  NodeAttributes attr;   // nlink is not kept; mtime_s may be kUnknownTime
  uint64_t xattr_set = 0;
  // Its bytes are not known to be ours at any offset: somebody else's version, which ours is to replace as a
  // whole.
  bool foreign = false;
  // The source keeps no more of its time than that, so the node does not, either. Nothing that is stored.
  bool whole_seconds = false;
};

// In what a node differs.
enum NodeDifference : uint32_t {
  kBytesDiffer = 1,
  kModeDiffers = 2,
  kOwnerDiffers = 4,
  kMtimeDiffers = 8,  // of a directory: only when a user set it
  kXattrsDiffer = 16,
  kAbsentAtSource = 32,  // the source has no such inode
};

struct PendingNode {
  Node local;
  BaseNode base;
  uint32_t differences = 0;  // NodeDifference bits; everything when base is not present
  int64_t since_ms = 0;      // Unix time of the first change that is not pushed
  int64_t changed_ms = 0;    // of the last one
};

// A name, and where it leads; 0 = nowhere.
struct Binding {
  NodeId parent = 0;
  std::string name;
  NodeId node = 0;
  bool operator==(const Binding&) const = default;
};

struct PendingName {
  NodeId parent = 0;
  std::string name;
  NodeId base = 0;
  NodeId local = 0;
  int64_t since_ms = 0;
};

struct PendingSummary {
  uint64_t names = 0;
  uint64_t nodes = 0;
  uint64_t bytes = 0;     // local bytes that differ from the base, about what is to be sent at most
  int64_t oldest_ms = 0;  // Unix time; 0: nothing is pending
};

// Where the source has a node.
struct RemotePlace {
  std::string path;  // "" = the root
  NodeId parent = 0;
  std::string name;
  BaseNode base;  // of a node without differences: its own attributes
};

// One file's bytes and attributes as they were at one moment: unchanged by what is written meanwhile.
// Releasing it without pushed() leaves everything to be pushed later. Any thread.
class PushSnapshot {
 public:
  virtual ~PushSnapshot() = default;
  virtual const Node& node() const = 0;
  virtual const BaseNode& base() const = 0;
  // Bytes of the base are the file's bytes at the same offset where `offset < base_limit()` and not in
  // changed().
  virtual uint64_t base_limit() const = 0;
  virtual const ExtentSet& changed() const = 0;
  // kNotFound when bytes of the base are needed that are not here: hydrate first.
  virtual Result<void> read(uint64_t offset, std::span<std::byte> out) const = 0;
  virtual bool complete() const = 0;  // every byte is here
  // The base's own bytes, changed or not; false: not all here.
  virtual Result<bool> read_base(uint64_t offset, std::span<std::byte> out) const = 0;
};

// A directory whose files went into another one of that name: directories in it in which there was no file
// did not come along, and the others are new ones, with times of their own and without extended attributes.
struct RemadeDirectory {
  Binding place;           // where it is now
  bool stays = false;      // it was made before the files came; otherwise it too is only there if it had any
  uint64_t xattr_set = 0;  // that it was made with, if it stays
};

// What the source has acknowledged, or turned out to have.
struct Acknowledged {
  // Base leads these names to these nodes now (0: nowhere).
  std::vector<Binding> names;
  // The source has these nodes in this state. Without PushSnapshot their bytes are as they were.
  std::vector<BaseNode> nodes;
  // The source turned out to have these nodes like that, extended attributes included where the list has
  // them.
  std::vector<std::pair<NodeId, KeptListedName>> found = {};
  // Names that lead to inodes of their own there, which users do not see: what a push that broke off left.
  std::vector<std::pair<Binding, KeptListedName>> strangers = {};
  // Directories that were moved file by file, as a server's backup directory does it.
  std::vector<RemadeDirectory> remade = {};
};

// A name for which both the source and users of the mount changed what cannot be merged. Nothing was done
// about it: what users see and what is pending stay as they are until keep_both(), keep_ours() or
// take_theirs().
struct Collision {
  NodeId parent = 0;
  std::string name;
  KeptListedName theirs;
  NodeId base = 0;   // what the name led to when both agreed; 0: to nothing
  NodeId local = 0;  // what users see; 0: nothing
};

// A conflict that was decided, for `conflicts`.
struct ConflictRecord {
  uint64_t id = 0;
  int64_t at_s = 0;       // Unix time
  std::string path;       // of the name that both changed
  std::string copy_path;  // where the version that lost the name is; "" = it was dropped by the user's policy
  std::string what;       // one line for people
};
constexpr size_t kMaxConflictRecords = 10'000;  // the oldest are dropped

// The source has exactly the snapshot's bytes, with these attributes. What was written since still differs.
struct PushedContent {
  std::shared_ptr<PushSnapshot> snapshot;
  BaseNode now;
  std::string digest_name;
  std::string digest;          // of the whole file
  std::vector<Binding> names;  // bound in the same transaction
};

class PendingChanges {
 public:
  virtual ~PendingChanges() = default;

  virtual PendingSummary summary() const = 0;  // cheap
  // The differences in the order of their first change, at most `limit`, after skipping `skip`.
  virtual Result<std::vector<PendingName>> names(size_t skip, size_t limit) const = 0;
  virtual Result<std::vector<PendingNode>> nodes(size_t skip, size_t limit) const = 0;
  // nullopt: it does not differ.
  virtual Result<std::optional<PendingNode>> node(NodeId node) const = 0;
  // Nodes that the source has and that were removed here. Looks at every differing name.
  virtual Result<uint64_t> removals() const = 0;

  // Single questions about both sides. For a node that does not differ base is its local state.
  virtual Result<NodeId> base_binding(NodeId parent, std::string_view name) const = 0;   // 0: nowhere
  virtual Result<NodeId> local_binding(NodeId parent, std::string_view name) const = 0;  // 0: nowhere
  virtual Result<std::vector<Binding>> base_names_of(NodeId node, size_t limit) const = 0;
  virtual Result<std::vector<Binding>> local_names_of(NodeId node, size_t limit) const = 0;
  virtual Result<std::vector<Binding>> base_children(NodeId directory, size_t limit) const = 0;
  virtual Result<BaseNode> base_of(NodeId node) const = 0;
  // Where the source has it. kNotFound: it does not have it.
  virtual Result<RemotePlace> remote_place(NodeId node) const = 0;
  virtual Result<std::string> remote_path(NodeId parent, std::string_view name) const = 0;

  // Takes the bytes and attributes of regular files with differences as they are now, many in one
  // transaction. One at a time for a node: kRefused while another one lives. kNotFound: nothing differs any
  // more.
  virtual std::vector<Result<std::shared_ptr<PushSnapshot>>> snapshots(std::span<const NodeId> files) = 0;
  Result<std::shared_ptr<PushSnapshot>> snapshot(NodeId file) {
    return std::move(snapshots(std::span(&file, 1)).front());
  }
  // The bytes of small ones among them are read into memory, many at once, for those who read them next. What
  // goes wrong is told then. Any thread.
  virtual void read_ahead(std::span<const std::shared_ptr<PushSnapshot>> snapshots) = 0;
  // Many small ones in one transaction. The first error ends it; what was recorded stays.
  virtual Result<void> pushed(std::vector<PushedContent> files) = 0;
  Result<void> pushed(std::shared_ptr<PushSnapshot> snapshot, const BaseNode& now,
                      std::string_view digest_name, std::string_view digest,
                      const std::vector<Binding>& names) {
    std::vector<PushedContent> one;
    one.push_back({std::move(snapshot), now, std::string(digest_name), std::string(digest), names});
    return pushed(std::move(one));
  }
  virtual Result<void> acknowledge(const Acknowledged& news) = 0;

  // ---- decisions about conflicts; each is one transaction and gives what the kernel must be told ----
  // The local side of the name goes to `copy_name` in the same directory, as something that the source does
  // not have; the name itself leads to what the source has (`theirs` null: nothing there).
  virtual Result<std::vector<NameChange>> keep_both(NodeId parent, std::string_view name,
                                                    const ListedName* theirs, std::string_view copy_name) = 0;
  // The local side stays, and is to replace what the source has now (null: has nothing, it is made anew).
  virtual Result<std::vector<NameChange>> keep_ours(NodeId parent, std::string_view name,
                                                    const ListedName* theirs) = 0;
  // The local side's changes of this name are dropped for what the source has (null: the name goes).
  virtual Result<std::vector<NameChange>> take_theirs(NodeId parent, std::string_view name,
                                                      const ListedName* theirs) = 0;

  virtual Result<void> record_conflict(const ConflictRecord& record) = 0;
  virtual Result<std::vector<ConflictRecord>> conflicts(size_t limit) const = 0;
  virtual Result<void> clear_conflicts(const std::vector<uint64_t>& ids) = 0;
};

}  // namespace rsyncfs
