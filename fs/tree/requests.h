// SPDX-License-Identifier: GPL-3.0-or-later
// What is asked of the Tree, and what it answers.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "fs/tree/mode_changes.h"
#include "sync/engine/filter_rules.h"
#include "sync/replica/types.h"

namespace rsyncfs {

class SyncerEvents;

// One name's inode for its user. node == 0: there is no such name (a negative answer that may be cached).
struct Entry {
  NodeId node = 0;
  struct stat attr {};
  // A directory of which names were given before: its use must be asked for, since nothing else tells of it.
  bool tells_of_use = false;
};

// What is shown instead of what the source says; permissions are checked against it.
struct ShownAttributes {
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  uint32_t file_mask = 0;         // permission bits taken from everything but directories and symbolic links
  uint32_t directory_mask = 0;    // and from directories
  ModeChanges mode_changes = {};  // before those are taken
};

struct TreeOptions {
  ShownAttributes shown = {};
  // What the source is asked for, and can so be given: without, setting them fails with EOPNOTSUPP.
  bool xattrs = true;
  bool acls = true;
  FilterRules filters = {};   // what they leave out stays here
  bool fsync_remote = false;  // fsync(2) waits until the source has it
  // Told when a request changed more than its caller can know. Null: nobody is.
  SyncerEvents* events = nullptr;
};

// An extended attribute's value; `size` alone when the caller asked for no more.
struct XattrValue {
  uint64_t size = 0;
  std::string value;
};

enum class SeekKind : uint8_t { kData, kHole };

// Who changes something. Ids are this system's.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t umask = 0;
  std::function<bool(uint32_t gid)> in_group;  // by a supplementary group too; empty: in none but `gid`
  bool is_privileged() const { return uid == 0; }
  bool is_in_group(uint32_t group) const { return group == gid || (in_group && in_group(group)); }
};

struct NewFile {
  uint32_t mode = 0;             // with type bits, as asked for
  dev_t rdev = 0;                // devices
  std::string link_target = {};  // symbolic links
  Caller caller = {};
};

// Of something that may be there already.
struct CreateFlags {
  bool exclusive = false;  // then it is an error
  bool truncate = false;   // otherwise it becomes empty
};

// Only what is set is changed. Ids and permissions are those that are shown.
struct AttributeRequest {
  std::optional<uint32_t> permissions = std::nullopt;  // the lower 12 bits of the mode
  std::optional<uint32_t> uid = std::nullopt;
  std::optional<uint32_t> gid = std::nullopt;
  std::optional<uint64_t> size = std::nullopt;
  std::optional<FileTime> mtime = std::nullopt;
  std::optional<FileTime> atime = std::nullopt;
};

struct SetXattrFlags {
  bool must_be_new = false;
  bool must_be_there = false;
};

}  // namespace rsyncfs
