// SPDX-License-Identifier: GPL-3.0-or-later
// What the Syncer is doing, as plain data for status, info and metrics.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/latency_histogram.h"
#include "io/base/result.h"

namespace rsyncfs {

enum class LinkState : uint8_t { kConnecting, kUp, kDown };

// What the bytes of a session are for. What comes counts for what the server was saying when it came.
enum class WirePurpose : uint8_t {
  kList,       // lists that somebody waits for, and the first one of the whole tree
  kPoll,       // lists made to see what others changed
  kRead,       // contents that somebody asked for: reads, fetch, pin, verify --remote
  kReadAhead,  // contents that nobody has asked for yet
  kPush,       // changes, and looking at what they are to replace
  kReady,      // connections kept ready, as long as nobody needs them
  kCount
};
constexpr size_t kWirePurposes = static_cast<size_t>(WirePurpose::kCount);
constexpr std::array<std::string_view, kWirePurposes> kWirePurposeNames{"list",       "poll", "read",
                                                                        "read_ahead", "push", "ready"};

struct WireTotals {
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t sessions = 0;  // opened for it
};
using WireByPurpose = std::array<WireTotals, kWirePurposes>;

// Failures by their Errc.
constexpr size_t kErrcCount = static_cast<size_t>(Errc::kCanceled) + 1;
using FailureCounts = std::array<uint64_t, kErrcCount>;
inline void count_failure(FailureCounts& counts, Errc code) {
  ++counts[static_cast<size_t>(code)];
}

struct SessionStatus {
  std::string purpose;  // "tree", "directory"
  std::string state;    // "connecting", "opening", "listing", "armed"
  uint64_t entries = 0;
  uint64_t unanswered = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

struct TransferStatus {
  std::string path;  // as stored, raw bytes
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;
};

constexpr size_t kMaxListedTransfers = 32;
constexpr size_t kMaxListedFailures = 32;

// What is here and not on the source yet.
struct PushStatus {
  uint64_t pending_names = 0;
  uint64_t pending_nodes = 0;
  uint64_t pending_bytes = 0;  // at most; delta transfer may need fewer
  uint64_t local_only = 0;     // names that stay here, for filter rules leave them out; not among those
  int64_t oldest_s = 0;        // Unix time of the first change that is not pushed; 0 = nothing is pending
  // Totals of this mount.
  uint64_t pushed_files = 0;
  uint64_t pushed_bytes = 0;  // of their contents, sent
  uint64_t bytes_saved = 0;   // of their contents, not sent because the source had them
  uint64_t deletes = 0;
  uint64_t moves = 0;
  std::vector<TransferStatus> sending;  // at most kMaxListedTransfers
  // "path: the source's own message, retry in N s", at most kMaxListedFailures.
  std::vector<std::string> failing;
  FailureCounts failures{};  // pushes of one file or name that the source did not take
  LatencyCounts latency;     // from the first change that was pushed until the source had it
  std::string stopped;       // why a brake has stopped the pushing; "" = none has
  uint64_t conflicts = 0;    // recorded and not cleared
};

// What the contents of files take, and may take.
struct CacheStatus {
  uint64_t disk_bytes = 0;      // disk space of slabs and block files, as of the last look
  uint64_t limit_bytes = 0;     // 0 = no limit
  uint64_t min_free_bytes = 0;  // to be left free on the store's file system
  uint64_t free_bytes = 0;      // are, as of the last look
  // Totals of this mount.
  uint64_t evicted_files = 0;
  uint64_t evicted_bytes = 0;
  uint64_t pins = 0;  // files and directories that were pinned
};

struct SyncerStatus {
  LinkState link = LinkState::kConnecting;
  std::string
      link_text;  // one line for people: "connected, protocol 32, xxh128", "unreachable: ..., retry in 4 s"
  std::string last_error;  // most recent failure of a connection or session
  int protocol = 0;
  std::string checksum;
  std::string compression;
  bool tree_listed = false;  // the whole-tree list of this mount is in
  uint64_t tree_entries = 0;
  int64_t tree_listed_at_s = 0;  // Unix time
  // Of looking for what others change.
  uint64_t directories_in_use = 0;
  uint64_t directories_every_ms = 0;  // 0: off
  uint64_t tree_every_ms = 0;
  uint64_t bytes_per_second = 0;  // bwlimit=, in each direction; 0: none
  // Totals of this mount.
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t sessions_opened = 0;
  uint64_t lists_received = 0;
  uint64_t files_fetched = 0;
  uint64_t bytes_fetched = 0;  // file contents
  uint64_t files_failed = 0;
  uint64_t requests_timed_out = 0;
  uint64_t waiting_requests = 0;
  WireByPurpose wire{};              // sums up to bytes_in and bytes_out
  FailureCounts session_failures{};  // sessions that ended against our wish
  FailureCounts fetch_failures{};    // files that could not be had
  std::vector<SessionStatus> sessions;
  std::vector<TransferStatus> transfers;   // under way, largest first, at most kMaxListedTransfers
  std::vector<std::string> failing_paths;  // "path: reason", most recent first, at most kMaxListedFailures
  PushStatus push;
  CacheStatus cache;
};

}  // namespace rsyncfs
