// SPDX-License-Identifier: GPL-3.0-or-later
// Packs a directory's names as the kernel wants them. Private to fs/fuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/reply.h"
#include "fs/tree/tree.h"

struct fuse_req;

namespace rsyncfs {

class ListingBuffer final : public DirectorySink {
 public:
  // With `plus` each name carries its attributes.
  ListingBuffer(fuse_req* request, std::shared_ptr<Reply> reply, size_t size_bytes, bool plus,
                const MountContext& mount);
  size_t capacity() const override;
  bool add(std::string_view name, const Entry& entry, uint64_t next_cookie) override;
  bool finish(Result<void> outcome) override;

 private:
  fuse_req* request_;
  std::shared_ptr<Reply> reply_;
  std::vector<char> bytes_;
  size_t used_ = 0;
  bool plus_;
  const MountContext& mount_;
  std::string name_;  // NUL-terminated
};

}  // namespace rsyncfs
