// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernel asks, put to the Tree. Private to fs/fuse.
#pragma once

struct fuse_lowlevel_ops;

namespace rsyncfs {

// The table for fuse_session_new(); the session's user data must be a MountContext.
// With `read_only` every change is refused with EROFS.
const fuse_lowlevel_ops& fuse_operations(bool read_only);

// Longest read, write and readdir the kernel may ask for, and so the size of a request buffer.
constexpr unsigned kMaxRequestBytes = 1 << 20;
// Reads (read-ahead included) that may wait at the same time. The kernel's own default is 12, with which a
// dozen stalled reads would stop all others.
constexpr unsigned kMaxBackgroundRequests = 1024;

}  // namespace rsyncfs
