// SPDX-License-Identifier: GPL-3.0-or-later
// What `info` tells of one path, as plain data, as JSON (fs/control/STATUS_JSON.md) and as text for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/engine/status.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

struct PathInfo {
  std::string path;         // raw bytes, relative to the mountpoint; "" is the root
  std::string type;         // "file", "directory", "symlink", "fifo", "socket", "char-device", "block-device"
  std::string state;        // as user.rsyncfs.state says
  std::string source_path;  // where the source has it, raw bytes; "" if it does not
  uint64_t node = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  uint64_t cached_bytes = 0;
  bool pinned = false;  // itself, or a directory above it
  int64_t mtime_s = 0;  // with the size, the version of a file
  uint32_t mtime_ns = 0;
  int64_t listed_at_s = 0;  // directories: when the source last told the names; 0 = never
  LinkState link = LinkState::kConnecting;
  std::string link_text;
  std::string why;  // why it is slow, refused or not sent; "" if nothing is known to be wrong
  std::vector<std::string>
      reasons;  // all that is known of that, and of why it may be stale; the first is `why`
  // In what the source differs: "new", "name", "contents", "mode", "owner", "mtime", "xattrs".
  std::vector<std::string> differences;
  int64_t changed_at_s = 0;                // since when; 0 = it does not differ
  std::optional<ConflictRecord> conflict;  // the last one about this name, or that made it
};

std::string info_json(const PathInfo& info);
Result<PathInfo> parse_info(std::string_view json);
std::string info_text(const PathInfo& info);

}  // namespace rsyncfs
