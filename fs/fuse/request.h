// SPDX-License-Identifier: GPL-3.0-or-later
// How each request begins. Private to fs/fuse.
#pragma once

#include <memory>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/mount_context.h"
#include "fs/fuse/reply.h"

namespace rsyncfs {

inline MountContext& mount_of(fuse_req_t request) {
  return *static_cast<MountContext*>(fuse_req_userdata(request));
}

inline std::shared_ptr<Reply> begin(fuse_req_t request, FrontOp op) {
  MountContext& mount = mount_of(request);
  mount.count(op);
  return Reply::make(request, mount, op);
}

// Its maps are of a backing file, and what is written into them is known to us when we look.
inline bool is_mapper(const fuse_file_info* info) {
  return info != nullptr && info->fh == static_cast<uint64_t>(OpenKind::kMapper);
}

// For as long as the request is not answered.
Caller caller_of(fuse_req_t request);

// For what is answered with success or a failure and no more.
inline Done<void> plain_answer(std::shared_ptr<Reply> reply) {
  return [reply = std::move(reply)](const Result<void>& done) {
    done ? reply->done() : reply->fail(done.error());
  };
}

}  // namespace rsyncfs
