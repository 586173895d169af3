// SPDX-License-Identifier: GPL-3.0-or-later
// The ACLs and extended attributes that follow an entry: each distinct one is sent once and then named by
// number.
#include <sys/stat.h>

#include <algorithm>

#include "sync/rsync/file_list_decoder.h"

namespace rsyncfs {

namespace {

constexpr uint8_t kKnownAclBits = 31;
constexpr uint32_t kMaxAclNames = 65536;

constexpr uint32_t kMaxXattrs = 65536;
constexpr uint32_t kMaxXattrName = 4096;
constexpr uint32_t kMaxXattrSize = 0x7fffffff;
constexpr size_t kMaxXattrListBytes = size_t{16} << 20;  // names and values listed for one file

uint8_t parse_perms(WireReader& in) {
  return static_cast<uint8_t>(in.varint_bounded(7, "ACL permissions out of range"));
}

bool trivial(const PosixAcl& acl) {
  return acl == PosixAcl{};
}

}  // namespace

void FileListDecoder::parse_acl(WireReader& in) {
  auto& numbers = acl_numbers_[default_acl_ ? 1 : 0];
  const uint32_t number = in.varint_bounded(static_cast<uint32_t>(numbers.size()), "an unknown ACL number");
  if (!in.ok()) return;
  if (number != 0) {
    if (const int32_t known = numbers[number - 1]; known >= 0) {
      (default_acl_ ? current_extra().default_acl : current_extra().access_acl) = known;
    }
    acl_names_left_ = 0;
    if (!default_acl_ && S_ISDIR(list_.entries.back().mode)) {
      default_acl_ = true;
    } else {
      phase_ = format_.xattrs ? Phase::kXattrs : Phase::kEntry;
    }
    return;
  }
  PosixAcl acl;
  const uint8_t bits = in.u8();
  if ((bits & ~kKnownAclBits) != 0) return in.fail("unknown ACL bits");
  if ((bits & kAclUser) != 0) acl.user_obj = parse_perms(in);
  if ((bits & kAclGroup) != 0) acl.group_obj = parse_perms(in);
  if ((bits & kAclMask) != 0) acl.mask_obj = parse_perms(in);
  if ((bits & kAclOther) != 0) acl.other_obj = parse_perms(in);
  const uint32_t count =
      (bits & kAclNames) != 0 ? in.varint_bounded(kMaxAclNames, "too many names in an ACL") : 0;
  if (!in.ok()) return;
  acl_ = std::move(acl);
  acl_names_left_ = count;
  if (count == 0) {
    finish_acl();
  } else {
    phase_ = Phase::kAclName;
  }
}

void FileListDecoder::parse_acl_name(WireReader& in) {
  AclName name;
  name.id = in.varint_unsigned();
  const uint32_t access = in.varint_bounded(31, "ACL permissions out of range");
  name.user = (access & kAclNameIsUser) != 0;
  name.perms = static_cast<uint8_t>(access >> 2);
  if ((access & kAclNameFollows) != 0) name.name = in.text(in.u8());
  if (!in.ok()) return;
  remember_id(in, name.user ? list_.user_names : list_.group_names, name.id, name.name);
  charge_kept(sizeof(AclName) + name.name.size());
  acl_.names.push_back(std::move(name));
  if (--acl_names_left_ == 0) finish_acl();
}

void FileListDecoder::finish_acl() {
  auto& numbers = acl_numbers_[default_acl_ ? 1 : 0];
  charge_kept(sizeof(int32_t));
  if (trivial(acl_)) {
    numbers.push_back(-1);
  } else {
    const auto index = static_cast<int32_t>(acls_.size());
    acls_.push_back(std::move(acl_));
    charge_kept(sizeof(PosixAcl));
    numbers.push_back(index);
    (default_acl_ ? current_extra().default_acl : current_extra().access_acl) = index;
  }
  acl_ = {};
  if (!default_acl_ && S_ISDIR(list_.entries.back().mode)) {
    default_acl_ = true;
    phase_ = Phase::kAcl;
  } else {
    phase_ = format_.xattrs ? Phase::kXattrs : Phase::kEntry;
  }
}

void FileListDecoder::parse_xattr_index(WireReader& in) {
  const auto known = static_cast<uint32_t>(xattr_sets_.size());
  const uint32_t number = in.varint_bounded(known, "an unknown set of extended attributes");
  if (!in.ok()) return;
  if (number != 0) {
    if (!xattr_sets_[number - 1].empty()) current_extra().xattrs = static_cast<int32_t>(number - 1);
    phase_ = Phase::kEntry;
    return;
  }
  const uint32_t count = in.varint_bounded(kMaxXattrs, "too many extended attributes");
  if (!in.ok()) return;
  xattrs_.clear();
  xattrs_left_ = count;
  xattr_list_bytes_ = 0;
  phase_ = Phase::kXattr;
  if (count == 0) finish_xattrs();
}

void FileListDecoder::parse_xattr(WireReader& in) {
  const uint32_t name_size = in.varint_bounded(kMaxXattrName, "an over-long attribute name");
  const uint32_t value_size = in.varint_bounded(kMaxXattrSize, "an over-long attribute value");
  std::string_view name = in.text(name_size);
  const bool abbreviated = value_size > kMaxFullXattr;
  const std::string_view value = in.text(abbreviated ? kXattrDigest : value_size);
  if (!in.ok()) return;
  if (!name.ends_with('\0')) return in.fail("an attribute name without its end");
  name.remove_suffix(1);
  if (name.empty() || name.find('\0') != std::string_view::npos) return in.fail("an unusable attribute name");
  xattr_list_bytes_ += name.size() + value.size();
  if (xattr_list_bytes_ > kMaxXattrListBytes) return in.fail("too many bytes of extended attributes");
  charge_kept(sizeof(ListedXattr) + name.size() + value.size());
  xattrs_.push_back({std::string(name), std::string(value), value_size, abbreviated});
  if (--xattrs_left_ == 0) finish_xattrs();
}

void FileListDecoder::finish_xattrs() {
  const auto set_number = static_cast<uint32_t>(xattr_sets_.size());
  const auto by_name = [](const ListedXattr& a, const ListedXattr& b) { return a.name < b.name; };
  if (!std::is_sorted(xattrs_.begin(), xattrs_.end(), by_name)) {
    std::vector<uint32_t> order(xattrs_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return by_name(xattrs_[a], xattrs_[b]); });
    XattrSet sorted;
    for (uint32_t& place : order) {
      sorted.push_back(std::move(xattrs_[place]));
      ++place;  // now the number on the wire, which counts from 1
    }
    xattrs_ = std::move(sorted);
    charge_kept(order.size() * sizeof(uint32_t) + 64);
    xattr_numbers_.emplace(set_number, std::move(order));
  }
  charge_kept(sizeof(XattrSet));
  if (!xattrs_.empty()) current_extra().xattrs = static_cast<int32_t>(set_number);
  xattr_sets_.push_back(std::move(xattrs_));
  xattrs_ = {};
  phase_ = Phase::kEntry;
}

void FileListDecoder::take_attributes() {
  if (!format_.incremental) {
    list_.acls = std::move(acls_);
    list_.xattr_sets = std::move(xattr_sets_);
    return;
  }
  // The tables go on growing while somebody reads this list: it gets copies of what it refers to.
  std::unordered_map<int32_t, int32_t> sets;
  std::unordered_map<int32_t, int32_t> acls;
  const auto own = [](int32_t& index, auto& places, const auto& all, auto& out) {
    if (index < 0) return;
    const auto [place, fresh] = places.try_emplace(index, static_cast<int32_t>(out.size()));
    if (fresh) out.push_back(all[static_cast<size_t>(index)]);
    index = place->second;
  };
  for (EntryExtra& extra : list_.extras) {
    own(extra.xattrs, sets, xattr_sets_, list_.xattr_sets);
    own(extra.access_acl, acls, acls_, list_.acls);
    own(extra.default_acl, acls, acls_, list_.acls);
  }
}

}  // namespace rsyncfs
