// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/renamed_files.h"

#include <functional>

namespace rsyncfs {

size_t RenamedFiles::Hash::operator()(const FileVersion& version) const {
  const uint64_t mixed = version.size * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(version.mtime_s);
  return std::hash<uint64_t>()(mixed * 0x9e3779b97f4a7c15 + version.mtime_ns);
}

std::optional<NodeId> RenamedFiles::vanished(const Node& node) {
  const FileVersion version = node.version();
  if (!tells(version)) return std::nullopt;
  const auto found = appeared_.find(version);
  if (found != appeared_.end()) return found->second;
  if (vanished_.size() < kMaxRemembered) vanished_.emplace(version, node);
  return std::nullopt;
}

std::optional<Node> RenamedFiles::appeared(NodeId node, const FileVersion& version) {
  if (!tells(version)) return std::nullopt;
  const auto found = vanished_.find(version);
  if (found != vanished_.end()) return found->second;
  if (appeared_.size() < kMaxRemembered) appeared_.emplace(version, node);
  return std::nullopt;
}

}  // namespace rsyncfs
