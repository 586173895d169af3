// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/threads/file_jobs.h"

#include <sys/uio.h>

#include <cerrno>
#include <utility>

#include "io/file_calls.h"

namespace rsyncfs {

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
  switch (job.kind) {
    case FileJob::Kind::kRead:
      return read_whole(job.fd, job.into, job.offset);
    case FileJob::Kind::kWrite:
      return write_whole(job.fd, job.from, job.offset);
    case FileJob::Kind::kSync:
      return sync_file(job.fd, false);
    case FileJob::Kind::kDataSync:
      return sync_file(job.fd, true);
  }
  return -EINVAL;
}

}  // namespace rsyncfs
