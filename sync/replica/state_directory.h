// SPDX-License-Identifier: GPL-3.0-or-later
// The directory that a store lives in: made private, locked while it is open, and the paths of what is
// inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/base/result.h"

namespace rsyncfs {

// Owns a file descriptor and closes it.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  OwnedFd& operator=(OwnedFd&& other) noexcept;
  ~OwnedFd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class StateDirectory {
 public:
  // Creates what is missing with mode 0700. kRefused when another process has it (the message names its pid),
  // when it belongs to someone else, or when others may write there.
  static Result<StateDirectory> open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string database() const { return path_ + "/store.db"; }
  std::string journal(size_t number) const { return path_ + "/journal." + std::to_string(number); }
  std::string spare() const { return path_ + "/spare"; }
  std::string slabs() const { return path_ + "/slabs"; }
  std::string blocks() const { return path_ + "/blocks"; }
  std::string slab(uint64_t id) const;
  // Its shard, a directory, is the part before the last '/'.
  std::string block_file(uint64_t id) const;

 private:
  std::string path_;
  OwnedFd lock_;
};

// Names the running of the kernel: page cache that was written before it is gone when this differs. Empty if
// unknown.
std::string boot_id();

// Name of a slab or block file back to its number; 0 when it is not one.
uint64_t file_number(std::string_view name);

}  // namespace rsyncfs
