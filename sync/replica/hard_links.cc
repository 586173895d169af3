// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/types.h"

namespace rsyncfs {

NodeId HardLinkGroups::node_of(uint32_t group) const {
  const auto found = nodes_.find(group);
  return found == nodes_.end() ? 0 : found->second;
}

uint32_t HardLinkGroups::group_of(NodeId node) const {
  const auto found = groups_.find(node);
  return found == groups_.end() ? 0 : found->second;
}

void HardLinkGroups::set(uint32_t group, NodeId node) {
  nodes_[group] = node;
  groups_[node] = group;
}

}  // namespace rsyncfs
