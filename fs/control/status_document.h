// SPDX-License-Identifier: GPL-3.0-or-later
// What `status` tells, as plain data; as the JSON that users' programs read (its keys are a promise,
// fs/control/STATUS_JSON.md); and as text for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/latency_histogram.h"
#include "io/base/result.h"
#include "sync/engine/status.h"

namespace rsyncfs {

// READ requests that reached the daemon: what of them was here, and what had to wait for the source.
struct ReadTotals {
  uint64_t hits = 0;
  uint64_t hit_bytes = 0;
  uint64_t misses = 0;
  uint64_t missed_bytes = 0;
  LatencyCounts miss_latency;
};

struct MountStatus {
  std::string version;
  uint64_t pid = 0;
  std::string source;           // canonical
  std::string mountpoint;       // raw bytes
  std::string state_directory;  // raw bytes
  int64_t started_at_s = 0;     // Unix time
  bool is_draining = false;     // unmounted: sends what is left, then ends
  bool writable = false;
  std::string read_only_reason;  // the source's word, when it turned out to refuse every change
  SyncerStatus syncer;
  std::string io_engine;
  std::string io_reason;
  uint64_t io_wakeups = 0;
  uint64_t io_submits = 0;
  std::vector<std::pair<std::string, uint64_t>> io_operations;  // by name, those that happened
  // Files of the store, beside the loop: calls, and what they read, synced and removed.
  std::string batch_engine;
  uint64_t batches = 0;  // of more than one
  uint64_t batch_reads = 0;
  uint64_t batch_read_bytes = 0;
  uint64_t batch_syncs = 0;
  uint64_t batch_removals = 0;
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
  uint64_t events_raised = 0;
  uint64_t rss_bytes = 0;
  // Replies that carried an unusual errno, by its name ("EIO").
  std::vector<std::pair<std::string, uint64_t>> reply_errors;
  // By operation, those that happened, from the request to its answer.
  std::vector<std::pair<std::string, LatencyCounts>> request_latencies;
  ReadTotals reads;
};

std::string status_json(const MountStatus& status);
Result<MountStatus> parse_status(std::string_view json);  // kProtocol unless it is an object
std::string status_text(const MountStatus& status);
// For Prometheus: fs/control/METRICS.md. `now_s`: Unix time.
std::string metrics_text(const MountStatus& status, int64_t now_s);

}  // namespace rsyncfs
