// SPDX-License-Identifier: GPL-3.0-or-later
// The flags before each entry of a file list, and what else its writer and its reader share. Source: rsync.h,
// XMIT_*.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>

namespace rsyncfs {

constexpr uint32_t kXmitTopDir = 0x1;
constexpr uint32_t kXmitSameMode = 0x2;
constexpr uint32_t kXmitExtended = 0x4;
constexpr uint32_t kXmitSameUid = 0x8;
constexpr uint32_t kXmitSameGid = 0x10;
constexpr uint32_t kXmitSameName = 0x20;
constexpr uint32_t kXmitLongName = 0x40;
constexpr uint32_t kXmitSameTime = 0x80;
constexpr uint32_t kXmitSameRdevMajor = 0x100;  // devices
constexpr uint32_t kXmitNoContentDir = 0x100;   // directories
constexpr uint32_t kXmitHardLinked = 0x200;
constexpr uint32_t kXmitUserNameFollows = 0x400;
constexpr uint32_t kXmitGroupNameFollows = 0x800;
constexpr uint32_t kXmitHardLinkFirst = 0x1000;
constexpr uint32_t kXmitIoErrorEnd = 0x1000;  // with kXmitExtended alone
constexpr uint32_t kXmitMtimeNs = 0x2000;

constexpr uint32_t kMaxFullXattr = 32;  // larger values are listed as their digest
constexpr size_t kXattrDigest = 16;     // unseeded MD5

// What an ACL holds, and of each of its names (acls.c XMIT_*, XFLAG_*).
constexpr uint8_t kAclUser = 1;
constexpr uint8_t kAclGroup = 2;
constexpr uint8_t kAclMask = 4;
constexpr uint8_t kAclOther = 8;
constexpr uint8_t kAclNames = 16;
constexpr uint32_t kAclNameFollows = 1;
constexpr uint32_t kAclNameIsUser = 2;

inline bool is_device(uint32_t mode) {
  return S_ISCHR(mode) || S_ISBLK(mode);
}
inline bool is_special(uint32_t mode) {
  return S_ISFIFO(mode) || S_ISSOCK(mode);
}

// What was agreed that shapes a list.
struct ListFormat {
  int protocol = 32;
  bool varint_flags = true;  // compat flag 'v': flags are varints, and the end carries the error bits
  bool id0_names = true;     // compat flag 'u': the id lists name id 0 too
  bool acls = false;
  bool xattrs = false;
  bool numeric_ids = false;
  // Compat flag 'i': one list for each directory. Names of ids follow where they are first met; the indices
  // of all lists count on, with a gap of one.
  bool incremental = false;
};

}  // namespace rsyncfs
