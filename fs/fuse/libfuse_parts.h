// SPDX-License-Identifier: GPL-3.0-or-later
// What libfuse knows of its rings and keeps for its own loops. Private to fs/fuse.
#pragma once

#include <stdint.h>

struct fuse_req;
struct fuse_session;

#ifdef __cplusplus
extern "C" {
#endif

uint64_t rsyncfs_fuse_number(const struct fuse_req* request);
int rsyncfs_fuse_has_rings(const struct fuse_session* session);
void rsyncfs_fuse_stop_rings(struct fuse_session* session);

#ifdef __cplusplus
}
#endif
