// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/rings.h"

namespace rsyncfs {

const bool kRingsBuilt = false;

std::string ring_mount_options() {
  return "";
}

uint64_t ring_number(fuse_req* /*request*/) {
  return 0;
}

bool have_ring_threads(const fuse_session* /*session*/) {
  return false;
}

void stop_ring_threads(fuse_session* /*session*/) {}

void guard_rings(fuse_lowlevel_ops& /*ops*/, bool /*read_only*/) {}

}  // namespace rsyncfs
