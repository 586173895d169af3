// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/free_work.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {

Result<void> FreeWork::free_below(const Node& node) {
  if (S_ISREG(node.attr.mode)) return free_files({node.id});
  if (!S_ISDIR(node.attr.mode)) return Error(Errc::kUsage, "not a file or directory");
  std::vector<NodeId> directories{node.id};
  while (!directories.empty()) {
    const NodeId directory = directories.back();
    directories.pop_back();
    if (auto done = free_directory(directory, directories); !done) return done;
  }
  return {};
}

// What is stored of it: what was never listed has nothing here.
Result<void> FreeWork::free_directory(NodeId directory, std::vector<NodeId>& directories) {
  std::string after;
  std::vector<NodeId> files;
  for (bool last = false; !last;) {
    const auto names = replica_.list_after(directory, after, kPageEntries);
    if (!names) return names.error();
    last = names->size() < kPageEntries;
    for (const auto& [entry, node] : *names) {
      after = entry.name;
      if (S_ISDIR(node.attr.mode)) directories.push_back(node.id);
      if (!S_ISREG(node.attr.mode)) continue;
      files.push_back(node.id);
      if (files.size() < kContentsAtOnce) continue;
      if (auto done = free_files(std::exchange(files, {})); !done) return done;
    }
  }
  return files.empty() ? Result<void>() : free_files(files);
}

Result<void> FreeWork::free_files(const std::vector<NodeId>& files) {
  const auto freed = replica_.cache().free_contents(files, mapped_.inodes());
  if (!freed) return freed.error();
  for (const FreedFile& file : *freed) {
    if (file.outcome == FreeOutcome::kFreed) ++totals_.files;
    if (file.outcome == FreeOutcome::kDirty) ++totals_.dirty;
    if (file.outcome == FreeOutcome::kPinned) ++totals_.pinned;
    if (file.outcome == FreeOutcome::kInUse) ++totals_.in_use;
    totals_.bytes += file.bytes;
  }
  return {};
}

}  // namespace rsyncfs
