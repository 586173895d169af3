// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/listing_buffer.h"

#include <span>
#include <utility>

#include "fs/fuse/fuse_api.h"

namespace rsyncfs {
namespace {

// Sizes of a record with a name of usual length (struct fuse_direntplus, fuse_dirent), to guess how many fit.
constexpr size_t kUsualPlusBytes = 168;
constexpr size_t kUsualBytes = 40;

}  // namespace

ListingBuffer::ListingBuffer(fuse_req* request, std::shared_ptr<Reply> reply, size_t size_bytes, bool plus,
                             const MountContext& mount)
    : request_(request), reply_(std::move(reply)), bytes_(size_bytes), plus_(plus), mount_(mount) {}

size_t ListingBuffer::capacity() const {
  return (bytes_.size() - used_) / (plus_ ? kUsualPlusBytes : kUsualBytes) + 1;
}

bool ListingBuffer::add(std::string_view name, const Entry& entry, uint64_t next_cookie) {
  name_.assign(name);
  const size_t room = bytes_.size() - used_;
  char* at = bytes_.data() + used_;
  size_t needed = 0;
  if (plus_) {
    fuse_entry_param packed{};
    packed.ino = entry.node;
    packed.attr = entry.attr;
    packed.attr_timeout = entry.tells_of_use ? 0 : attribute_seconds(entry.attr, mount_);
    packed.entry_timeout = name_seconds(mount_);
    needed =
        fuse_add_direntry_plus(request_, at, room, name_.c_str(), &packed, static_cast<off_t>(next_cookie));
  } else {
    needed =
        fuse_add_direntry(request_, at, room, name_.c_str(), &entry.attr, static_cast<off_t>(next_cookie));
  }
  if (needed > room) return false;
  used_ += needed;
  return true;
}

// What was packed before a failure is worth more than the failure, which comes again with the next call.
bool ListingBuffer::finish(Result<void> outcome) {
  if (!outcome && used_ == 0) {
    reply_->fail(outcome.error());
    return false;
  }
  return reply_->listing(std::span(bytes_).first(used_));
}

}  // namespace rsyncfs
