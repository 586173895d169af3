// SPDX-License-Identifier: GPL-3.0-or-later
// Why a file or directory is stale, not sent yet, slow or refused, in plain sentences.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fs/control/info_document.h"
#include "sync/engine/status.h"

namespace rsyncfs {

// What is known of the mount that the path is in.
struct PathSurroundings {
  const SyncerStatus& syncer;
  bool writable = false;
  std::string read_only_reason;  // the source's word, when it takes no changes
  int64_t now_s = 0;             // Unix time
};

// Looked at less often than this, what is shown may be called stale; milliseconds.
constexpr uint64_t kStaleAfterMs = 60'000;
// A change that waits for longer is no usual one any more; seconds.
constexpr int64_t kUsualDelayS = 10;

// The most telling first; empty where nothing is known to be in the way.
std::vector<std::string> path_reasons(const PathInfo& info, const PathSurroundings& around);

}  // namespace rsyncfs
