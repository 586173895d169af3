// SPDX-License-Identifier: GPL-3.0-or-later
// What is agreed with the kernel in FUSE_INIT. Private to fs/fuse.
#pragma once

struct fuse_conn_info;

namespace rsyncfs {

struct MountContext;

// Each capability is set or unset by name: libfuse's defaults differ between its versions.
void choose_capabilities(fuse_conn_info& connection, MountContext& mount);

}  // namespace rsyncfs
