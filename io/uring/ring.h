// SPDX-License-Identifier: GPL-3.0-or-later
// One io_uring, set up with the best flags that the running kernel takes.
#pragma once

#include <memory>
#include <string>

#include <liburing.h>

#include "io/base/result.h"

namespace rsyncfs {

class Ring {
 public:
  // Submission slots: one system call submits at most so many. Operations in flight are not limited by it.
  static constexpr unsigned kEntries = 64;
  // Completion slots. More completions at once are kept by the kernel until there is room
  // (IORING_FEAT_NODROP).
  static constexpr unsigned kCompletions = 1024;

  enum class Start {
    kNow,    // the caller is the thread that submits
    kLater,  // the thread that calls enable() is
  };
  static Result<std::unique_ptr<Ring>> open(Start start);
  ~Ring() { io_uring_queue_exit(&ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // kUnsupported unless every operation the loop uses is there and a NOP goes through. For a ring started
  // now.
  Result<void> probe();
  Result<void> enable();
  // "64 entries, SINGLE_ISSUER, DEFER_TASKRUN"
  std::string describe() const;
  io_uring* get() { return &ring_; }

 private:
  Ring() = default;
  io_uring ring_{};
};

}  // namespace rsyncfs
