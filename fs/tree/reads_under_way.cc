// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/reads_under_way.h"

#include <utility>

#include "io/base/result.h"

namespace rsyncfs {

void ReadsUnderWay::begin(NodeId file, const FileVersion& version) {
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = files_.try_emplace(file);
  if (fresh) at->second.version = version;
  ++at->second.reads;
  count_ = files_.size();
}

std::optional<FileVersion> ReadsUnderWay::end(NodeId file, bool given) {
  const std::lock_guard lock(mutex_);
  const auto at = files_.find(file);
  RSYNCFS_CHECK(at != files_.end());
  const bool last = --at->second.reads == 0;
  std::optional<FileVersion> ended;
  if ((given || last) && std::exchange(at->second.shown, false)) ended = at->second.version;
  if (last) files_.erase(at);
  count_ = files_.size();
  return ended;
}

std::optional<FileVersion> ReadsUnderWay::shown(NodeId file) const {
  if (count_ == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto at = files_.find(file);
  if (at == files_.end() || !at->second.shown) return std::nullopt;
  return at->second.version;
}

}  // namespace rsyncfs
