// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/acl.h"

#include <endian.h>

#include <cstdint>
#include <cstring>

namespace rsyncfs {
namespace {

constexpr uint32_t kVersion = 2;
constexpr uint16_t kTagUser = 0x02;
constexpr uint16_t kTagGroup = 0x08;
constexpr size_t kHeaderBytes = 4;
constexpr size_t kEntryBytes = 8;
constexpr size_t kIdOffset = 4;  // in an entry: tag (2), permissions (2), id (4)

uint16_t get16(const char* at) {
  uint16_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return le16toh(value);
}

uint32_t get32(const char* at) {
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return le32toh(value);
}

}  // namespace

bool is_posix_acl(std::string_view xattr_name) {
  return xattr_name == "system.posix_acl_access" || xattr_name == "system.posix_acl_default";
}

std::optional<std::string> map_acl_ids(std::string_view acl, const IdMap& ids) {
  if (acl.size() < kHeaderBytes || (acl.size() - kHeaderBytes) % kEntryBytes != 0) return std::nullopt;
  if (get32(acl.data()) != kVersion) return std::nullopt;
  std::string mapped(acl);
  for (size_t at = kHeaderBytes; at < mapped.size(); at += kEntryBytes) {
    const uint16_t tag = get16(&mapped[at]);
    if (tag != kTagUser && tag != kTagGroup) continue;
    const uint32_t id = get32(&mapped[at + kIdOffset]);
    const uint32_t local = htole32(tag == kTagUser ? ids.local_uid(id) : ids.local_gid(id));
    std::memcpy(&mapped[at + kIdOffset], &local, sizeof local);
  }
  return mapped;
}

}  // namespace rsyncfs
