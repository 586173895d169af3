// SPDX-License-Identifier: GPL-3.0-or-later
// FUSE over io_uring: libfuse has a thread for each processor that takes requests of those who run there, and
// calls the operations. Forgets, interrupts and FUSE_INIT are still read. Private to fs/fuse.
//
// A request keeps its buffer until it is answered. When all buffers of a processor wait for the source, what
// else is asked there waits, too, in the kernel.
#pragma once

#include <cstdint>
#include <string>

struct fuse_lowlevel_ops;
struct fuse_req;
struct fuse_session;

namespace rsyncfs {

extern const bool kRingsBuilt;

// For -o, each with a comma before it; "" where they are not built.
std::string ring_mount_options();
// The kernel's number of a request that came by a ring; 0 of others.
uint64_t ring_number(fuse_req* request);
// From the answer to FUSE_INIT on.
bool have_ring_threads(const fuse_session* session);
// Waits for them. Nothing if there are none.
void stop_ring_threads(fuse_session* session);
// What comes when MountContext::closed is set is refused; what came before counts in its book of replies.
// Last.
void guard_rings(fuse_lowlevel_ops& ops, bool read_only);

}  // namespace rsyncfs
