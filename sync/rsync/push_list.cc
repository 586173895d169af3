// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/push_list.h"

#include <sys/stat.h>

#include <algorithm>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "io/base/text.h"
#include "sync/rsync/file_list.h"
#include "sync/rsync/list_flags.h"

namespace rsyncfs {

namespace {

constexpr size_t kMaxPath = 4095;
constexpr size_t kMaxXattrName = 255;  // Linux's own limits
constexpr size_t kMaxXattrValue = size_t{1} << 20;
constexpr uint32_t kAddedParentMode = S_IFDIR | 0755;
constexpr uint32_t kMaxNs = 999'999'999;

bool valid_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool is_special_file(uint32_t mode) {
  return is_device(mode) || is_special(mode);
}

// Whether an entry of that type belongs into such a list. A directory that is only a parent belongs into all
// that make parents.
bool fits(PushKind kind, const PushEntry& entry) {
  const uint32_t mode = entry.mode;
  if (S_ISDIR(mode) && !entry.touch) return kind != PushKind::kMove && kind != PushKind::kDelete;
  switch (kind) {
    case PushKind::kData:
    case PushKind::kWholeData:
    case PushKind::kAppend:
      return S_ISREG(mode);
    case PushKind::kLink:
      return S_ISREG(mode) && entry.hlink_group != 0;
    case PushKind::kAttributes:
      return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || is_special_file(mode);
    case PushKind::kCreate:
      return S_ISDIR(mode) || S_ISLNK(mode) || is_special_file(mode);
    case PushKind::kMove:
    case PushKind::kDelete:
      return mode == 0;
  }
  return false;
}

bool valid_xattrs(std::vector<PushXattr>& xattrs) {
  // A receiver compares the list with its own, both in this order.
  std::ranges::sort(xattrs, {}, &PushXattr::name);
  const auto same_name = [](const PushXattr& a, const PushXattr& b) { return a.name == b.name; };
  if (std::ranges::adjacent_find(xattrs, same_name) != xattrs.end()) return false;
  return std::ranges::all_of(xattrs, [](const PushXattr& x) {
    if (x.name.empty() || x.name.size() > kMaxXattrName || x.name.find('\0') != std::string::npos)
      return false;
    if (x.abbreviated) return x.value.size() == kXattrDigest && x.size > kMaxFullXattr;
    return x.value.size() <= kMaxXattrValue;
  });
}

bool valid_acl(const std::optional<PosixAcl>& acl) {
  if (!acl) return true;
  constexpr uint8_t kMaxPerms = 7;
  for (const auto& perms : {acl->user_obj, acl->group_obj, acl->mask_obj, acl->other_obj}) {
    if (perms.value_or(0) > kMaxPerms) return false;
  }
  return std::ranges::all_of(acl->names, [](const AclName& name) { return name.perms <= kMaxPerms; });
}

Error unusable(const PushEntry& entry, const char* why) {
  return Error(Errc::kUsage, "cannot push \"" + escape_control(entry.path) + "\": " + why);
}

Result<void> validate(PushKind kind, PushEntry& entry) {
  const bool root = entry.path == "." && S_ISDIR(entry.mode);
  if (!root && !valid_path(entry.path)) return unusable(entry, "not a path");
  if (!fits(kind, entry)) return unusable(entry, "its type does not belong into such a list");
  if (entry.mode == 0) {  // as rsync names what is missing
    PushEntry missing;
    missing.path = std::move(entry.path);
    missing.within = entry.within;
    entry = std::move(missing);
  }
  if (entry.mtime_ns > kMaxNs) return unusable(entry, "not a time");
  const std::string& target = entry.link_target;
  if (S_ISLNK(entry.mode) &&
      (target.empty() || target.size() > kMaxPath || target.find('\0') != std::string::npos)) {
    return unusable(entry, "not a link's target");
  }
  if (!valid_xattrs(entry.xattrs)) return unusable(entry, "unusable extended attributes");
  if (!valid_acl(entry.access_acl) || !valid_acl(entry.default_acl)) return unusable(entry, "not an ACL");
  return {};
}

}  // namespace

std::string_view parent_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view last_component(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

Result<PushList> PushList::create(PushKind kind, std::vector<PushEntry> entries) {
  PushList list;
  list.entries_ = std::move(entries);
  list.given_ = list.entries_.size();
  if (list.given_ == 0) return Error(Errc::kUsage, "nothing to push");
  for (PushEntry& entry : list.entries_) {
    if (auto valid = validate(kind, entry); !valid.ok()) return valid.error();
  }
  // A receiver makes missing parents, and none for what is to be removed.
  if (kind != PushKind::kMove && kind != PushKind::kDelete) list.add_parents();
  if (auto sorted = list.sort(); !sorted.ok()) return sorted.error();
  if (list.size() == 0) return Error(Errc::kUsage, "nothing to push");
  return list;
}

std::optional<size_t> PushList::place(uint32_t ndx) const {
  const size_t place = order_[ndx];
  return place < given_ ? std::optional(place) : std::nullopt;
}

void PushList::add_parents() {
  std::unordered_set<std::string> directories;
  for (const PushEntry& entry : entries_) {
    if (S_ISDIR(entry.mode)) directories.insert(entry.path);
  }
  for (size_t i = 0; i < given_; ++i) {
    std::string parent(parent_path(entries_[i].path));
    while (!parent.empty() && directories.insert(parent).second) {
      PushEntry added;
      added.path = parent;
      added.mode = kAddedParentMode;
      added.touch = false;
      entries_.push_back(std::move(added));
      parent = parent_path(parent);
    }
  }
}

Result<void> PushList::sort() {
  order_.resize(entries_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::erase_if(order_, [this](uint32_t place) { return entries_[place].within; });
  const auto compare = [&](uint32_t a, uint32_t b) {
    const PushEntry& x = entries_[a];
    const PushEntry& y = entries_[b];
    return compare_list_order(parent_path(x.path), last_component(x.path), S_ISDIR(x.mode),
                              parent_path(y.path), last_component(y.path), S_ISDIR(y.mode));
  };
  std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) { return compare(a, b) < 0; });
  ndx_of_.resize(entries_.size());
  std::unordered_set<std::string_view> seen;
  for (uint32_t ndx = 0; ndx < order_.size(); ++ndx) {
    ndx_of_[order_[ndx]] = ndx;
    if (!seen.insert(entry(ndx).path).second) return unusable(entry(ndx), "it is given twice");
  }
  return {};
}

}  // namespace rsyncfs
