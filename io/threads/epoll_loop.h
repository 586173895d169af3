// SPDX-License-Identifier: GPL-3.0-or-later
// The loop for kernels and sandboxes without io_uring: epoll for sockets and pipes, threads for files.
#pragma once

#include <memory>

#include "io/loop.h"

namespace rsyncfs {

Result<std::unique_ptr<Loop>> make_epoll_loop();

}  // namespace rsyncfs
