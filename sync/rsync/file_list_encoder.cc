// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/file_list_encoder.h"

#include <sys/stat.h>

#include <algorithm>

#include "sync/rsync/wire.h"

namespace rsyncfs {

namespace {
constexpr size_t kMaxShared = 255;     // of the previous name
constexpr size_t kMaxShortName = 255;  // of what is new in a name
constexpr size_t kMaxIdName = 255;
}  // namespace

void FileListEncoder::write(const PushList& list, const std::map<uint32_t, std::string>& user_names,
                            const std::map<uint32_t, std::string>& group_names, ByteQueue& out) {
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
    const PushEntry& entry = list.entry(ndx);
    write_entry(ndx, entry, out);
    if (format_.acls && !S_ISLNK(entry.mode)) acls_.write(entry, out);
    if (format_.xattrs) xattrs_.write(entry.xattrs, out);
  }
  out.append_u8(0);
  if (format_.varint_flags) write_varint(out, 0);  // no errors
  if (!format_.numeric_ids && (parts_.owner || format_.acls)) {
    write_ids(user_names, out);
    write_ids(group_names, out);
  }
}

void FileListEncoder::write_entry(uint32_t ndx, const PushEntry& entry, ByteQueue& out) {
  const PushEntry* attributes = &entry;
  const PushEntry* first = nullptr;
  uint32_t link_flags = 0;
  if (parts_.hard_links && entry.hlink_group != 0 && !S_ISDIR(entry.mode)) {
    link_flags = kXmitHardLinked;
    const auto [known, fresh] = linked_.emplace(entry.hlink_group, &entry);
    if (fresh) {
      link_flags |= kXmitHardLinkFirst;
      linked_ndx_[entry.hlink_group] = ndx;
    } else {
      attributes = first = known->second;  // the receiver takes them from there
    }
  }
  const auto limit = std::min({name_.size(), entry.path.size(), kMaxShared});
  const auto differs =
      std::mismatch(name_.begin(), name_.begin() + static_cast<std::ptrdiff_t>(limit), entry.path.begin());
  const auto shared = static_cast<size_t>(differs.first - name_.begin());
  uint32_t flags = flags_of(*attributes) | link_flags;
  if (shared > 0) flags |= kXmitSameName;
  if (entry.path.size() - shared > kMaxShortName) flags |= kXmitLongName;
  write_flags(flags, entry, out);
  write_name(flags, entry.path, shared, out);
  if (first != nullptr) {
    write_varint(out, static_cast<int32_t>(linked_ndx_[entry.hlink_group]));
  } else {
    write_fields(flags, entry, out);
  }
  remember(*attributes);
  name_ = entry.path;
}

uint32_t FileListEncoder::flags_of(const PushEntry& entry) const {
  uint32_t flags = 0;
  if (S_ISDIR(entry.mode)) flags = kXmitNoContentDir | (entry.touch ? 0 : kXmitTopDir);
  if (entry.mode == mode_) flags |= kXmitSameMode;
  if (sends_rdev(entry.mode) && (!is_device(entry.mode) || entry.rdev_major == rdev_major_)) {
    flags |= kXmitSameRdevMajor;
  }
  // The first entry always says its ids.
  if (!parts_.owner || (entry.uid == uid_ && !name_.empty())) flags |= kXmitSameUid;
  if (!parts_.owner || (entry.gid == gid_ && !name_.empty())) flags |= kXmitSameGid;
  if (entry.mtime_s == mtime_s_) flags |= kXmitSameTime;
  if (entry.mtime_ns != 0 && format_.protocol >= 31) flags |= kXmitMtimeNs;
  return flags;
}

// Nothing at all would be the list's end.
void FileListEncoder::write_flags(uint32_t flags, const PushEntry& entry, ByteQueue& out) const {
  if (format_.varint_flags) {
    return write_varint(out, static_cast<int32_t>(flags != 0 ? flags : kXmitExtended));
  }
  if (flags == 0 && !S_ISDIR(entry.mode)) flags = kXmitTopDir;  // means nothing for such an entry
  if (flags > 0xff || flags == 0) {
    out.append_le16(static_cast<uint16_t>(flags | kXmitExtended));
  } else {
    out.append_u8(static_cast<uint8_t>(flags));
  }
}

void FileListEncoder::write_name(uint32_t flags, std::string_view path, size_t shared, ByteQueue& out) {
  if ((flags & kXmitSameName) != 0) out.append_u8(static_cast<uint8_t>(shared));
  const std::string_view fresh = path.substr(shared);
  if ((flags & kXmitLongName) != 0) {
    write_varint(out, static_cast<int32_t>(fresh.size()));
  } else {
    out.append_u8(static_cast<uint8_t>(fresh.size()));
  }
  out.append(fresh);
}

void FileListEncoder::write_fields(uint32_t flags, const PushEntry& entry, ByteQueue& out) const {
  const uint64_t size = S_ISLNK(entry.mode) ? entry.link_target.size() : entry.size;
  write_varlong(out, static_cast<int64_t>(size), 3);
  if ((flags & kXmitSameTime) == 0) write_varlong(out, entry.mtime_s, 4);
  if ((flags & kXmitMtimeNs) != 0) write_varint(out, static_cast<int32_t>(entry.mtime_ns));
  if ((flags & kXmitSameMode) == 0) out.append_le32(entry.mode);
  if ((flags & kXmitSameUid) == 0) write_varint(out, static_cast<int32_t>(entry.uid));
  if ((flags & kXmitSameGid) == 0) write_varint(out, static_cast<int32_t>(entry.gid));
  if (sends_rdev(entry.mode)) write_rdev(flags, entry, out);
  if (S_ISLNK(entry.mode)) {
    write_varint(out, static_cast<int32_t>(entry.link_target.size()));
    out.append(entry.link_target);
  }
}

void FileListEncoder::write_rdev(uint32_t flags, const PushEntry& entry, ByteQueue& out) const {
  if ((flags & kXmitSameRdevMajor) == 0) write_varint(out, static_cast<int32_t>(entry.rdev_major));
  write_varint(out, is_device(entry.mode) ? static_cast<int32_t>(entry.rdev_minor) : 0);
}

void FileListEncoder::remember(const PushEntry& entry) {
  mode_ = entry.mode;
  mtime_s_ = entry.mtime_s;
  uid_ = entry.uid;
  gid_ = entry.gid;
  if (parts_.devices && is_device(entry.mode)) rdev_major_ = entry.rdev_major;
}

void FileListEncoder::write_ids(const std::map<uint32_t, std::string>& names, ByteQueue& out) const {
  const auto write_name_of = [&](std::string_view name) {
    name = name.substr(0, kMaxIdName);
    out.append_u8(static_cast<uint8_t>(name.size()));
    out.append(name);
  };
  for (const auto& [id, name] : names) {
    if (id == 0 || name.empty()) continue;
    write_varint(out, static_cast<int32_t>(id));
    write_name_of(name);
  }
  write_varint(out, 0);
  if (!format_.id0_names) return;
  const auto root = names.find(0);
  write_name_of(root == names.end() ? std::string_view() : std::string_view(root->second));
}

}  // namespace rsyncfs
