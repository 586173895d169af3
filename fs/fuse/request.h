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
  return Reply::make(request, mount);
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
