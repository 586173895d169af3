// SPDX-License-Identifier: GPL-3.0-or-later
// The file list off the wire, in protocols 30 to 32, for a sender called with -logDtp and any of -H -A -X.
// Source: rsync's flist.c, acls.c, xattrs.c, uidlist.c.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/file_list.h"
#include "sync/rsync/item_stream.h"
#include "sync/rsync/list_flags.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

struct ListLimits {
  size_t max_entries = kMaxListEntries;
  size_t max_bytes = kMaxListBytes;
  // Incremental: of distinct ACLs and sets of extended attributes, which are kept to the end. Beyond: kLimit.
  size_t max_kept_bytes = size_t{64} << 20;
};

// io_error bits that rsync defines; others are ignored.
constexpr uint32_t kIoErrorMask = 7;

// Feed it until done(); then take the list, sorted. Of an incremental one, next() begins the list of a
// directory.
class FileListDecoder {
 public:
  explicit FileListDecoder(const ListFormat& format, const ListLimits& limits = {});

  // Takes whole items from the front of `data`, none beyond the list's end.
  Result<Parsed> parse(std::span<const std::byte> data);
  bool done() const { return phase_ == Phase::kDone; }
  // Once, when done(). Entries are in index order.
  FileList take();
  // Incremental, after take(): the list of `directory` follows, which an earlier one has named. False: there
  // are more entries than indices.
  [[nodiscard]] bool next(std::string directory);
  // The number that each of a set's attributes has on the wire, where that is not its place in the sorted set
  // plus one. For value requests.
  const std::unordered_map<uint32_t, std::vector<uint32_t>>& xattr_numbers() const { return xattr_numbers_; }

 private:
  enum class Phase : uint8_t {
    kEntry,
    kAcl,
    kAclName,
    kXattrs,
    kXattr,
    kUidList,
    kGidList,
    kLastUid,
    kLastGid,
    kDone
  };

  void parse_entry(WireReader& in);
  bool parse_end_of_entries(WireReader& in, uint32_t flags);
  void parse_fields(WireReader& in, uint32_t flags, FileEntry& entry, EntryExtra& extra);
  void parse_ids(WireReader& in, uint32_t flags, FileEntry& entry);
  void copy_linked(uint32_t first, FileEntry& entry, EntryExtra& extra);
  void store_entry(FileEntry& entry, EntryExtra& extra, bool has_extra);
  bool set_name(WireReader& in);
  void mark_unusable(FileEntry& entry);
  void after_entry();
  void parse_acl(WireReader& in);
  void finish_acl();
  void parse_acl_name(WireReader& in);
  void parse_xattr_index(WireReader& in);
  void parse_xattr(WireReader& in);
  void finish_xattrs();
  void parse_id_list(WireReader& in, std::map<uint32_t, std::string>& names, Phase last, Phase next);
  void parse_last_id(WireReader& in, std::map<uint32_t, std::string>& names, Phase next);
  void remember_id(WireReader& in, std::map<uint32_t, std::string>& names, uint32_t id,
                   std::string_view name);
  void step(WireReader& in);
  EntryExtra& current_extra();
  void take_attributes();
  Phase first_id_phase() const {
    return format_.numeric_ids || format_.incremental ? Phase::kDone : Phase::kUidList;
  }
  void charge(size_t bytes) { bytes_ += bytes; }
  void charge_kept(size_t bytes) { kept_bytes_ += bytes; }

  ListFormat format_;
  ListLimits limits_;
  FileList list_;
  Phase phase_ = Phase::kEntry;
  size_t bytes_ = 0;       // about what the list holds, and what sorting it will take
  size_t kept_bytes_ = 0;  // of ACLs and attributes, to which all lists refer
  uint32_t first_index_;   // of list_
  uint32_t count_ = 0;     // of its entries
  std::string directory_;  // incremental: whose list it is

  // What the next entry may say is unchanged. parse_entry() works on a copy, kept when the entry is whole.
  struct Previous {
    int64_t mtime_s = 0;
    uint32_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint32_t rdev_major = 0;
  };
  Previous previous_;
  static constexpr size_t kMaxPath = 4095;
  std::array<char, kMaxPath + 1> name_{};  // the previous entry's path; the next shares a prefix
  size_t name_size_ = 0;
  size_t basename_start_ = 0;
  uint32_t dirname_ = 0;
  bool long_basename_ = false;  // longer than NAME_MAX
  bool long_dirname_ = false;   // some component of it is

  // The list being received after the entry proper.
  bool default_acl_ = false;
  std::array<std::vector<int32_t>, 2>
      acl_numbers_;  // by wire index: access, default -> index into acls, -1 = trivial
  std::vector<PosixAcl> acls_;
  PosixAcl acl_;
  uint32_t acl_names_left_ = 0;
  std::vector<XattrSet> xattr_sets_;
  XattrSet xattrs_;
  uint32_t xattrs_left_ = 0;
  size_t xattr_list_bytes_ = 0;
  std::unordered_map<uint32_t, std::vector<uint32_t>> xattr_numbers_;
};

}  // namespace rsyncfs
