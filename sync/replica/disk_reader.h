// SPDX-License-Identifier: GPL-3.0-or-later
// Reads what the disk has of a file, not what the kernel remembers of it, where the file system lets us.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

// Memory as O_DIRECT wants it.
struct AlignedFree {
  void operator()(std::byte* bytes) const { std::free(bytes); }  // NOLINT: of aligned_alloc
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedFree>;

// One thread at a time.
class DiskReader {
 public:
  // kNotFound: there is no such file.
  static Result<DiskReader> open(const std::string& path);
  // kCorrupt: the file ends before; kOs: the disk does not give it.
  Result<void> read(uint64_t offset, std::span<std::byte> out);
  int fd() const { return fd_.get(); }

 private:
  DiskReader(OwnedFd fd, bool direct) : fd_(std::move(fd)), direct_(direct) {}
  Result<bool> read_direct(uint64_t offset, std::span<std::byte> out);

  OwnedFd fd_;
  bool direct_;
  size_t capacity_ = 0;
  AlignedBytes buffer_;
};

// Parts of files, which are all read at once. One thread at a time; its memory stays for the next ones.
class DiskReads {
 public:
  // Of all parts together, unless a single one is longer.
  static constexpr size_t kMaxBytes = 4 << 20;
  static constexpr size_t kMaxParts = FileBatch::kDepth;

  explicit DiskReads(FileBatch& batch) : batch_(batch) {}

  // False: there is no room for it before run(). `reader` must outlive run().
  bool add(DiskReader& reader, uint64_t offset, size_t length);
  // The parts in the order in which they were added; null where the file ends before, or the disk does not
  // give it. Valid until the next add(), which begins anew.
  struct Part {
    const std::byte* bytes = nullptr;
    size_t length = 0;
    bool good() const { return bytes != nullptr; }
    std::span<const std::byte> span() const { return {bytes, length}; }
  };
  const std::vector<Part>& run();

 private:
  struct Wanted {
    DiskReader* reader = nullptr;
    uint64_t offset = 0;
    size_t length = 0;
    size_t at = 0;  // in the memory: where the block begins that has the first byte
  };
  bool reserve();

  FileBatch& batch_;
  std::vector<Wanted> wanted_;
  std::vector<Part> parts_;  // of the last run()
  size_t bytes_ = 0;         // of memory, for all that is wanted
  size_t capacity_ = 0;
  AlignedBytes memory_;
  std::vector<std::byte> unaligned_;  // what could not be read with the others
};

}  // namespace rsyncfs
