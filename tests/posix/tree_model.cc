// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/tree_model.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

namespace rsyncfs::posix_tests {
namespace {

void touch(ModelNode& node) {
  node.mtime.reset();
}

bool is_within(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.substr(0, directory.size()) == directory &&
         path[directory.size()] == '/';
}

void collect(const std::string& path, const NodePtr& node,
             std::vector<std::pair<std::string, NodePtr>>& out) {
  for (const auto& [name, child] : node->children) {
    const std::string child_path = path.empty() ? name : path + "/" + name;
    out.emplace_back(child_path, child);
    collect(child_path, child, out);
  }
}

NodePtr make_node(mode_t mode) {
  auto out = std::make_shared<ModelNode>();
  out->mode = mode;
  return out;
}

}  // namespace

TreeModel::TreeModel() : root_(make_node(S_IFDIR | 0755)) {
  root_->names = 1;
}

NodePtr TreeModel::find(std::string_view path) const {
  NodePtr at = root_;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const auto child = at->children.find(std::string(path.substr(0, slash)));
    if (child == at->children.end()) return nullptr;
    at = child->second;
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
  }
  return at;
}

std::vector<std::pair<std::string, NodePtr>> TreeModel::all() const {
  std::vector<std::pair<std::string, NodePtr>> out;
  collect("", root_, out);
  return out;
}

TreeModel::Place TreeModel::place(std::string_view path) const {
  const size_t slash = path.rfind('/');
  Place out;
  out.parent = slash == std::string_view::npos ? root_ : find(path.substr(0, slash));
  out.name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (out.parent == nullptr) {
    out.error = -ENOENT;
  } else if (!out.parent->is_directory()) {
    out.error = -ENOTDIR;
  }
  return out;
}

int TreeModel::add(std::string_view path, NodePtr node) {
  const Place at = place(path);
  if (at.error != 0) return at.error;
  if (at.parent->children.count(at.name) != 0) return -EEXIST;
  ++node->names;
  at.parent->children[at.name] = std::move(node);
  touch(*at.parent);
  return 0;
}

void TreeModel::remove(ModelNode& parent, const std::string& name) {
  --parent.children.at(name)->names;
  parent.children.erase(name);
  touch(parent);
}

int TreeModel::create(std::string_view path, mode_t mode) {
  return add(path, make_node(S_IFREG | mode));
}
int TreeModel::mkdir(std::string_view path, mode_t mode) {
  return add(path, make_node(S_IFDIR | mode));
}

int TreeModel::symlink(std::string_view target, std::string_view path) {
  NodePtr node = make_node(S_IFLNK | 0777);
  node->bytes = target;
  return add(path, std::move(node));
}

int TreeModel::link(std::string_view from, std::string_view to) {
  const NodePtr node = find(from);
  if (node == nullptr) return -ENOENT;
  const Place at = place(to);
  if (at.error != 0) return at.error;
  if (at.parent->children.count(at.name) != 0) return -EEXIST;
  if (node->is_directory()) return -EPERM;
  return add(to, node);
}

int TreeModel::unlink(std::string_view path) {
  const Place at = place(path);
  if (at.error != 0) return at.error;
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  if (node->is_directory()) return -EISDIR;
  remove(*at.parent, at.name);
  return 0;
}

int TreeModel::rmdir(std::string_view path) {
  const Place at = place(path);
  if (at.error != 0) return at.error;
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  if (!node->is_directory()) return -ENOTDIR;
  if (!node->children.empty()) return -ENOTEMPTY;
  remove(*at.parent, at.name);
  return 0;
}

int TreeModel::check_rename(const Place& from, const Place& to, std::string_view from_path,
                            std::string_view to_path, unsigned flags) const {
  if (from.error != 0) return from.error;
  if (to.error != 0) return to.error;
  const NodePtr source = find(from_path);
  const NodePtr target = find(to_path);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (source == nullptr) return -ENOENT;
  if ((flags & RENAME_NOREPLACE) != 0 && target != nullptr) return -EEXIST;
  if (exchange && target == nullptr) return -ENOENT;
  if (is_within(to_path, from_path)) return -EINVAL;
  if (is_within(from_path, to_path)) return exchange ? -EINVAL : -ENOTEMPTY;
  if (exchange || target == nullptr || target == source) return 0;
  if (source->is_directory() && !target->is_directory()) return -ENOTDIR;
  if (!source->is_directory() && target->is_directory()) return -EISDIR;
  return target->children.empty() ? 0 : -ENOTEMPTY;
}

int TreeModel::rename(std::string_view from, std::string_view to, unsigned flags) {
  const Place old_place = place(from);
  const Place new_place = place(to);
  if (const int error = check_rename(old_place, new_place, from, to, flags); error != 0) return error;
  const NodePtr source = find(from);
  const NodePtr target = find(to);
  if (source == target) return 0;  // two names of one file both stay
  if ((flags & RENAME_EXCHANGE) != 0) {
    std::swap(old_place.parent->children[old_place.name], new_place.parent->children[new_place.name]);
  } else {
    if (target != nullptr) remove(*new_place.parent, new_place.name);
    new_place.parent->children[new_place.name] = source;
    old_place.parent->children.erase(old_place.name);
  }
  touch(*old_place.parent);
  touch(*new_place.parent);
  return 0;
}

void TreeModel::write(ModelNode& node, size_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  if (node.bytes.size() < offset + bytes.size()) node.bytes.resize(offset + bytes.size(), '\0');
  std::copy(bytes.begin(), bytes.end(), node.bytes.begin() + static_cast<ptrdiff_t>(offset));
  touch(node);
}

void TreeModel::truncate(ModelNode& node, size_t size) {
  node.bytes.resize(size, '\0');
  touch(node);
}

int TreeModel::write(std::string_view path, size_t offset, std::string_view bytes) {
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  if (node->is_directory()) return -EISDIR;
  write(*node, offset, bytes);
  return 0;
}

int TreeModel::truncate(std::string_view path, size_t size) {
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  if (node->is_directory()) return -EISDIR;
  truncate(*node, size);
  return 0;
}

int TreeModel::chmod(std::string_view path, mode_t mode) {
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  node->mode = (node->mode & static_cast<mode_t>(S_IFMT)) | mode;
  return 0;
}

int TreeModel::set_mtime(std::string_view path, const timespec& time) {
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  node->mtime = time;
  return 0;
}

int TreeModel::set_xattr(std::string_view path, const std::string& name, std::string_view value, int flags) {
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  const bool there = node->xattrs.count(name) != 0;
  if (there && flags == XATTR_CREATE) return -EEXIST;
  if (!there && flags == XATTR_REPLACE) return -ENODATA;
  node->xattrs[name] = value;
  return 0;
}

int TreeModel::remove_xattr(std::string_view path, const std::string& name) {
  const NodePtr node = find(path);
  if (node == nullptr) return -ENOENT;
  return node->xattrs.erase(name) != 0 ? 0 : -ENODATA;
}

}  // namespace rsyncfs::posix_tests
