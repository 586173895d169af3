// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/threads/file_jobs.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace rsyncfs {

namespace {

// Moves everything or up to the end of file. What was moved before an error counts; the error will come back.
template <class Step>
int64_t whole(size_t size, Step step) {
  size_t moved = 0;
  while (moved < size) {
    const ssize_t n = step(moved);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && moved == 0) return -errno;
    if (n <= 0) break;
    moved += static_cast<size_t>(n);
  }
  return static_cast<int64_t>(moved);
}

}  // namespace

void FileJobs::submit(std::shared_ptr<FileJob> job, UniqueFunction<void(int64_t)> done) {
  if (!executor_) executor_.emplace(kThreads);
  executor_->submit([job = std::move(job), done = std::move(done)]() mutable {
    auto expected = FileJob::State::kQueued;
    if (!job->state.compare_exchange_strong(expected, FileJob::State::kRunning)) return;
    done(perform(*job));
  });
}

bool FileJobs::cancel(FileJob& job) {
  auto expected = FileJob::State::kQueued;
  return job.state.compare_exchange_strong(expected, FileJob::State::kCancelled);
}

std::optional<int64_t> FileJobs::read_cached(const FileJob& job) {
  if (job.kind != FileJob::Kind::kRead || job.into.size() > kInlineRead) return std::nullopt;
  const iovec part{job.into.data(), job.into.size()};
  const ssize_t n = ::preadv2(job.fd, &part, 1, static_cast<off_t>(job.offset), RWF_NOWAIT);
  // A short count may be the end of file or the end of what is cached: only a thread can tell.
  if (n == 0 || (n > 0 && static_cast<size_t>(n) == job.into.size())) return n;
  return std::nullopt;
}

int64_t FileJobs::perform(const FileJob& job) {
  const auto at = [&](size_t moved) { return static_cast<off_t>(job.offset + moved); };
  switch (job.kind) {
    case FileJob::Kind::kRead:
      return whole(job.into.size(), [&](size_t moved) {
        return ::pread(job.fd, job.into.data() + moved, job.into.size() - moved, at(moved));
      });
    case FileJob::Kind::kWrite:
      return whole(job.from.size(), [&](size_t moved) {
        return ::pwrite(job.fd, job.from.data() + moved, job.from.size() - moved, at(moved));
      });
    case FileJob::Kind::kSync:
      return ::fsync(job.fd) == 0 ? 0 : -errno;
    case FileJob::Kind::kDataSync:
      return ::fdatasync(job.fd) == 0 ? 0 : -errno;
  }
  return -EINVAL;
}

}  // namespace rsyncfs
