// SPDX-License-Identifier: GPL-3.0-or-later
// What `status` and `info` tell, as plain data; as the JSON that users' programs read (its keys are a
// promise, fs/control/STATUS_JSON.md); and as text for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/engine/status.h"

namespace rsyncfs {

struct MountStatus {
  std::string version;
  uint64_t pid = 0;
  std::string source;           // canonical
  std::string mountpoint;       // raw bytes
  std::string state_directory;  // raw bytes
  int64_t started_at_s = 0;     // Unix time
  SyncerStatus syncer;
  std::string io_engine;
  std::string io_reason;
  uint64_t io_wakeups = 0;
  uint64_t io_submits = 0;
  std::vector<std::pair<std::string, uint64_t>> io_operations;  // by name, those that happened
  uint64_t cached_bytes = 0;
  uint64_t cached_files = 0;
  uint64_t partial_files = 0;
  uint64_t nodes = 0;
  std::vector<std::pair<std::string, uint64_t>> requests;  // FUSE requests by name, those that happened
  std::string front_description;
  uint64_t front_errors = 0;
  uint64_t front_waiting = 0;       // requests that wait for the source now
  uint64_t front_parked_total = 0;  // requests that had to
  uint64_t front_known_nodes = 0;   // inodes that the kernel holds
  uint64_t notifications_sent = 0;
  uint64_t rss_bytes = 0;
};

std::string status_json(const MountStatus& status);
Result<MountStatus> parse_status(std::string_view json);  // kProtocol unless it is an object
std::string status_text(const MountStatus& status);

struct PathInfo {
  std::string path;         // raw bytes, relative to the mountpoint; "" is the root
  std::string type;         // "file", "directory", "symlink", "fifo", "socket", "char-device", "block-device"
  std::string state;        // "remote", "partial", "cached"
  std::string source_path;  // where the source has it, raw bytes
  uint64_t node = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  uint64_t cached_bytes = 0;
  int64_t mtime_s = 0;  // with the size, the version of a file
  uint32_t mtime_ns = 0;
  int64_t listed_at_s = 0;  // directories: when the source last told the names; 0 = never
  LinkState link = LinkState::kConnecting;
  std::string link_text;
  std::string why;  // why it is slow or refused; "" if nothing is known to be wrong
};

std::string info_json(const PathInfo& info);
Result<PathInfo> parse_info(std::string_view json);
std::string info_text(const PathInfo& info);

std::string_view link_state_name(LinkState state);  // "connecting", "up", "down"

}  // namespace rsyncfs
