// SPDX-License-Identifier: GPL-3.0-or-later
// A push's list onto the wire, in protocols 30 to 32. Source: flist.c, send_file_entry(); uidlist.c.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/base/byte_queue.h"
#include "sync/rsync/attribute_encoder.h"
#include "sync/rsync/list_flags.h"
#include "sync/rsync/push_list.h"

namespace rsyncfs {

// Which parts of an entry the server's options make it read.
struct EntryParts {
  bool owner = false;       // -o -g
  bool devices = false;     // -D
  bool hard_links = false;  // -H
};

class FileListEncoder {
 public:
  FileListEncoder(const ListFormat& format, const EntryParts& parts) : format_(format), parts_(parts) {}

  // All of it, its end included; once. The names are sent unless format.numeric_ids.
  void write(const PushList& list, const std::map<uint32_t, std::string>& user_names,
             const std::map<uint32_t, std::string>& group_names, ByteQueue& out);

 private:
  void write_entry(uint32_t ndx, const PushEntry& entry, ByteQueue& out);
  uint32_t flags_of(const PushEntry& entry) const;
  void write_flags(uint32_t flags, const PushEntry& entry, ByteQueue& out) const;
  void write_name(uint32_t flags, std::string_view path, size_t shared, ByteQueue& out);
  void write_fields(uint32_t flags, const PushEntry& entry, ByteQueue& out) const;
  void write_rdev(uint32_t flags, const PushEntry& entry, ByteQueue& out) const;
  void remember(const PushEntry& entry);
  bool sends_rdev(uint32_t mode) const {
    return parts_.devices && (is_device(mode) || (is_special(mode) && format_.protocol < 31));
  }
  void write_ids(const std::map<uint32_t, std::string>& names, ByteQueue& out) const;

  ListFormat format_;
  EntryParts parts_;
  AclEncoder acls_;
  XattrEncoder xattrs_;
  std::unordered_map<uint32_t, const PushEntry*> linked_;  // by group: the first of it
  std::unordered_map<uint32_t, uint32_t> linked_ndx_;

  // What the next entry may say is unchanged.
  std::string name_;
  uint32_t mode_ = 0;
  int64_t mtime_s_ = 0;
  uint32_t uid_ = 0;
  uint32_t gid_ = 0;
  uint32_t rdev_major_ = 0;
};

}  // namespace rsyncfs
