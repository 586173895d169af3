// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/acl.h"

#include <endian.h>

#include <cstring>
#include <functional>
#include <vector>

namespace rsyncfs {
namespace {

constexpr uint32_t kVersion = 2;
enum Tag : uint16_t {
  kOwner = 0x01,
  kUser = 0x02,
  kOwningGroup = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};
constexpr size_t kHeaderBytes = 4;
constexpr size_t kEntryBytes = 8;

struct AclEntry {
  uint16_t tag = 0;
  uint16_t permissions = 0;
  uint32_t id = 0;
};
static_assert(sizeof(AclEntry) == kEntryBytes);
using AclEntries = std::vector<AclEntry>;

std::optional<AclEntries> parse(std::string_view acl) {
  if (acl.size() < kHeaderBytes || (acl.size() - kHeaderBytes) % kEntryBytes != 0) return std::nullopt;
  uint32_t version = 0;
  std::memcpy(&version, acl.data(), sizeof version);
  if (le32toh(version) != kVersion) return std::nullopt;
  AclEntries entries((acl.size() - kHeaderBytes) / kEntryBytes);
  if (!entries.empty()) std::memcpy(entries.data(), acl.data() + kHeaderBytes, acl.size() - kHeaderBytes);
  for (AclEntry& entry : entries) {
    entry = {le16toh(entry.tag), le16toh(entry.permissions), le32toh(entry.id)};
  }
  return entries;
}

std::string pack(AclEntries entries) {
  const uint32_t version = htole32(kVersion);
  std::string acl(reinterpret_cast<const char*>(&version), sizeof version);
  for (AclEntry& entry : entries) {
    entry = {htole16(entry.tag), htole16(entry.permissions), htole32(entry.id)};
    acl.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  }
  return acl;
}

using MapId = std::function<std::optional<uint32_t>(uint16_t tag, uint32_t id)>;

std::optional<std::string> map_entries(std::string_view acl, const MapId& map) {
  std::optional<AclEntries> entries = parse(acl);
  if (!entries) return std::nullopt;
  for (AclEntry& entry : *entries) {
    if (entry.tag != kUser && entry.tag != kGroup) continue;
    const std::optional<uint32_t> id = map(entry.tag, entry.id);
    if (!id) return std::nullopt;
    entry.id = *id;
  }
  return pack(std::move(*entries));
}

// The entry that the group bits of the mode stand for.
AclEntry* group_class(AclEntries& entries) {
  AclEntry* group = nullptr;
  for (AclEntry& entry : entries) {
    if (entry.tag == kMask) return &entry;
    if (entry.tag == kOwningGroup) group = &entry;
  }
  return group;
}

// `visit(entry, shift)` for the three entries that are in the mode, `shift` being where.
void visit_classes(AclEntries& entries, const std::function<void(AclEntry&, unsigned)>& visit) {
  for (AclEntry& entry : entries) {
    if (entry.tag == kOwner) visit(entry, 6);
    if (entry.tag == kOther) visit(entry, 0);
  }
  if (AclEntry* group = group_class(entries)) visit(*group, 3);
}

AclMode mode_of(AclEntries& entries) {
  AclMode mode;
  visit_classes(entries, [&mode](AclEntry& entry, unsigned shift) {
    mode.permissions |= (entry.permissions & 7U) << shift;
  });
  mode.says_it_all = true;
  for (const AclEntry& entry : entries) {
    if (entry.tag == kUser || entry.tag == kGroup || entry.tag == kMask) mode.says_it_all = false;
  }
  return mode;
}

}  // namespace

bool is_posix_acl(std::string_view xattr_name) {
  return xattr_name == kAccessAcl || xattr_name == kDefaultAcl;
}

std::optional<std::string> map_acl_ids(std::string_view acl, const IdMap& ids) {
  return map_entries(acl, [&ids](uint16_t tag, uint32_t id) -> std::optional<uint32_t> {
    return tag == kUser ? ids.local_uid(id) : ids.local_gid(id);
  });
}

std::optional<std::string> unmap_acl_ids(std::string_view acl, const IdMap& ids) {
  return map_entries(acl, [&ids](uint16_t tag, uint32_t id) {
    return tag == kUser ? ids.source_uid(id) : ids.source_gid(id);
  });
}

std::optional<AclMode> mode_of_acl(std::string_view acl) {
  std::optional<AclEntries> entries = parse(acl);
  if (!entries) return std::nullopt;
  return mode_of(*entries);
}

std::optional<std::string> acl_after_chmod(std::string_view acl, uint32_t permissions) {
  std::optional<AclEntries> entries = parse(acl);
  if (!entries) return std::nullopt;
  visit_classes(*entries, [permissions](AclEntry& entry, unsigned shift) {
    entry.permissions = static_cast<uint16_t>((permissions >> shift) & 7U);
  });
  return pack(std::move(*entries));
}

std::optional<InheritedAcl> inherit_acl(std::string_view default_acl, uint32_t permissions) {
  std::optional<AclEntries> entries = parse(default_acl);
  if (!entries || entries->empty()) return std::nullopt;
  visit_classes(*entries, [permissions](AclEntry& entry, unsigned shift) {
    entry.permissions = static_cast<uint16_t>(entry.permissions & (permissions >> shift) & 7U);
  });
  const AclMode mode = mode_of(*entries);
  InheritedAcl inherited;
  inherited.permissions = (permissions & ~0777U) | mode.permissions;
  if (!mode.says_it_all) inherited.access = pack(std::move(*entries));
  return inherited;
}

}  // namespace rsyncfs
