// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_jams.h"

#include <utility>

#include "sync/engine/spare_names.h"

namespace rsyncfs {

namespace {
constexpr size_t kMaxChildrenLookedAt = 256;
}

void PushJams::add(const PendingName& name, Why why) {
  of_node_.emplace(name.local, jams_.size());
  jams_.push_back({name, why});
}

void PushJams::add_occupied(const PendingName& name, bool needed) {
  add(name, needed ? Why::kOccupied : Why::kToBeEmptied);
}

void PushJams::add_inside(const PendingName& name) {
  add(name, Why::kInside);
}

void PushJams::add_homeless(const PendingName& name) {
  add(name, Why::kHomeless);
}

// The nodes that must move before this one can.
Result<std::vector<NodeId>> PushJams::blockers(const Jam& jam) {
  std::vector<NodeId> out;
  if (jam.why == Why::kHomeless) return std::vector<NodeId>{jam.name.parent};
  if (jam.why == Why::kInside) {
    for (NodeId node = jam.name.parent; node != 0 && node != jam.name.local;) {
      out.push_back(node);
      const auto parent = base_.parent_of(node);
      if (!parent) return parent.error();
      node = *parent;
    }
    return out;
  }
  out.push_back(jam.name.base);
  if (jam.why == Why::kOccupied) return out;
  // A directory that is to go: everything in it.
  for (size_t next = 0; next < out.size() && out.size() < kMaxChildrenLookedAt; ++next) {
    const auto children = pending_.base_children(out[next], kMaxChildrenLookedAt);
    if (!children) return children.error();
    for (const Binding& child : *children) out.push_back(child.node);
  }
  return out;
}

Result<bool> PushJams::blocks_itself(const Jam& jam) {
  std::unordered_set<NodeId> seen;
  std::vector<const Jam*> queue = {&jam};
  while (!queue.empty()) {
    const Jam* at = queue.back();
    queue.pop_back();
    const auto nodes = blockers(*at);
    if (!nodes) return nodes.error();
    for (const NodeId node : *nodes) {
      if (node == jam.name.local) return true;
      if (!seen.insert(node).second) continue;
      const auto [begin, end] = of_node_.equal_range(node);
      for (auto it = begin; it != end; ++it) queue.push_back(&jams_[it->second]);
    }
  }
  return false;
}

// At the source, not in the node, nor in anything that is to go.
Result<bool> PushJams::is_refuge(NodeId directory, NodeId node) {
  while (directory != kRootNode) {
    if (directory == 0 || directory == node) return false;
    const auto local = pending_.local_names_of(directory, 1);
    if (!local) return local.error();
    const auto parent = base_.parent_of(directory);
    if (!parent) return parent.error();
    directory = local->empty() ? 0 : *parent;
  }
  return true;
}

// As near to where it is going as can be.
Result<NodeId> PushJams::refuge(NodeId directory, NodeId node) {
  while (directory != kRootNode) {
    const auto good = is_refuge(directory, node);
    if (!good) return good.error();
    if (*good) return directory;
    const auto above = pending_.local_names_of(directory, 1);
    if (!above) return above.error();
    directory = above->empty() ? kRootNode : above->front().parent;
  }
  return kRootNode;
}

Result<std::optional<PushJams::Aside>> PushJams::find(Why why) {
  for (const Jam& jam : jams_) {
    if (jam.why != why || is_spare_name(jam.name.name)) continue;
    const NodeId node = why == Why::kOccupied ? jam.name.base : jam.name.local;
    const auto there = base_.type_of(node);
    if (!there) return there.error();
    if (*there == 0) continue;
    const auto ring = blocks_itself(jam);
    if (!ring) return ring.error();
    if (!*ring) continue;
    const auto near = refuge(jam.name.parent, node);
    if (!near) return near.error();
    return std::optional<Aside>({node, *near});
  }
  return std::optional<Aside>();
}

// Best what stands at another's name. What waits for the end of the directory that it is in goes aside
// itself.
Result<std::optional<PushJams::Aside>> PushJams::find() {
  for (const Why why : {Why::kOccupied, Why::kToBeEmptied, Why::kHomeless}) {
    auto found = find(why);
    if (!found || *found) return found;
  }
  return std::optional<Aside>();
}

}  // namespace rsyncfs
