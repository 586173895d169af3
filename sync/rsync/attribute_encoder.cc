// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/attribute_encoder.h"

#include <algorithm>

#include "sync/rsync/list_flags.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

namespace {

std::string text_of(const ByteQueue& queue) {
  const auto bytes = queue.readable();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What the mode bits say is left out; a receiver compares what remains.
PosixAcl beyond_mode(const PushEntry& entry) {
  PosixAcl acl = entry.access_acl.value_or(PosixAcl{});
  acl.user_obj.reset();
  acl.other_obj.reset();
  // With a mask, which names always have, the group's bits of the mode are the mask's.
  const auto group_bits = static_cast<uint8_t>(entry.mode >> 3 & 7);
  const bool masked = acl.mask_obj.has_value() || !acl.names.empty();
  if (!masked || acl.group_obj == group_bits) acl.group_obj.reset();
  if (!acl.names.empty() && acl.mask_obj == group_bits) acl.mask_obj.reset();
  return acl;
}

bool acl_name_order(const AclName& a, const AclName& b) {
  return a.user != b.user ? a.user : a.id < b.id;
}

}  // namespace

void AclEncoder::write(const PushEntry& entry, ByteQueue& out) {
  write_one(beyond_mode(entry), access_, out);
  if (S_ISDIR(entry.mode)) write_one(entry.default_acl.value_or(PosixAcl{}), default_, out);
}

void AclEncoder::write_one(const PosixAcl& acl, Numbers& numbers, ByteQueue& out) {
  ByteQueue body;
  unsigned flags = acl.names.empty() ? 0 : kAclNames;
  if (acl.user_obj) flags |= kAclUser;
  if (acl.group_obj) flags |= kAclGroup;
  if (acl.mask_obj) flags |= kAclMask;
  if (acl.other_obj) flags |= kAclOther;
  body.append_u8(static_cast<uint8_t>(flags));
  for (const auto& perms : {acl.user_obj, acl.group_obj, acl.mask_obj, acl.other_obj}) {
    if (perms) write_varint(body, *perms);
  }
  if (!acl.names.empty()) {
    std::vector<AclName> names = acl.names;
    std::ranges::stable_sort(names, acl_name_order);
    write_varint(body, static_cast<int32_t>(names.size()));
    for (const AclName& name : names) {
      write_varint(body, static_cast<int32_t>(name.id));
      write_varint(body, static_cast<int32_t>(uint32_t{name.perms} << 2 | (name.user ? kAclNameIsUser : 0)));
    }
  }
  const auto [known, fresh] = numbers.emplace(text_of(body), static_cast<uint32_t>(numbers.size() + 1));
  write_varint(out, fresh ? 0 : static_cast<int32_t>(known->second));
  if (fresh) out.append(body.readable());
}

void XattrEncoder::write(const std::vector<PushXattr>& xattrs, ByteQueue& out) {
  ByteQueue body;
  bool digests = false;
  write_varint(body, static_cast<int32_t>(xattrs.size()));
  for (const PushXattr& x : xattrs) {
    const uint64_t size = x.abbreviated ? x.size : x.value.size();
    write_varint(body, static_cast<int32_t>(x.name.size() + 1));
    write_varint(body, static_cast<int32_t>(size));
    body.append(x.name);
    body.append_u8(0);
    if (size <= kMaxFullXattr || x.abbreviated) {
      body.append(x.value);
    } else {
      Digest md5(ChecksumKind::kMd5);
      md5.update(std::as_bytes(std::span(x.value)));
      body.append(md5.finish().span());
    }
    digests = digests || size > kMaxFullXattr;
  }
  ++count_;
  // A long value is asked for only once per set. Were the set shared, and the entry declined for which it was
  // asked, the other entries would go without it.
  if (!digests) {
    const auto [known, fresh] = numbers_.emplace(text_of(body), count_);
    if (!fresh) {
      --count_;
      return write_varint(out, static_cast<int32_t>(known->second));
    }
  }
  write_varint(out, 0);
  out.append(body.readable());
}

}  // namespace rsyncfs
