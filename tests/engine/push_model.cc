// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/engine/push_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <memory>

namespace rsyncfs {

namespace {

Error unused() {
  return Error(Errc::kUnsupported, "not in this model");
}

std::vector<Binding> names_in(const PendingModel::Names& names, NodeId node, size_t limit) {
  std::vector<Binding> out;
  for (const auto& [name, leads] : names) {
    if (leads == node && out.size() < limit) out.push_back({name.first, name.second, leads});
  }
  return out;
}

template <class T>
std::vector<T> cut(std::vector<T> all, size_t skip, size_t limit) {
  if (skip >= all.size()) return {};
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(skip));
  if (all.size() > limit) all.resize(limit);
  return all;
}

}  // namespace

PendingModel::PendingModel() {
  const State root{{.mode = S_IFDIR | 0755}, true};
  local_nodes[kRootNode] = root;
  base_nodes[kRootNode] = root;
}

NodeId PendingModel::make(NodeId parent, const std::string& name, uint32_t type) {
  const NodeId node = next_node++;
  local_nodes[node] = {{.mode = type | 0644, .size = 1}, true};
  local[{parent, name}] = node;
  return node;
}

bool PendingModel::is_directory(NodeId node) const {
  return S_ISDIR(local_nodes.at(node).attr.mode);
}

bool PendingModel::is_empty(NodeId directory) const {
  return std::none_of(local.begin(), local.end(),
                      [&](const auto& entry) { return entry.first.first == directory; });
}

bool PendingModel::contains(NodeId ancestor, NodeId directory) const {
  while (directory != ancestor && directory != kRootNode) {
    const auto up = names_in(local, directory, 1);
    if (up.empty()) return false;
    directory = up.front().parent;
  }
  return directory == ancestor;
}

std::vector<NodeId> PendingModel::directories() const {
  std::vector<NodeId> out = {kRootNode};
  for (const auto& [name, node] : local) {
    if (is_directory(node)) out.push_back(node);
  }
  return out;
}

PendingSummary PendingModel::summary() const {
  return {};
}

Result<std::vector<PendingName>> PendingModel::names(size_t skip, size_t limit) const {
  std::vector<PendingName> out;
  Names all = base;
  all.insert(local.begin(), local.end());
  for (const auto& [name, any] : all) {
    const NodeId b = *base_binding(name.first, name.second);
    const NodeId l = *local_binding(name.first, name.second);
    const auto since = names_since_ms.find(name);
    if (b != l)
      out.push_back({name.first, name.second, b, l, since == names_since_ms.end() ? 0 : since->second});
  }
  return cut(std::move(out), skip, limit);
}

PendingNode PendingModel::describe(NodeId node) const {
  PendingNode out;
  const auto state = local_nodes.find(node);
  out.local.id = node;
  if (state != local_nodes.end()) out.local.attr = state->second.attr;
  out.base = *base_of(node);
  if (const auto since = nodes_since_ms.find(node); since != nodes_since_ms.end())
    out.since_ms = out.changed_ms = since->second;
  if (!out.base.present) {
    out.differences = kAbsentAtSource;
  } else {
    if (out.base.attr.size != out.local.attr.size) out.differences |= kBytesDiffer;
    if (out.base.attr.mode != out.local.attr.mode) out.differences |= kModeDiffers;
    if (out.base.attr.mtime_s != out.local.attr.mtime_s) out.differences |= kMtimeDiffers;
  }
  return out;
}

Result<std::vector<PendingNode>> PendingModel::nodes(size_t skip, size_t limit) const {
  std::vector<PendingNode> out;
  for (const auto& [node, state] : local_nodes) {
    PendingNode one = describe(node);
    if (one.differences != 0) out.push_back(one);
  }
  return cut(std::move(out), skip, limit);
}

Result<std::optional<PendingNode>> PendingModel::node(NodeId node) const {
  PendingNode one = describe(node);
  return one.differences == 0 ? std::optional<PendingNode>() : one;
}

Result<uint64_t> PendingModel::removals() const {
  return std::count_if(base_nodes.begin(), base_nodes.end(), [this](const auto& node) {
    const auto leads_there = [&](const auto& name) { return name.second == node.first; };
    return node.second.present && std::none_of(local.begin(), local.end(), leads_there);
  });
}

Result<NodeId> PendingModel::base_binding(NodeId parent, std::string_view name) const {
  const auto found = base.find({parent, std::string(name)});
  return found == base.end() ? 0 : found->second;
}

Result<NodeId> PendingModel::local_binding(NodeId parent, std::string_view name) const {
  const auto found = local.find({parent, std::string(name)});
  return found == local.end() ? 0 : found->second;
}

Result<std::vector<Binding>> PendingModel::base_names_of(NodeId node, size_t limit) const {
  return names_in(base, node, limit);
}

Result<std::vector<Binding>> PendingModel::local_names_of(NodeId node, size_t limit) const {
  return names_in(local, node, limit);
}

Result<std::vector<Binding>> PendingModel::base_children(NodeId directory, size_t limit) const {
  std::vector<Binding> out;
  for (const auto& [name, node] : base) {
    if (name.first == directory && out.size() < limit) out.push_back({name.first, name.second, node});
  }
  return out;
}

Result<BaseNode> PendingModel::base_of(NodeId node) const {
  BaseNode out;
  out.node = node;
  const auto found = base_nodes.find(node);
  if (found == base_nodes.end()) return out;
  out.present = true;
  out.attr = found->second.attr;
  return out;
}

Result<RemotePlace> PendingModel::remote_place(NodeId node) const {
  RemotePlace out;
  out.base = *base_of(node);
  if (node == kRootNode) return out;
  const auto names = names_in(base, node, 1);
  if (names.empty()) return Error(Errc::kNotFound, "not at the source");
  auto path = remote_path(names.front().parent, names.front().name);
  if (!path) return path.error();
  out.path = *path;
  out.parent = names.front().parent;
  out.name = names.front().name;
  return out;
}

Result<std::string> PendingModel::remote_path(NodeId parent, std::string_view name) const {
  auto above = remote_place(parent);
  if (!above) return above.error();
  std::string out = above->path;
  if (!out.empty()) out += '/';
  return out.append(name);
}

Result<void> PendingModel::acknowledge(const Acknowledged& news) {
  for (const Binding& name : news.names) {
    if (name.node == 0) {
      base.erase({name.parent, name.name});
    } else {
      base[{name.parent, name.name}] = name.node;
    }
  }
  for (const BaseNode& node : news.nodes) {
    if (node.present) {
      base_nodes[node.node] = {node.attr, true};
    } else {
      base_nodes.erase(node.node);
    }
  }
  return {};
}

std::vector<Result<std::shared_ptr<PushSnapshot>>> PendingModel::snapshots(
    std::span<const NodeId> /*files*/) {
  return {unused()};
}
Result<void> PendingModel::pushed(std::vector<PushedContent> /*files*/) {
  return unused();
}
Result<std::vector<NameChange>> PendingModel::keep_both(NodeId /*parent*/, std::string_view /*name*/,
                                                        const ListedName* /*theirs*/,
                                                        std::string_view /*copy_name*/) {
  return unused();
}
Result<std::vector<NameChange>> PendingModel::keep_ours(NodeId /*parent*/, std::string_view /*name*/,
                                                        const ListedName* /*theirs*/) {
  return unused();
}
Result<std::vector<NameChange>> PendingModel::take_theirs(NodeId /*parent*/, std::string_view /*name*/,
                                                          const ListedName* /*theirs*/) {
  return unused();
}
Result<void> PendingModel::record_conflict(const ConflictRecord& /*record*/) {
  return unused();
}
Result<std::vector<ConflictRecord>> PendingModel::conflicts(size_t /*limit*/) const {
  return unused();
}
Result<void> PendingModel::clear_conflicts(const std::vector<uint64_t>& /*ids*/) {
  return unused();
}

SourceModel::SourceModel() : root_(std::make_shared<Inode>()) {
  root_->attr.mode = S_IFDIR | 0755;
  root_->made_of = kRootNode;
}

SourceModel::InodePtr SourceModel::find(const std::string& path) const {
  InodePtr at = root_;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const auto child = at->children.find(path.substr(begin, end - begin));
    if (child == at->children.end()) return nullptr;
    at = child->second;
    begin = end + 1;
  }
  return at;
}

SourceModel::InodePtr SourceModel::parent_of(const std::string& path, std::string& name) const {
  const size_t slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  return slash == std::string::npos ? root_ : find(path.substr(0, slash));
}

// A directory that is there stays; anything else is replaced, a directory only if it is empty.
bool SourceModel::make(const std::string& path, NodeId node, const NodeAttributes& attr) {
  std::string name;
  const InodePtr parent = parent_of(path, name);
  if (!parent) return false;
  InodePtr& slot = parent->children[name];
  const bool was_directory = slot && S_ISDIR(slot->attr.mode);
  if (was_directory && S_ISDIR(attr.mode)) return true;
  if (was_directory && !slot->children.empty()) return false;
  slot = std::make_shared<Inode>();
  slot->attr = attr;
  slot->made_of = node;
  return true;
}

// rename(2) through a backup directory: what is there is overwritten without a word, an empty directory, too.
bool SourceModel::move(const std::string& from, const std::string& to) {
  std::string name;
  std::string new_name;
  const InodePtr parent = parent_of(from, name);
  const InodePtr new_parent = parent_of(to, new_name);
  if (!parent || !new_parent || !parent->children.contains(name)) return false;
  if (new_parent == root_ && !root_takes_moves) return false;
  const InodePtr moved = parent->children[name];
  InodePtr& slot = new_parent->children[new_name];
  if (slot && S_ISDIR(slot->attr.mode) && !slot->children.empty()) return false;
  slot = moved;
  parent->children.erase(name);
  return true;
}

bool SourceModel::link(const std::string& from, const std::string& to) {
  std::string name;
  const InodePtr parent = parent_of(to, name);
  const InodePtr inode = find(from);
  if (!parent || !inode || parent->children.contains(name)) return false;
  parent->children[name] = inode;
  return true;
}

bool SourceModel::remove(const std::string& path) {
  std::string name;
  const InodePtr parent = parent_of(path, name);
  if (!parent || !parent->children.contains(name)) return true;
  if (!parent->children[name]->children.empty()) return false;
  parent->children.erase(name);
  return true;
}

bool SourceModel::holds(NodeId node, uint64_t version) const {
  const std::function<bool(const Inode&)> below = [&](const Inode& inode) {
    if (inode.made_of == node && inode.attr.size == version) return true;
    return std::any_of(inode.children.begin(), inode.children.end(),
                       [&](const auto& child) { return below(*child.second); });
  };
  return below(*root_);
}

}  // namespace rsyncfs
