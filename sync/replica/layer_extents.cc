// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/layer_extents.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace rsyncfs {

// The extent that has `offset`, or the first one after it.
LayerExtents::Map::const_iterator LayerExtents::covering_or_next(uint64_t offset) const {
  auto next = extents_.upper_bound(offset);
  if (next != extents_.begin() && std::prev(next)->second.end > offset) --next;
  return next;
}

LayerExtents::Plan LayerExtents::plan_add(uint64_t begin, uint64_t end, uint64_t epoch) const {
  Plan plan;
  auto next = covering_or_next(begin);
  for (uint64_t at = begin; at < end;) {
    if (next != extents_.end() && next->first <= at) {
      at = next->second.end;
      ++next;
      continue;
    }
    const uint64_t gap_end = next == extents_.end() ? end : std::min(end, next->first);
    Extent extent{at, gap_end, epoch};
    plan.bytes += static_cast<int64_t>(gap_end - at);
    // The neighbour on the left may just have been planned.
    if (!plan.put.empty() && plan.put.back().end == at) {
      extent.begin = plan.put.back().begin;
      plan.put.pop_back();
    } else if (next != extents_.begin()) {
      const auto left = std::prev(next);
      if (left->second.end == at && left->second.epoch == epoch) extent.begin = left->first;
    }
    at = gap_end;
    if (next != extents_.end() && next->first == gap_end && next->second.epoch == epoch) {
      plan.erase.push_back(next->first);
      at = extent.end = next->second.end;
      ++next;
    }
    plan.put.push_back(extent);
  }
  return plan;
}

LayerExtents::Plan LayerExtents::plan_cut(uint64_t at) const {
  Plan plan;
  auto first = covering_or_next(at);
  if (first == extents_.end()) return plan;
  if (first->first < at) {
    plan.put.push_back({first->first, at, first->second.epoch});
    plan.bytes -= static_cast<int64_t>(first->second.end - at);
    ++first;
  }
  if (first == extents_.end()) return plan;
  plan.erase_from = first->first;
  for (; first != extents_.end(); ++first)
    plan.bytes -= static_cast<int64_t>(first->second.end - first->first);
  return plan;
}

// The whole run of neighbours to which the extent at `begin` belongs; `others` gets all beginnings but the
// first.
LayerExtents::Extent LayerExtents::run_around(uint64_t begin, std::vector<uint64_t>& others) const {
  auto first = extents_.find(begin);
  while (first != extents_.begin() && std::prev(first)->second.end == first->first) --first;
  Extent run{first->first, first->second.end, 0};
  for (auto next = std::next(first); next != extents_.end() && next->first == run.end; ++next) {
    others.push_back(next->first);
    run.end = next->second.end;
  }
  return run;
}

LayerExtents::Plan LayerExtents::plan_synced() const {
  Plan plan;
  for (const uint64_t begin : unsynced_) {
    if (!plan.put.empty() && begin < plan.put.back().end) continue;
    plan.put.push_back(run_around(begin, plan.erase));
  }
  return plan;
}

void LayerExtents::erase(uint64_t begin) {
  const auto found = extents_.find(begin);
  if (found == extents_.end()) return;
  bytes_ -= found->second.end - begin;
  unsynced_.erase(begin);
  extents_.erase(found);
}

void LayerExtents::insert(const Extent& extent) {
  erase(extent.begin);
  extents_.emplace(extent.begin, Rest{extent.end, extent.epoch});
  if (extent.epoch != 0) unsynced_.insert(extent.begin);
  bytes_ += extent.end - extent.begin;
}

void LayerExtents::apply(const Plan& plan) {
  if (plan.erase_from) {
    for (auto at = extents_.lower_bound(*plan.erase_from); at != extents_.end();) {
      bytes_ -= at->second.end - at->first;
      at = extents_.erase(at);
    }
    unsynced_.erase(unsynced_.lower_bound(*plan.erase_from), unsynced_.end());
  }
  for (const uint64_t begin : plan.erase) erase(begin);
  for (const Extent& extent : plan.put) insert(extent);
}

std::optional<LayerExtents::Extent> LayerExtents::find(uint64_t offset) const {
  const auto at = covering_or_next(offset);
  if (at == extents_.end() || at->first > offset) return std::nullopt;
  return Extent{at->first, at->second.end, at->second.epoch};
}

uint64_t LayerExtents::next_begin(uint64_t offset) const {
  const auto next = extents_.upper_bound(offset);
  return next == extents_.end() ? std::numeric_limits<uint64_t>::max() : next->first;
}

uint64_t LayerExtents::contiguous_end(uint64_t offset) const {
  for (auto at = covering_or_next(offset); at != extents_.end() && at->first <= offset; ++at) {
    offset = std::max(offset, at->second.end);
  }
  return offset;
}

bool LayerExtents::synced_from(uint64_t at) const {
  return std::any_of(covering_or_next(at), extents_.end(),
                     [](const auto& extent) { return extent.second.epoch == 0; });
}

ExtentSet LayerExtents::ranges() const {
  ExtentSet out;
  for (const auto& [begin, rest] : extents_) out.add(begin, rest.end);
  return out;
}

std::vector<LayerExtents::Extent> LayerExtents::all() const {
  std::vector<Extent> out;
  out.reserve(extents_.size());
  for (const auto& [begin, rest] : extents_) out.push_back({begin, rest.end, rest.epoch});
  return out;
}

}  // namespace rsyncfs
