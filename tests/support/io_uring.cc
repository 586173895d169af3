// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/io_uring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace rsyncfs::support {

std::string why_no_io_uring() {
  std::array<uint64_t, 15> parameters{};  // struct io_uring_params, all zero
  const auto fd = static_cast<int>(syscall(SYS_io_uring_setup, 1, parameters.data()));
  if (fd < 0) return std::string("io_uring does not work here: ") + std::strerror(errno);
  close(fd);
  return "";
}

}  // namespace rsyncfs::support
