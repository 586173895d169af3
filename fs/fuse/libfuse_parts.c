// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/libfuse_parts.h"

#include <fuse_config.h>
#include <fuse_i.h>
#include <fuse_uring_i.h>

uint64_t rsyncfs_fuse_number(const struct fuse_req* request) {
  return request->unique;
}

int rsyncfs_fuse_has_rings(const struct fuse_session* session) {
  return session->uring.pool != NULL;
}

void rsyncfs_fuse_stop_rings(struct fuse_session* session) {
  fuse_uring_stop(session);
}
