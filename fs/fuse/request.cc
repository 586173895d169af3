// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/request.h"

#include <algorithm>
#include <vector>

namespace rsyncfs {
namespace {

// Read from /proc, so only where it matters.
bool in_supplementary_group(fuse_req_t request, gid_t group) {
  const int count = fuse_req_getgroups(request, 0, nullptr);
  if (count <= 0) return false;
  std::vector<gid_t> groups(static_cast<size_t>(count));
  const int got = fuse_req_getgroups(request, count, groups.data());
  if (got < 0) return false;
  groups.resize(static_cast<size_t>(std::min(got, count)));
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

}  // namespace

Caller caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {context->uid, context->gid, context->umask,
          [request](uint32_t group) { return in_supplementary_group(request, group); }};
}

}  // namespace rsyncfs
