// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/file_calls.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "io/base/unique_fd.h"

namespace rsyncfs {

namespace {

// What was moved before an error counts; the error will come back.
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

int64_t read_whole(int fd, std::span<std::byte> into, uint64_t offset) {
  return whole(into.size(), [&](size_t moved) {
    return ::pread(fd, into.data() + moved, into.size() - moved, static_cast<off_t>(offset + moved));
  });
}

int64_t write_whole(int fd, std::span<const std::byte> from, uint64_t offset) {
  return whole(from.size(), [&](size_t moved) {
    return ::pwrite(fd, from.data() + moved, from.size() - moved, static_cast<off_t>(offset + moved));
  });
}

int64_t sync_file(int fd, bool data_only) {
  return (data_only ? ::fdatasync(fd) : ::fsync(fd)) == 0 ? 0 : -errno;
}

void start_writeback(int fd) {
  static_cast<void>(::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
}

void read_now(FileRead& read) {
  const int64_t result = read_whole(read.fd, read.into, read.offset);
  read.got = result < 0 ? 0 : static_cast<size_t>(result);
  read.error = result < 0 ? static_cast<int>(-result) : 0;
}

void sync_now(FileSync& sync) {
  sync.error = static_cast<int>(-sync_file(sync.fd, sync.data_only));
}

void load_now(FileLoad& load) {
  const UniqueFd fd(::open(load.path, kLoadFlags));
  load.got = 0;
  load.error = errno;
  if (!fd) return;
  FileRead read{fd.get(), 0, load.into};
  read_now(read);
  load.got = read.got;
  load.error = read.error;
}

void remove_now(FileRemoval& removal) {
  removal.error = ::unlink(removal.path) == 0 ? 0 : errno;
}

}  // namespace rsyncfs
