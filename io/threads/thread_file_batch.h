// SPDX-License-Identifier: GPL-3.0-or-later
// The FileBatch for kernels and sandboxes without io_uring: plain system calls, several threads at once.
#pragma once

#include <memory>

#include "io/file_batch.h"

namespace rsyncfs {

std::unique_ptr<FileBatch> make_thread_file_batch();

}  // namespace rsyncfs
