// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/path_info.h"

#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "fs/daemon/unsent_changes.h"

namespace rsyncfs {
namespace {

std::string_view type_name(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "char-device";
    case S_IFBLK:
      return "block-device";
    default:
      return "unknown";
  }
}

std::string join_source(const std::string& source, const std::string& path) {
  if (path.empty()) return source;
  return source + (source.back() == '/' ? "" : "/") + path;
}

// What cannot be known now is left out: the rest is worth telling.
void add_differences(const Replica& replica, const std::string& source, const Node& node, PathInfo& info) {
  constexpr int64_t kMillisecondsPerSecond = 1'000;
  const PendingChanges& pending = replica.pending();
  const auto differing = pending.node(node.id);
  if (differing && *differing) {
    info.differences = difference_words((*differing)->differences);
    info.changed_at_s = (*differing)->since_ms / kMillisecondsPerSecond;
  }
  const auto name = replica.name_of(node.id);
  const auto base = name ? pending.base_binding(name->first, name->second) : Result<NodeId>(node.id);
  const Result<RemotePlace> place = pending.remote_place(node.id);
  if (base && *base != node.id && place) info.differences.emplace_back("name");
  if (place) {
    info.source_path = join_source(source, place->path);
  } else if (place.error().code() == Errc::kNotFound) {
    info.source_path.clear();
  }
}

void add_conflict(const Replica& replica, PathInfo& info) {
  auto records = replica.pending().conflicts(kMaxConflictRecords);
  if (!records) return;
  for (ConflictRecord& record : *records) {
    if (record.path != info.path && record.copy_path != info.path) continue;
    info.conflict = std::move(record);
    return;
  }
}

}  // namespace

Result<PathInfo> path_info(Replica& replica, const Tree& tree, const std::string& source, const Node& node,
                           const std::string& path) {
  const Result<std::string> state = tree.state(node.id);
  if (!state) return state.error();
  const Result<ContentState> content = replica.content_state(node.id);
  if (!content) return content.error();
  // The path by which the source knows it: where symbolic links led to, not what was typed.
  const Result<std::string> stored = replica.path_of(node.id);
  PathInfo info;
  info.path = stored ? *stored : path;
  info.type = type_name(node.attr.mode);
  info.state = *state;
  info.source_path = join_source(source, info.path);
  info.node = node.id;
  info.inode = node.ino;
  info.size_bytes = node.attr.size;
  info.cached_bytes = content->present_bytes;
  const Result<bool> pinned = replica.cache().is_pinned(node.id);
  if (!pinned) return pinned.error();
  info.pinned = *pinned;
  info.mtime_s = node.attr.mtime_s;
  info.mtime_ns = node.attr.mtime_ns;
  info.listed_at_s = node.listed_at_s;
  add_differences(replica, source, node, info);
  add_conflict(replica, info);
  return info;
}

}  // namespace rsyncfs
