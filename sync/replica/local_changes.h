// SPDX-License-Identifier: GPL-3.0-or-later
// What users of the mount change. The tree of nodes and names is what they see; the state of the source as
// far as we know it is the same tree but for the differences that are recorded beside it
// (sync/replica/pending.h). So a change that is taken back before it was pushed costs nothing: no log of
// operations is kept.
//
// Any thread. Each call is one transaction, or for bytes: written to their file, then one transaction. When
// it returns, a killed process loses nothing of it; a power cut loses nothing that sync() was asked for. No
// lock is held when it returns. Rules of POSIX that need only the tree are kept here (existence, types,
// emptiness, loops); permissions are not: the caller has checked them.
//
// Errors: kOs with the errno of the system call that does the same on a local disk (EEXIST, ENOTEMPTY,
// EISDIR, ENOTDIR, EINVAL, EMLINK, EFBIG, ENODATA, ENAMETOOLONG; ENOSPC and EIO of the store's disk);
// kNotFound when there is no such name (ENOENT) or node (ESTALE); kCorrupt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// A node to be made. Ids are the source's numbers.
struct NewNode {
  uint32_t mode = 0;  // with type bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  std::string link_target;  // symbolic links
  StoredXattrs xattrs;      // inherited ACLs; sorted by name
};

// Only what is set is changed; the change time becomes now.
struct AttributeChange {
  std::optional<uint32_t> permissions = std::nullopt;  // the lower 12 bits of the mode
  std::optional<uint32_t> uid = std::nullopt;
  std::optional<uint32_t> gid = std::nullopt;
  std::optional<FileTime> mtime = std::nullopt;
  std::optional<FileTime> atime = std::nullopt;  // kept here, never pushed
};

enum class RenameMode : uint8_t { kReplace, kNoReplace, kExchange };

// What a change of names did.
struct NameEffect {
  Node node;                  // that the name leads to now, or (removals) led to; as it is after the change
  std::optional<Node> other;  // renames: the node that lost the name, or got the old one; as it is after
};

enum class AllocateMode : uint8_t {
  kAllocate,          // the file grows if needed
  kAllocateKeepSize,  // no visible effect
  kPunchHole,         // zeros, the size stays
  kZeroRange,         // zeros, the file grows if needed
  kZeroRangeKeepSize,
};

// Bytes of the base version that were got from the source just now.
struct BaseBytes {
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
};

// The contents of one file with local changes: layers over what the source has. Any thread.
class DirtyContent {
 public:
  virtual ~DirtyContent() = default;
  virtual uint64_t size() const = 0;
  // Fills `out` with the bytes from `offset` on and returns how many there are (fewer only at the end).
  // Ranges of the base version that are needed and not here are added to `missing`, and `out` is not to be
  // used then. `base` is used before the store is asked.
  virtual Result<size_t> read(uint64_t offset, std::span<std::byte> out,
                              std::vector<ExtentSet::Range>& missing,
                              const BaseBytes* base = nullptr) const = 0;
  // As lseek(2) has it: the start of data or of a hole at or after `offset`, size() for the hole at the end.
  // What is not here counts as data.
  virtual uint64_t seek_data(uint64_t offset) const = 0;
  virtual uint64_t seek_hole(uint64_t offset) const = 0;
};

class LocalChanges {
 public:
  virtual ~LocalChanges() = default;

  // ---- names ----
  virtual Result<Node> create(NodeId parent, std::string_view name, const NewNode& node) = 0;
  // O_TMPFILE: no name leads to it until link() gives one.
  virtual Result<Node> create_unnamed(const NewNode& node) = 0;
  virtual Result<Node> link(NodeId node, NodeId parent, std::string_view name) = 0;
  virtual Result<NameEffect> unlink(NodeId parent, std::string_view name) = 0;
  virtual Result<NameEffect> remove_directory(NodeId parent, std::string_view name) = 0;
  virtual Result<NameEffect> rename(NodeId parent, std::string_view name, NodeId new_parent,
                                    std::string_view new_name, RenameMode mode) = 0;

  // ---- attributes ----
  virtual Result<Node> change_attributes(NodeId node, const AttributeChange& change) = 0;
  // Takes the place of all extended attributes; `values`: full values of those that are abbreviated in
  // `xattrs`. `permissions`: of the mode, which an ACL changes too.
  struct FullValue {
    std::string digest;
    std::string value;
  };
  virtual Result<Node> replace_xattrs(NodeId node, const StoredXattrs& xattrs,
                                      const std::vector<FullValue>& values,
                                      std::optional<uint32_t> permissions) = 0;

  // ---- bytes of regular files ----
  // mtime and ctime become now, unless `mtime` says otherwise. `clear_permissions`: bits of the mode that go
  // (setuid).
  virtual Result<Node> write(NodeId file, uint64_t offset, std::span<const std::byte> data,
                             uint32_t clear_permissions = 0) = 0;
  virtual Result<Node> resize(NodeId file, uint64_t size, uint32_t clear_permissions = 0) = 0;
  virtual Result<Node> allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length,
                                uint32_t clear_permissions = 0) = 0;
  // A file that the source replaced or removed while somebody had it open becomes a conflict copy with the
  // first change of its bytes (kNotFound, ESTALE, if they are not all here). `watch` hears of the name that
  // it got, on the thread of the change, before that returns. Set with nobody
  // else using this; empty: nobody hears of it.
  using NewNameWatch = std::function<void(const NameChange&)>;
  virtual void watch_new_names(NewNameWatch watch) = 0;
  // Null: no local change of its bytes, Replica::content() has all there is.
  virtual std::shared_ptr<const DirtyContent> dirty(NodeId file) const = 0;

  // ---- durability ----
  // The node's bytes, its attributes and every change of names before the call are on the disk.
  virtual Result<void> sync(NodeId node) = 0;
  virtual Result<void> sync_all() = 0;
};

}  // namespace rsyncfs
