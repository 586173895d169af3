// SPDX-License-Identifier: GPL-3.0-or-later
// What every request of one mount needs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "fs/fuse/backing_files.h"
#include "fs/fuse/event_raiser.h"
#include "fs/fuse/front.h"
#include "fs/fuse/notifier.h"
#include "fs/fuse/reply_book.h"
#include "fs/tree/tree.h"
#include "io/base/latency_histogram.h"

namespace rsyncfs {

struct MountContext {
  MountContext(Tree& mounted_tree, Notifier& kernel_notifier, FrontOptions mount_options)
      : tree(mounted_tree),
        notifier(kernel_notifier),
        options(std::move(mount_options)),
        backing(mounted_tree) {}

  void count(FrontOp op) { requests[static_cast<size_t>(op)].fetch_add(1, std::memory_order_relaxed); }

  Tree& tree;
  Notifier& notifier;
  const FrontOptions options;
  std::unique_ptr<EventRaiser> events;  // null: nobody is told
  ReplyBook replies;
  BackingFiles backing;
  std::array<std::atomic<uint64_t>, static_cast<size_t>(FrontOp::kCount)> requests{};
  std::array<LatencyHistogram, static_cast<size_t>(FrontOp::kCount)> latencies;
  // Set by FUSE_INIT, before its answer goes out.
  std::atomic<bool> initialized{false};
  std::atomic<bool> init_answered{false};
  std::atomic<bool> parallel_directories{false};  // the kernel offers it
  std::atomic<bool> passthrough_offered{false};   // likewise
  std::atomic<bool> no_open{false};               // what the profile became with this kernel
  std::atomic<bool> no_opendir{false};            // the kernel can open directories without asking
  std::atomic<bool> changes_refused{false};       // though it is mounted read-write
  std::atomic<bool> rings_run{false};             // requests come by io_uring
  std::atomic<bool> closed{false};                // what comes by them now is refused
  std::atomic<unsigned> protocol_major{0};
  std::atomic<unsigned> protocol_minor{0};
};

}  // namespace rsyncfs
