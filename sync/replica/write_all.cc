// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/write_all.h"

#include <unistd.h>

#include <cerrno>
#include <string>

namespace rsyncfs {

Result<void> write_all(int fd, std::span<const std::byte> data, uint64_t offset, std::string_view what) {
  while (!data.empty()) {
    const ssize_t wrote = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      return Error::os(errno, what);
    }
    if (wrote == 0) return Error::os(EIO, what);
    data = data.subspan(static_cast<size_t>(wrote));
    offset += static_cast<uint64_t>(wrote);
  }
  return {};
}

Result<void> read_all(int fd, std::span<std::byte> out, uint64_t offset, std::string_view what) {
  while (!out.empty()) {
    const ssize_t got = pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return Error::os(errno, what);
    }
    if (got == 0) return Error(Errc::kCorrupt, std::string(what) + ": the file ends too early");
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

}  // namespace rsyncfs
