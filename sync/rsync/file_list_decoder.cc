// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/file_list_decoder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "sync/rsync/file_list_sort.h"
#include "sync/rsync/list_flags.h"

namespace rsyncfs {

namespace {

constexpr uint32_t kKnownFlags = 0x3fff;

constexpr size_t kMaxComponent = 255;  // NAME_MAX; other systems have longer names
constexpr uint32_t kMaxLinkTarget = 4095;
constexpr uint32_t kMaxNs = 999'999'999;

// Mode 0 says that there is no such file. Solaris has doors and event ports.
bool known_type(uint32_t mode) {
  return mode == 0 || S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || is_device(mode) || is_special(mode);
}

bool valid_component(std::string_view name) {
  return !name.empty() && name != "." && name != "..";
}

// False if a component is none; `longest` is raised to the longest one's size.
bool valid_directory(std::string_view path, size_t& longest) {
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (!valid_component(component)) return false;
    longest = std::max(longest, component.size());
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

FileListDecoder::FileListDecoder(const ListFormat& format, const ListLimits& limits)
    : format_(format), limits_(limits), first_index_(format.incremental ? 1 : 0) {
  list_.dirnames.emplace_back();
}

Result<Parsed> FileListDecoder::parse(std::span<const std::byte> data) {
  Parsed parsed;
  while (!done()) {
    WireReader in(data.subspan(parsed.consumed));
    step(in);
    if (in.is_bad()) return Error(Errc::kProtocol, std::string("file list: ") + in.bad());
    if (in.is_short()) {
      parsed.need = in.need();
      return parsed;
    }
    parsed.consumed += in.position();
    if (list_.entries.size() > limits_.max_entries) {
      return Error(Errc::kLimit,
                   "the source lists more than " + std::to_string(limits_.max_entries) + " entries");
    }
    if (format_.incremental && kept_bytes_ > limits_.max_kept_bytes)
      return Error(Errc::kLimit, "the source has too many different extended attributes");
    if (bytes_ + kept_bytes_ > limits_.max_bytes)
      return Error(Errc::kLimit, "the source's list needs too much memory");
  }
  return parsed;
}

void FileListDecoder::step(WireReader& in) {
  switch (phase_) {
    case Phase::kEntry:
      return parse_entry(in);
    case Phase::kAcl:
      return parse_acl(in);
    case Phase::kAclName:
      return parse_acl_name(in);
    case Phase::kXattrs:
      return parse_xattr_index(in);
    case Phase::kXattr:
      return parse_xattr(in);
    case Phase::kUidList:
      return parse_id_list(in, list_.user_names, Phase::kLastUid, Phase::kGidList);
    case Phase::kLastUid:
      return parse_last_id(in, list_.user_names, Phase::kGidList);
    case Phase::kGidList:
      return parse_id_list(in, list_.group_names, Phase::kLastGid, Phase::kDone);
    case Phase::kLastGid:
      return parse_last_id(in, list_.group_names, Phase::kDone);
    case Phase::kDone:
      return;
  }
}

FileList FileListDecoder::take() {
  RSYNCFS_CHECK(done());
  take_attributes();
  sort_file_list(list_);
  return std::move(list_);
}

bool FileListDecoder::next(std::string directory) {
  RSYNCFS_CHECK(done() && format_.incremental);
  const uint64_t first = uint64_t{first_index_} + count_ + 1;
  if (first + limits_.max_entries > INT32_MAX) return false;
  first_index_ = static_cast<uint32_t>(first);
  count_ = 0;
  list_ = {};
  list_.dirnames.emplace_back();
  dirname_ = 0;
  bytes_ = 0;
  directory_ = std::move(directory);
  phase_ = Phase::kEntry;
  return true;
}

bool FileListDecoder::parse_end_of_entries(WireReader& in, uint32_t flags) {
  const bool old_error_end = !format_.varint_flags && flags == (kXmitExtended | kXmitIoErrorEnd);
  if (flags != 0 && !old_error_end) return false;
  const uint32_t errors = flags != 0 || format_.varint_flags ? in.varint_unsigned() : 0;
  if (in.ok()) {
    list_.io_error |= errors & kIoErrorMask;
    phase_ = first_id_phase();
  }
  return true;
}

void FileListDecoder::parse_entry(WireReader& in) {
  uint32_t flags = 0;
  if (format_.varint_flags) {
    flags = in.varint_unsigned();
  } else {
    flags = in.u8();
    if ((flags & kXmitExtended) != 0) flags |= uint32_t{in.u8()} << 8;
  }
  if (!in.ok() || parse_end_of_entries(in, flags)) return;
  if ((flags & ~kKnownFlags) != 0) return in.fail("unknown entry flags");

  // The name is only kept when the entry is whole; until then its new part is a view of the input.
  const size_t shared = (flags & kXmitSameName) != 0 ? in.u8() : 0;
  const size_t fresh_size =
      (flags & kXmitLongName) != 0 ? in.varint_bounded(kMaxPath, "an over-long name") : in.u8();
  const std::string_view fresh = in.text(fresh_size);
  if (shared > name_size_) return in.fail("a name shares more than the previous one has");
  if (shared + fresh_size > kMaxPath) return in.fail("an over-long name");

  FileEntry entry;
  EntryExtra extra;
  const Previous saved = previous_;
  parse_fields(in, flags, entry, extra);
  if (!in.ok()) {
    previous_ = saved;
    return;
  }
  if (!fresh.empty()) std::memcpy(name_.data() + shared, fresh.data(), fresh.size());
  name_size_ = shared + fresh_size;
  if (fresh.find('\0') != std::string_view::npos) return in.fail("a name with a NUL byte");
  if (!set_name(in)) return;
  const std::string_view base(name_.data() + basename_start_, name_size_ - basename_start_);
  if (base == "." && !S_ISDIR(entry.mode)) return in.fail("a root that is not a directory");

  entry.name_offset = static_cast<uint32_t>(list_.arena.size());
  entry.name_length = static_cast<uint16_t>(base.size());
  entry.dirname = dirname_;
  if (long_basename_ || long_dirname_ || !known_type(entry.mode)) mark_unusable(entry);
  list_.arena.append(base);
  charge(base.size());
  if (list_.arena.size() > UINT32_MAX - kMaxPath) return in.fail("more than 4 GiB of names");
  store_entry(entry, extra, is_device(entry.mode) || S_ISLNK(entry.mode) || extra.hlink_group != 0);
  after_entry();
}

void FileListDecoder::mark_unusable(FileEntry& entry) {
  entry.flags |= FileEntry::kUnusable;
  ++list_.unusable;
}

// Checks the path in name_ and finds its directory.
bool FileListDecoder::set_name(WireReader& in) {
  const std::string_view path(name_.data(), name_size_);
  const size_t slash = path.rfind('/');
  basename_start_ = slash == std::string_view::npos ? 0 : slash + 1;
  const std::string_view base = path.substr(basename_start_);
  const std::string_view dir = path.substr(0, slash == std::string_view::npos ? 0 : slash);
  if (!valid_component(base) && path != ".") {
    in.fail("an unusable name");
    return false;
  }
  if (slash == 0) {
    in.fail("an absolute name");
    return false;
  }
  if (format_.incremental && dir != directory_) {
    in.fail("a name that is not in the list's directory");
    return false;
  }
  long_basename_ = base.size() > kMaxComponent;
  if (dir.empty()) {
    dirname_ = 0;
    long_dirname_ = false;
    return true;
  }
  if (dirname_ != 0 && list_.dirnames[dirname_] == dir) return true;
  size_t longest = 0;
  if (!valid_directory(dir, longest)) {
    in.fail("an unusable directory name");
    return false;
  }
  long_dirname_ = longest > kMaxComponent;
  if (list_.dirnames.size() > 1 && list_.dirnames.back() == dir) {
    dirname_ = static_cast<uint32_t>(list_.dirnames.size() - 1);
    return true;
  }
  dirname_ = static_cast<uint32_t>(list_.dirnames.size());
  list_.dirnames.emplace_back(dir);
  charge(sizeof(std::string) + dir.size());
  return true;
}

void FileListDecoder::copy_linked(uint32_t first, FileEntry& entry, EntryExtra& extra) {
  const FileEntry& source = list_.entries[first];
  const EntryExtra& source_extra = list_.extra(source);
  entry.size = source.size;
  entry.mtime_s = source.mtime_s;
  entry.mtime_ns = source.mtime_ns;
  entry.mode = source.mode;
  entry.uid = source.uid;
  entry.gid = source.gid;
  extra.rdev_major = source_extra.rdev_major;
  extra.rdev_minor = source_extra.rdev_minor;
  extra.link_target = source_extra.link_target;
  previous_.mtime_s = source.mtime_s;
  previous_.mode = source.mode;
  previous_.uid = source.uid;
  previous_.gid = source.gid;
  if (is_device(source.mode)) previous_.rdev_major = source_extra.rdev_major;
}

void FileListDecoder::parse_ids(WireReader& in, uint32_t flags, FileEntry& entry) {
  if ((flags & kXmitSameUid) == 0) {
    previous_.uid = in.varint_unsigned();
    if ((flags & kXmitUserNameFollows) != 0)
      remember_id(in, list_.user_names, previous_.uid, in.text(in.u8()));
  }
  if ((flags & kXmitSameGid) == 0) {
    previous_.gid = in.varint_unsigned();
    if ((flags & kXmitGroupNameFollows) != 0)
      remember_id(in, list_.group_names, previous_.gid, in.text(in.u8()));
  }
  entry.uid = previous_.uid;
  entry.gid = previous_.gid;
}

void FileListDecoder::parse_fields(WireReader& in, uint32_t flags, FileEntry& entry, EntryExtra& extra) {
  const uint32_t index = first_index_ + static_cast<uint32_t>(list_.entries.size());
  if ((flags & kXmitHardLinked) != 0) {
    entry.flags |= FileEntry::kHardLinked;
    extra.hlink_group = index + 1;
    if ((flags & kXmitHardLinkFirst) == 0) {
      const uint32_t first = in.varint_unsigned();
      if (!in.ok()) return;
      extra.hlink_group = first + 1;
      if (first >= index) return in.fail("a hard link to an entry that is none");
      if (first >= first_index_) {
        const uint32_t place = first - first_index_;
        if (list_.extra(list_.entries[place]).hlink_group != first + 1)
          return in.fail("a hard link to an entry that is none");
        return copy_linked(place, entry, extra);
      }
      // Of an earlier list: it is told in full.
    }
  }
  const int64_t size = in.varlong(3);
  if (size < 0) return in.fail("a negative size");
  entry.size = static_cast<uint64_t>(size);
  if ((flags & kXmitSameTime) == 0) previous_.mtime_s = in.varlong(4);
  if ((flags & kXmitMtimeNs) != 0) entry.mtime_ns = in.varint_bounded(kMaxNs, "nanoseconds out of range");
  if ((flags & kXmitSameMode) == 0) {
    previous_.mode = in.le32();
    if ((previous_.mode & ~uint32_t{S_IFMT | 07777}) != 0) return in.fail("an impossible file mode");
  }
  entry.mtime_s = previous_.mtime_s;
  entry.mode = previous_.mode;
  parse_ids(in, flags, entry);
  if (is_device(entry.mode) || (is_special(entry.mode) && format_.protocol < 31)) {
    if ((flags & kXmitSameRdevMajor) == 0) previous_.rdev_major = in.varint_unsigned();
    const uint32_t minor = in.varint_unsigned();
    if (is_device(entry.mode)) {
      extra.rdev_major = previous_.rdev_major;
      extra.rdev_minor = minor;
    }
    entry.size = 0;
  }
  if (S_ISLNK(entry.mode)) {
    const std::string_view target = in.text(in.varint_bounded(kMaxLinkTarget, "an over-long link target"));
    if (target.find('\0') != std::string_view::npos) return in.fail("a link target with a NUL byte");
    extra.link_target = target;
  }
  if (S_ISDIR(entry.mode)) {
    if ((flags & kXmitTopDir) != 0) entry.flags |= FileEntry::kTopDir;
    if ((flags & kXmitNoContentDir) != 0) entry.flags |= FileEntry::kNoContentDir;
  }
}

void FileListDecoder::store_entry(FileEntry& entry, EntryExtra& extra, bool has_extra) {
  if (has_extra) {
    charge(sizeof(EntryExtra) + extra.link_target.capacity());
    list_.extras.push_back(std::move(extra));
    entry.extra = static_cast<uint32_t>(list_.extras.size());
  }
  list_.entries.push_back(entry);
  ++count_;
  charge(sizeof(FileEntry) + kSortBytesPerEntry);
  // Whoever makes a tree of the list holds each directory's path.
  if (S_ISDIR(entry.mode)) charge(sizeof(std::string) + name_size_);
}

EntryExtra& FileListDecoder::current_extra() {
  FileEntry& entry = list_.entries.back();
  if (entry.extra == 0) {
    list_.extras.emplace_back();
    charge(sizeof(EntryExtra));
    entry.extra = static_cast<uint32_t>(list_.extras.size());
  }
  return list_.extras[entry.extra - 1];
}

void FileListDecoder::after_entry() {
  default_acl_ = false;
  const bool has_acl = format_.acls && !S_ISLNK(list_.entries.back().mode);
  phase_ = has_acl ? Phase::kAcl : format_.xattrs ? Phase::kXattrs : Phase::kEntry;
}

void FileListDecoder::remember_id(WireReader& in, std::map<uint32_t, std::string>& names, uint32_t id,
                                  std::string_view name) {
  if (!in.ok() || name.empty()) return;
  if (name.find('\0') != std::string_view::npos) return in.fail("a user or group name with a NUL byte");
  if (names.emplace(id, name).second) charge(64 + name.size());
}

void FileListDecoder::parse_id_list(WireReader& in, std::map<uint32_t, std::string>& names, Phase last,
                                    Phase next) {
  const uint32_t id = in.varint_unsigned();
  if (!in.ok()) return;
  if (id == 0) {
    phase_ = format_.id0_names ? last : next;
    return;
  }
  remember_id(in, names, id, in.text(in.u8()));
}

void FileListDecoder::parse_last_id(WireReader& in, std::map<uint32_t, std::string>& names, Phase next) {
  const std::string_view name = in.text(in.u8());
  if (!in.ok()) return;
  remember_id(in, names, 0, name);
  phase_ = next;
}

}  // namespace rsyncfs
