// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/replica/model_pusher.h"

#include <sys/stat.h>

#include <algorithm>

namespace rsyncfs {
namespace {

std::string join(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : parent + "/" + name;
}

NodeAttributes pushed_attributes(const NodeAttributes& attr) {
  NodeAttributes out = attr;
  out.nlink = 0;
  if (S_ISDIR(attr.mode)) {
    out.size = directory_attributes().size;
    out.mtime_s = directory_attributes().mtime_s;
    out.mtime_ns = 0;
  }
  return out;
}

}  // namespace

bool ModelPusher::step() {
  std::vector<PendingName> names = must(store_->pending().names(0, 10'000));
  std::shuffle(names.begin(), names.end(), random_);
  for (const PendingName& name : names) {
    if (push_name(name)) return true;
  }
  for (const PendingName& name : names) {
    if (set_aside(name)) return true;
  }
  std::vector<PendingNode> nodes = must(store_->pending().nodes(0, 10'000));
  std::shuffle(nodes.begin(), nodes.end(), random_);
  return std::any_of(nodes.begin(), nodes.end(), [this](const PendingNode& node) { return push_node(node); });
}

bool ModelPusher::push_name(const PendingName& name) {
  const auto parent = store_->pending().remote_path(name.parent, "");
  // Its directory is not there yet.
  if (!parent) return false;
  const std::string directory =
      parent->empty() || parent->back() != '/' ? *parent : parent->substr(0, parent->size() - 1);
  const auto there = source_.find(directory);
  if (!there || !source_.inode(*there).is_directory()) return false;
  const std::string path = join(directory, name.name);
  if (name.base != 0) return replace(name, path);
  if (source_.find(path)) return false;
  return must(store_->pending().base_of(name.local)).present ? bring(name, directory)
                                                             : create(name, directory);
}

bool ModelPusher::create(const PendingName& name, const std::string& parent) {
  const Node node = must(store_->node(name.local));
  source_.add(parent, name.name, pushed_attributes(node.attr), must(store_->link_target(node.id)));
  acknowledge(
      {.names = {{name.parent, name.name, node.id}}, .nodes = {state_at(join(parent, name.name), node.id)}});
  return true;
}

bool ModelPusher::bring(const PendingName& name, const std::string& parent) {
  const RemotePlace place = must(store_->pending().remote_place(name.local));
  if (!is_as_base_says(place.path, place.base)) return false;
  if (!S_ISDIR(place.base.attr.mode)) {
    source_.link(parent, name.name, source_.find(place.path).value());
    acknowledge({.names = {{name.parent, name.name, name.local}}, .nodes = {}});
    return true;
  }
  // Not into itself.
  if (parent == place.path || parent.starts_with(place.path + "/")) return false;
  source_.move(place.path, parent, name.name);
  acknowledge({.names = {{place.parent, place.name, 0}, {name.parent, name.name, name.local}}, .nodes = {}});
  return true;
}

// What base leads to is not wanted there any more.
bool ModelPusher::replace(const PendingName& name, const std::string& path) {
  const BaseNode base = must(store_->pending().base_of(name.base));
  if (!is_as_base_says(path, base)) return false;
  // Users see it elsewhere: first it gets there.
  const Node node = must(store_->node(name.base));
  if (!node.orphan && must(store_->pending().base_names_of(name.base, 2)).size() < 2) return false;
  if (S_ISDIR(base.attr.mode)) {
    if (!source_.inode(source_.find(path).value()).children.empty()) return false;
    if (!must(store_->pending().base_children(name.base, 1)).empty()) return false;
  }
  source_.remove(path);
  const Node local = name.local == 0 ? Node() : must(store_->node(name.local));
  if (S_ISREG(local.attr.mode) && !must(store_->pending().base_of(name.local)).present) {
    // At once.
    const auto slash = path.rfind('/');
    source_.add(slash == std::string::npos ? "" : path.substr(0, slash), name.name,
                pushed_attributes(local.attr), "");
    acknowledge({.names = {{name.parent, name.name, name.local}}, .nodes = {state_at(path, name.local)}});
    return true;
  }
  acknowledge({.names = {{name.parent, name.name, 0}}, .nodes = {}});
  return true;
}

// In a circle of names one has to make room for the others.
bool ModelPusher::set_aside(const PendingName& name) {
  if (name.base == 0 || name.local == 0 || must(store_->node(name.base)).orphan) return false;
  const auto path = store_->pending().remote_path(name.parent, name.name);
  if (!path || !is_as_base_says(*path, must(store_->pending().base_of(name.base)))) return false;
  const auto slash = path->rfind('/');
  const std::string parent = slash == std::string::npos ? "" : path->substr(0, slash);
  const std::string aside = "aside" + std::to_string(name.base);
  if (source_.find(join(parent, aside))) return false;
  source_.move(*path, parent, aside);
  acknowledge({.names = {{name.parent, name.name, 0}, {name.parent, aside, name.base}}, .nodes = {}});
  return true;
}

bool ModelPusher::push_node(const PendingNode& node) {
  if (!node.base.present) return false;
  const RemotePlace place = must(store_->pending().remote_place(node.local.id));
  if (!is_as_base_says(place.path, node.base)) return false;
  NodeAttributes attr = node.local.attr;
  attr.nlink = 0;
  source_.set(place.path, attr);
  acknowledge({.names = {}, .nodes = {state_at(place.path, node.local.id)}});
  return true;
}

bool ModelPusher::is_as_base_says(const std::string& path, const BaseNode& base) {
  const auto found = source_.find(path);
  if (!found) return false;
  const NodeAttributes& now = source_.inode(*found).attr;
  if ((now.mode & S_IFMT) != (base.attr.mode & S_IFMT)) return false;
  return S_ISDIR(now.mode) || (now.size == base.attr.size && now.mtime_s == base.attr.mtime_s &&
                               now.mtime_ns == base.attr.mtime_ns);
}

// When the answer is lost, what was to be made may be there or not, and is taken for absent until a listing
// shows it. What was to be removed, or replaced, counts as gone: it must not be taken for a place where the
// last copy of something is.
void ModelPusher::acknowledge(Acknowledged news) {
  if (lose_answers_ && random_() % 4 == 0) {
    news.nodes.clear();
    for (Binding& name : news.names) {
      const NodeId before = must(store_->pending().base_binding(name.parent, name.name));
      const bool needed = before != 0 && !must(store_->node(before)).orphan;
      if (name.node != 0) name.node = needed ? 0 : before;
    }
  }
  must(store_->pending().acknowledge(news));
}

BaseNode ModelPusher::state_at(const std::string& path, NodeId node) {
  BaseNode base;
  base.node = node;
  base.present = true;
  base.attr = source_.inode(source_.find(path).value()).attr;
  base.xattr_set = must(store_->node(node)).xattr_set;
  return base;
}

}  // namespace rsyncfs
