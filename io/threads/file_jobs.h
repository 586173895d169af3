// SPDX-License-Identifier: GPL-3.0-or-later
// Reads, writes and fsyncs of regular files, done by threads for the epoll loop.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "io/base/unique_function.h"
#include "io/executor.h"

namespace rsyncfs {

// One operation. Shared by the loop and the thread that does it.
struct FileJob {
  enum class Kind : uint8_t { kRead, kWrite, kSync, kDataSync };
  enum class State : uint8_t { kQueued, kRunning, kCancelled };

  Kind kind = Kind::kRead;
  int fd = -1;
  std::span<std::byte> into;
  std::span<const std::byte> from;
  uint64_t offset = 0;
  std::atomic<State> state{State::kQueued};
};

// submit(), cancel() and drain() are for the loop thread.
class FileJobs {
 public:
  static constexpr unsigned kThreads = 8;
  // A read of at most this much is first tried from the page cache, without a thread.
  static constexpr size_t kInlineRead = size_t{256} * 1024;

  // `done` gets bytes or -errno, on one of the threads; never called for a job that cancel() stopped.
  void submit(std::shared_ptr<FileJob> job, UniqueFunction<void(int64_t)> done);
  // True: the job has not begun, will not, and its buffer is free.
  static bool cancel(FileJob& job);
  // Waits for what has begun. Jobs not begun must be cancelled before.
  void drain() { executor_.reset(); }

  // The whole answer if it can be given without waiting for the disk.
  static std::optional<int64_t> read_cached(const FileJob& job);

 private:
  static int64_t perform(const FileJob& job);

  std::optional<Executor>
      executor_;  // made by the first job: a loop that only talks to the network has no threads
};

}  // namespace rsyncfs
