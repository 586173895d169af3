// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/neighbours.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {

namespace {

constexpr uint64_t kMaxFileBytes = 128 * 1024;
constexpr size_t kMaxFiles = 512;              // looked at per search
constexpr std::chrono::seconds kScanPause{3};  // a longer pause between misses is no scan any more

std::vector<FileTarget> missing_files(const Replica& replica, const FileTarget& after) {
  std::vector<FileTarget> targets;
  auto names = replica.list_after(after.parent, after.name, kMaxFiles);
  if (!names) return targets;
  const std::string directory = after.directory();
  for (auto& [entry, node] : *names) {
    if (!S_ISREG(node.attr.mode) || node.attr.size > kMaxFileBytes || node.attr.size == 0) continue;
    if (node.differences != 0) continue;
    const auto state = replica.content_state(node.id);
    if (!state || state->complete) continue;
    FileTarget target;
    target.node = node.id;
    target.parent = after.parent;
    target.path = directory.empty() ? entry.name : directory + "/" + entry.name;
    target.name = std::move(entry.name);
    target.size = node.attr.size;
    target.mtime_s = node.attr.mtime_s;
    target.mtime_ns = node.attr.mtime_ns;
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace

bool Neighbours::note_miss(const FileTarget& target, Clock::time_point now) {
  const bool scanning = now - last_miss_ < kScanPause;
  if (target.parent != last_parent_) {
    if (!scanning) {
      scanned_directories_ = 0;
    } else if (misses_in_row_ >= 2) {
      ++scanned_directories_;
    }
    last_parent_ = target.parent;
    misses_in_row_ = 0;
  }
  misses_in_row_ = scanning ? misses_in_row_ + 1 : 1;
  last_miss_ = now;
  return misses_in_row_ >= 2 || scanned_directories_ > 0;
}

void Neighbours::find(const FileTarget& after, UniqueFunction<void(std::vector<FileTarget>)> found) {
  RSYNCFS_CHECK(!looking_);
  looking_ = true;
  context_.store.post([this, after, found = std::move(found)]() mutable {
    context_.loop.post(
        [this, targets = missing_files(context_.replica, after), found = std::move(found)]() mutable {
          looking_ = false;
          found(std::move(targets));
        });
  });
}

}  // namespace rsyncfs
