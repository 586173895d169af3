// SPDX-License-Identifier: GPL-3.0-or-later
// Mends the answer to FUSE_INIT on its way out. Private to fs/fuse.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "fs/fuse/fuse_api.h"

namespace rsyncfs {

struct MountContext;

// libfuse 3.14.0 takes FUSE_CAP_PARALLEL_DIROPS and does not pass it on. Without it the kernel lets one
// lookup at a time into a directory, and those behind one that waits for the source cannot even be killed.
constexpr bool kAmendInitReply = FUSE_VERSION < FUSE_MAKE_VERSION(3, 18);

// Nor does it know FUSE_HANDLE_KILLPRIV_V2: the Tree takes set-id bits away itself. Without it the kernel
// asks for security.capability before each write.

// Nor FUSE_REQUEST_TIMEOUT, which 3.17 does not know either.

// Nor FUSE_PASSTHROUGH.

// Any request may be given; of FUSE_INIT it is noted what the kernel offers.
void note_init_request(MountContext& mount, std::span<const std::byte> request);
// Any reply may be given; only the one to FUSE_INIT is looked at closely.
void amend_init_reply(MountContext& mount, std::span<iovec> reply);

}  // namespace rsyncfs
