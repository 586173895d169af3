// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/renamings.h"

#include <optional>
#include <unordered_map>

namespace rsyncfs {
namespace {

using Places = std::unordered_multimap<NodeId, size_t>;

// Each place is given once.
std::optional<size_t> take(Places& places, NodeId node, const std::vector<bool>& paired) {
  for (auto found = places.find(node); found != places.end(); found = places.find(node)) {
    const size_t place = found->second;
    places.erase(found);
    if (!paired[place]) return place;
  }
  return std::nullopt;
}

}  // namespace

Renamings::Renamings(const std::vector<NameChange>& changes) {
  Places gone;
  Places gone_to;  // by what it is now
  for (size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].kind != NameChange::Kind::kRemoved) continue;
    gone.emplace(changes[i].node, i);
    if (changes[i].renamed != 0) gone_to.emplace(changes[i].renamed, i);
  }
  if (gone.empty()) return;
  paired_.resize(changes.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    const NameChange& there = changes[i];
    if (there.kind == NameChange::Kind::kRemoved) continue;
    std::optional<size_t> from;
    if (there.renamed != 0) from = take(gone, there.renamed, paired_);
    if (!from && there.kind != NameChange::Kind::kAttributes) from = take(gone, there.node, paired_);
    if (!from) from = take(gone_to, there.node, paired_);
    if (!from) continue;
    paired_[*from] = true;
    paired_[i] = true;
    pairs_.emplace_back(*from, i);
  }
}

}  // namespace rsyncfs
