// SPDX-License-Identifier: GPL-3.0-or-later
// Many reads, syncs or removals of files at once, for threads that may wait for the disk: beside the Loop,
// whose thread may not. Two engines stand behind it: a ring for each thread that uses it (io/uring), and a
// pool of threads (io/threads); make_file_batch() chooses one by probing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "io/loop.h"

namespace rsyncfs {

// One read of a regular file; with O_DIRECT, place and memory have to be aligned as for pread(2). `into` must
// stay valid until the call returns.
struct FileRead {
  int fd = -1;
  uint64_t offset = 0;
  std::span<std::byte> into;
  // The outcome: short only at the end of file, or before an error.
  size_t got = 0;
  int error = 0;  // errno
};

// One fsync(2), or fdatasync(2), of a file or directory.
struct FileSync {
  int fd = -1;
  bool data_only = false;
  int error = 0;  // the outcome: errno
};

// All of a small file: it is opened, read from its beginning, and closed. `path` and `into` must stay valid
// until the call returns.
struct FileLoad {
  const char* path = nullptr;
  std::span<std::byte> into;
  // The outcome: short only at the end of file, or before an error.
  size_t got = 0;
  int error = 0;  // errno, ELOOP for a symbolic link
};

// One unlink(2).
struct FileRemoval {
  const char* path = nullptr;
  int error = 0;  // the outcome: errno
};

struct FileBatchCounters {
  std::atomic<uint64_t> batches{0};  // calls with more than one item
  std::atomic<uint64_t> reads{0};    // loads, too
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> syncs{0};
  std::atomic<uint64_t> removals{0};
};

// Any thread; each call returns when all of its items are done, in whatever order. One item is done by a
// plain system call, which is faster than any engine. For reads that have to wait: what the page cache has, a
// loop of pread(2) gives as fast.
class FileBatch {
 public:
  // Items of one call that are under way at once; the others follow as these are done.
  static constexpr size_t kDepth = 64;

  virtual ~FileBatch() = default;
  void read(std::span<FileRead> reads);
  void sync(std::span<FileSync> syncs);
  void load(std::span<FileLoad> loads);
  void remove(std::span<FileRemoval> removals);
  virtual std::string_view engine() const = 0;  // "io_uring" or "threads"
  const FileBatchCounters& counters() const { return counters_; }

 protected:
  virtual void read_many(std::span<FileRead> reads) = 0;
  virtual void sync_many(std::span<FileSync> syncs) = 0;
  virtual void load_many(std::span<FileLoad> loads) = 0;
  virtual void remove_many(std::span<FileRemoval> removals) = 0;

 private:
  template <class Item>
  void count_reads(std::span<Item> items);

  FileBatchCounters counters_;
};

struct FileBatchSelection {
  std::unique_ptr<FileBatch> batch;
  std::string reason;  // one line: which engine was taken and why
};

// As make_loop(): kAuto takes io_uring where it works, kUring fails where kAuto would fall back.
Result<FileBatchSelection> make_file_batch(IoChoice choice);

}  // namespace rsyncfs
