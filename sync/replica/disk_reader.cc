// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/disk_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// What O_DIRECT asks of places, lengths and memory, on all disks there are.
constexpr uint64_t kAlignment = 4096;

}  // namespace

Result<DiskReader> DiskReader::open(const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
  OwnedFd fd(::open(path.c_str(), kFlags | O_DIRECT));
  const bool direct = static_cast<bool>(fd);
  if (!direct && errno == EINVAL) fd = OwnedFd(::open(path.c_str(), kFlags));
  if (!fd && errno == ENOENT) return Error(Errc::kNotFound, path + " is missing");
  if (!fd) return Error::os(errno, path);
  return DiskReader(std::move(fd), direct);
}

Result<void> DiskReader::read(uint64_t offset, std::span<std::byte> out) {
  if (out.empty()) return {};
  if (direct_) {
    auto done = read_direct(offset, out);
    if (!done) return done.error();
    if (*done) return {};
  }
  return read_all(fd_.get(), out, offset, "reading a content");
}

// False: this file can't be read so.
Result<bool> DiskReader::read_direct(uint64_t offset, std::span<std::byte> out) {
  const uint64_t begin = offset / kAlignment * kAlignment;
  const size_t length = (offset + out.size() - begin + kAlignment - 1) / kAlignment * kAlignment;
  if (capacity_ < length) {
    buffer_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, length)));
    capacity_ = buffer_ ? length : 0;
    if (!buffer_) return false;
  }
  const size_t wanted = offset - begin + out.size();
  size_t got = 0;
  while (got < wanted) {
    const ssize_t part =
        ::pread(fd_.get(), buffer_.get() + got, length - got, static_cast<off_t>(begin + got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0 && errno == EINVAL) {
      // Not on this file system, or not in the middle of a block where a short read ended.
      const int flags = ::fcntl(fd_.get(), F_GETFL);
      if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT) != 0)
        return Error::os(EIO, "reading a content");
      direct_ = false;
      return false;
    }
    if (part < 0) return Error::os(errno, "reading a content");
    if (part == 0) return Error(Errc::kCorrupt, "a file of the store is too short");
    got += static_cast<size_t>(part);
  }
  std::memcpy(out.data(), buffer_.get() + (offset - begin), out.size());
  return true;
}

}  // namespace rsyncfs
