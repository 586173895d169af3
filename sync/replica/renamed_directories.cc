// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/renamed_directories.h"

namespace rsyncfs {

bool RenamedDirectories::same(const NodeAttributes& a, const NodeAttributes& b) {
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.size == b.size && a.mtime_s == b.mtime_s &&
         a.mtime_ns == b.mtime_ns;
}

void RenamedDirectories::note(const NodeAttributes& attr, std::vector<size_t> Alike::*side, size_t index) {
  // Without nanoseconds too many are alike.
  if (attr.mtime_ns == 0) return;
  const uint64_t time = static_cast<uint64_t>(attr.mtime_s) * 1'000'000'000 + attr.mtime_ns;
  const auto [begin, end] = by_time_.equal_range(time);
  for (auto at = begin; at != end; ++at) {
    if (same(at->second.attr, attr)) return (at->second.*side).push_back(index);
  }
  Alike& alike = by_time_.emplace(time, Alike{attr, {}, {}})->second;
  (alike.*side).push_back(index);
}

std::vector<std::pair<size_t, size_t>> RenamedDirectories::found() const {
  std::vector<std::pair<size_t, size_t>> out;
  for (const auto& [time, alike] : by_time_) {
    if (alike.vanished.size() == 1 && alike.appeared.size() == 1)
      out.emplace_back(alike.vanished.front(), alike.appeared.front());
  }
  return out;
}

}  // namespace rsyncfs
