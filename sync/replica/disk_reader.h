// SPDX-License-Identifier: GPL-3.0-or-later
// Reads what the disk has of a file, not what the kernel remembers of it, where the file system lets us.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "io/base/result.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

// One thread at a time.
class DiskReader {
 public:
  // kNotFound: there is no such file.
  static Result<DiskReader> open(const std::string& path);
  // kCorrupt: the file ends before; kOs: the disk does not give it.
  Result<void> read(uint64_t offset, std::span<std::byte> out);

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }  // NOLINT: of aligned_alloc
  };
  DiskReader(OwnedFd fd, bool direct) : fd_(std::move(fd)), direct_(direct) {}
  Result<bool> read_direct(uint64_t offset, std::span<std::byte> out);

  OwnedFd fd_;
  bool direct_;
  size_t capacity_ = 0;
  std::unique_ptr<std::byte[], Free> buffer_;
};

}  // namespace rsyncfs
