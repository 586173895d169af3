// SPDX-License-Identifier: GPL-3.0-or-later
// The part of ContentStore that lends contents to those who read them by a descriptor.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "sync/replica/content_store.h"
#include "sync/replica/layer_file.h"

namespace rsyncfs {

Result<std::shared_ptr<LentFile>> ContentStore::lend(NodeId node, uint64_t size) {
  if (auto known = lent(node)) return known;
  const auto content = this->content(node);
  if (!content) return content.error();
  if (*content == nullptr || !(*content)->complete() || (*content)->size() != size || !(*content)->checked())
    return std::shared_ptr<LentFile>();
  auto row = read_row(node);
  if (!row) return row.error();
  const bool has_file = row->has_value() && (*row)->sound && (*row)->complete && (*row)->place.slab == 0 &&
                        (*row)->place.position != 0 && (*row)->place.size == size;
  if (!has_file || !blocks_.lend((*row)->place.position)) return std::shared_ptr<LentFile>();
  auto made = lend_now(node, size, **row);
  // What was compared is what is lent.
  if (made && *made && !is_current(node, *content)) return std::shared_ptr<LentFile>();
  if (!made || !*made) return made;
  const std::lock_guard lock(lent_mutex_);
  if (lent_.size() >= kMaxLent) return std::shared_ptr<LentFile>();
  lent_[node] = *made;
  lent_count_ = lent_.size();
  return made;
}

Result<std::shared_ptr<LentFile>> ContentStore::lend_now(NodeId node, uint64_t size, const ContentRow& row) {
  const std::string path = blocks_.path(row.place.position);
  OwnedFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  const bool opened = static_cast<bool>(fd);
  const Error failure = opened ? Error(Errc::kOs, "") : Error::os(errno, path);
  // Takes the block file back when it ends.
  auto made = std::make_shared<LentFile>(*this, node, row.place.position, std::move(fd));
  if (!opened) return failure;
  struct stat status {};
  if (fstat(made->fd(), &status) != 0) return Error::os(errno, path);
  // A file that was pushed may be longer than what it has.
  if (static_cast<uint64_t>(status.st_size) != size) return std::shared_ptr<LentFile>();
  return made;
}

std::shared_ptr<LentFile> ContentStore::lent(NodeId node) const {
  if (lent_count_.load() == 0) return nullptr;
  const std::lock_guard lock(lent_mutex_);
  const auto found = lent_.find(node);
  return found == lent_.end() ? nullptr : found->second.lock();
}

void ContentStore::lent_is_back(const LentFile& lent) {
  blocks_.take_back(lent.block_file());
  const std::lock_guard lock(lent_mutex_);
  const auto found = lent_.find(lent.node());
  if (found == lent_.end() || !found->second.expired()) return;
  lent_.erase(found);
  lent_count_ = lent_.size();
}

Result<void> ContentStore::move_from(const LentFile& lent) {
  auto row = read_row(lent.node());
  if (!row) return row.error();
  const BytesPlace place{0, lent.block_file(), 0};
  if (!row->has_value() || !(*row)->sound || !(*row)->place.same_place(place)) return {};
  return copy_content(**row, lent.fd());
}

Result<void> ContentStore::copy_content(const ContentRow& row, int from) {
  auto created = blocks_.create(row.place.size);
  if (!created) return created.error();
  const int to = created->fd.get();
  Result<void> done;
  if (::ioctl(to, FICLONE, from) == 0) {
    done = ensure_length(to, row.place.size);
  } else {
    // All of it: what is absent is never looked at.
    done = copy_range(from, to, 0, row.place.size);
  }
  if (done) done = put_copy(row, created->id);
  blocks_.closed(created->id);
  return done;
}

Result<void> ContentStore::put_copy(const ContentRow& copied, uint64_t block_file) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto row = find_content((*transaction)->db(), copied.node);
  if (!row) return row.error();
  // Otherwise it moved by itself, or went.
  if (!row->has_value() || !(*row)->sound || !(*row)->place.same_place(copied.place)) return {};
  auto sums = find_sums((*transaction)->db(), **row);
  if (!sums) return sums.error();
  (*row)->sums = std::move(*sums);
  if (auto done = read_digest((*transaction)->db(), **row); !done) return done;
  (*row)->place.position = block_file;
  if (auto done = put_content(**transaction, **row); !done) return done;
  return (*transaction)->commit();
}

}  // namespace rsyncfs
