// SPDX-License-Identifier: GPL-3.0-or-later
// `rsyncfs fetch`, and what `rsyncfs pin` fetches: tells whoever asked how it goes.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/control/server.h"
#include "fs/daemon/hydration.h"

namespace rsyncfs {

// Loop thread only. Lives until its last answer is given or its client has gone.
class FetchJob : public std::enable_shared_from_this<FetchJob> {
 public:
  // As many as a session has asked for at a time: more would only be looked at again and again.
  static constexpr size_t kMaxInFlight = 256;
  static constexpr size_t kMaxReportedFailures = 1'000;
  static constexpr std::chrono::milliseconds kProgressInterval{200};

  FetchJob(Loop& loop, WalkContext context, std::vector<std::string> paths,
           std::shared_ptr<ControlReply> reply)
      : loop_(loop), context_(context), paths_(std::move(paths)), reply_(std::move(reply)) {}
  void start();

 private:
  void fail(const std::string& path, const Error& error);
  void show_progress_later();
  void show_progress(const SyncerStatus& status);

  Loop& loop_;
  WalkContext context_;
  std::vector<std::string> paths_;
  std::shared_ptr<ControlReply> reply_;  // null at the end
  std::weak_ptr<Hydration> hydration_;   // which holds us
  size_t failures_ = 0;
};

}  // namespace rsyncfs
