// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/file_list.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

namespace rsyncfs {

namespace {

// "dir/name" read without joining it; "." stands for the empty path.
class JoinedPath {
 public:
  JoinedPath(std::string_view dir, std::string_view name) : dir_(dir), name_(name) {
    if (dir_.empty() && name_ == ".") name_ = {};
    if (dir_.empty() || name_.empty()) {
      if (dir_.empty()) dir_ = name_;
      name_ = {};
      size_ = dir_.size();
    } else {
      size_ = dir_.size() + 1 + name_.size();
    }
  }
  size_t size() const { return size_; }
  // The bytes from `i` on that lie side by side.
  std::string_view piece(size_t i) const {
    if (i < dir_.size()) return dir_.substr(i);
    return i == dir_.size() ? std::string_view("/") : name_.substr(i - dir_.size() - 1);
  }
  unsigned char operator[](size_t i) const { return static_cast<unsigned char>(piece(i).front()); }

 private:
  std::string_view dir_;
  std::string_view name_;
  size_t size_ = 0;
};

// Directories are ordered as if every path but the root's ended in '/': ancestors first.
int compare_directories(const JoinedPath& a, const JoinedPath& b) {
  const size_t common = std::min(a.size(), b.size());
  for (size_t i = 0; i < common;) {
    const std::string_view x = a.piece(i);
    const std::string_view y = b.piece(i);
    const size_t size = std::min(x.size(), y.size());
    // Neighbours share their directory's very bytes.
    const int order = x.data() == y.data() ? 0 : std::memcmp(x.data(), y.data(), size);
    if (order != 0) return order;
    i += size;
  }
  if (a.size() == b.size()) return 0;
  const bool a_shorter = a.size() < b.size();
  if (common == 0) return a_shorter ? -1 : 1;
  const unsigned char next = a_shorter ? b[common] : a[common];
  const bool shorter_first = next >= '/';
  return shorter_first == a_shorter ? -1 : 1;
}

size_t string_bytes(const std::string& s) {
  return sizeof(std::string) + (s.capacity() > 15 ? s.capacity() : 0);
}

size_t xattr_bytes(const XattrSet& set) {
  size_t bytes = sizeof(XattrSet) + set.capacity() * sizeof(ListedXattr);
  for (const ListedXattr& x : set) bytes += x.name.capacity() + x.value.capacity();
  return bytes;
}

}  // namespace

int compare_list_order(std::string_view dir_a, std::string_view name_a, bool a_is_dir, std::string_view dir_b,
                       std::string_view name_b, bool b_is_dir) {
  // Where an entry stands: with its own directory (a directory stands with itself, before what is in it).
  const JoinedPath home_a(dir_a, a_is_dir ? name_a : std::string_view());
  const JoinedPath home_b(dir_b, b_is_dir ? name_b : std::string_view());
  if (const int order = compare_directories(home_a, home_b); order != 0) return order;
  if (a_is_dir != b_is_dir) return a_is_dir ? -1 : 1;
  return a_is_dir ? 0 : name_a.compare(name_b);
}

std::string FileList::path(const FileEntry& entry) const {
  const std::string_view dir = dirname(entry);
  const std::string_view name = basename(entry);
  if (dir.empty()) return std::string(name);
  std::string out;
  out.reserve(dir.size() + 1 + name.size());
  out.append(dir).append("/").append(name);
  return out;
}

const EntryExtra& FileList::extra(const FileEntry& entry) const {
  static const EntryExtra kNone;
  return entry.extra == 0 ? kNone : extras[entry.extra - 1];
}

std::optional<uint32_t> FileList::find(std::string_view path) const {
  const size_t slash = path.rfind('/');
  if (slash == 0) return std::nullopt;
  const std::string_view dir = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  for (const bool as_dir : {true, false}) {
    const auto before = [&](const FileEntry& e, int) {
      return compare_list_order(dirname(e), basename(e), S_ISDIR(e.mode), dir, name, as_dir) < 0;
    };
    const auto is_it = [&](const FileEntry& e) {
      return S_ISDIR(e.mode) == as_dir && basename(e) == name && dirname(e) == dir;
    };
    auto at = std::lower_bound(entries.begin(), entries.end(), 0, before);
    while (at != entries.end() && is_it(*at) && !at->usable()) ++at;
    if (at != entries.end() && is_it(*at)) return static_cast<uint32_t>(at - entries.begin());
  }
  return std::nullopt;
}

size_t FileList::memory_bytes() const {
  size_t bytes =
      entries.capacity() * sizeof(FileEntry) + arena.capacity() + extras.capacity() * sizeof(EntryExtra);
  for (const std::string& d : dirnames) bytes += string_bytes(d);
  for (const EntryExtra& e : extras) bytes += e.link_target.capacity();
  for (const XattrSet& set : xattr_sets) bytes += xattr_bytes(set);
  for (const PosixAcl& acl : acls) {
    bytes += sizeof(acl) + acl.names.capacity() * sizeof(AclName);
    for (const AclName& name : acl.names) bytes += name.name.capacity();
  }
  for (const auto* names : {&user_names, &group_names}) {
    for (const auto& [id, name] : *names) bytes += 64 + name.capacity();
  }
  return bytes;
}

}  // namespace rsyncfs
