// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/replica/model_source.h"

#include <sys/stat.h>

#include <algorithm>

namespace rsyncfs {
namespace {

constexpr uint64_t kRoot = 0;

std::pair<std::string, std::string> split(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

ModelSource::ModelSource(uint64_t seed, int64_t& versions) : random_(seed), versions_(versions) {
  inodes_[kRoot].attr = directory_attributes();
}

void ModelSource::change(std::set<int64_t>& outdated) {
  uint64_t directory = 0;
  std::string name;
  const uint64_t what = random_() % 10;
  if (what < 4) {
    directory = any_directory();
    name = any_name();
    if (inodes_[directory].children.count(name) == 0) {
      const uint64_t id = make();
      inodes_[directory].children[name] = id;
    }
    return;
  }
  if (!pick(directory, name)) return;
  const uint64_t id = inodes_[directory].children[name];
  SourceInode& inode = inodes_[id];
  switch (what) {
    case 4:
      if (random_() % 2 == 0) erase(directory, name, outdated);
      break;
    case 5: {
      const uint64_t to = inode.is_directory() ? directory : any_directory();
      const std::string new_name = any_name();
      if (inodes_[to].children.count(new_name) != 0) break;
      inodes_[directory].children.erase(name);
      inodes_[to].children[new_name] = id;
      note_outdated(id, outdated);
      break;
    }
    case 6:
    case 7:
      note_outdated(id, outdated);
      if (S_ISLNK(inode.attr.mode)) inode.target = any_name();
      if (S_ISREG(inode.attr.mode)) inode.attr.size = random_() % 50;
      if (!inode.is_directory()) inode.attr.mtime_s = ++versions_;
      break;
    case 8:
      if (inode.is_directory()) break;
      inodes_[any_directory()].children.try_emplace(any_name(), id);
      break;
    default:
      inode.attr.mode ^= 1U << (random_() % 9);
      inode.attr.uid = static_cast<uint32_t>(random_() % 3);
  }
}

uint32_t ModelSource::links(uint64_t id) const {
  uint32_t count = 0;
  for (const auto& [directory, inode] : inodes_) {
    for (const auto& [name, child] : inode.children) count += child == id;
  }
  return count;
}

bool ModelSource::has_version(int64_t version) const {
  return std::any_of(inodes_.begin(), inodes_.end(), [version](const auto& item) {
    return S_ISREG(item.second.attr.mode) && item.second.attr.mtime_s == version;
  });
}

std::optional<uint64_t> ModelSource::find(const std::string& path) const {
  uint64_t at = kRoot;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const auto& children = inodes_.at(at).children;
    const auto child = children.find(path.substr(begin, end - begin));
    if (child == children.end()) return std::nullopt;
    at = child->second;
    begin = end + 1;
  }
  return at;
}

uint64_t ModelSource::add(const std::string& parent, const std::string& name, const NodeAttributes& attr,
                          const std::string& target) {
  const uint64_t id = next_++;
  inodes_[id].attr = attr;
  inodes_[id].target = target;
  link(parent, name, id);
  return id;
}

void ModelSource::link(const std::string& parent, const std::string& name, uint64_t id) {
  inodes_[find(parent).value()].children[name] = id;
}

void ModelSource::move(const std::string& from, const std::string& parent, const std::string& name) {
  const uint64_t id = find(from).value();
  const uint64_t to = find(parent).value();
  const auto [old_parent, old_name] = split(from);
  inodes_[find(old_parent).value()].children.erase(old_name);
  inodes_[to].children[name] = id;
}

void ModelSource::remove(const std::string& path) {
  const auto [parent, name] = split(path);
  std::set<int64_t> ignored;
  erase(find(parent).value(), name, ignored);
}

void ModelSource::set(const std::string& path, const NodeAttributes& attr) {
  inodes_[find(path).value()].attr = attr;
}

uint64_t ModelSource::any_directory() {
  std::vector<uint64_t> all;
  for (const auto& [id, inode] : inodes_) {
    if (inode.is_directory()) all.push_back(id);
  }
  return all[random_() % all.size()];
}

bool ModelSource::pick(uint64_t& directory, std::string& name) {
  directory = any_directory();
  const auto& children = inodes_[directory].children;
  if (children.empty()) return false;
  name = std::next(children.begin(), static_cast<long>(random_() % children.size()))->first;
  return true;
}

void ModelSource::note_outdated(uint64_t id, std::set<int64_t>& outdated) const {
  const SourceInode& inode = inodes_.at(id);
  if (S_ISREG(inode.attr.mode)) outdated.insert(inode.attr.mtime_s);
  for (const auto& [name, child] : inode.children) note_outdated(child, outdated);
}

void ModelSource::erase(uint64_t directory, const std::string& name, std::set<int64_t>& outdated) {
  const uint64_t id = inodes_[directory].children.at(name);
  note_outdated(id, outdated);
  inodes_[directory].children.erase(name);
  while (!inodes_[id].children.empty()) erase(id, inodes_[id].children.begin()->first, outdated);
  if (links(id) == 0) inodes_.erase(id);
}

uint64_t ModelSource::make() {
  const uint64_t id = next_++;
  SourceInode& inode = inodes_[id];
  switch (random_() % 5) {
    case 0:
    case 1:
      inode.attr = directory_attributes();
      // Few times: some are taken for others that were renamed.
      inode.attr.mtime_ns = static_cast<uint32_t>(random_() % 4);
      break;
    case 2:
      inode.target = any_name();
      inode.attr = file_attributes(inode.target.size(), ++versions_, S_IFLNK | 0777);
      break;
    default:
      inode.attr = file_attributes(random_() % 50, ++versions_);
  }
  return id;
}

}  // namespace rsyncfs
