// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/block_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "sync/replica/schema.h"

namespace rsyncfs {
namespace {

// Numbers are taken from the database in portions: one write per so many files.
constexpr uint64_t kNumbersAtOnce = 4096;

Result<OwnedFd> create_file(const std::string& path) {
  const int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
  OwnedFd fd(::open(path.c_str(), flags, 0600));
  if (!fd && errno == ENOENT) {
    const std::string shard = path.substr(0, path.rfind('/'));
    if (mkdir(shard.c_str(), 0700) != 0 && errno != EEXIST) return Error::os(errno, shard);
    fd = OwnedFd(::open(path.c_str(), flags, 0600));
  }
  if (!fd) return Error::os(errno, path);
  return fd;
}

}  // namespace

Result<void> BlockFiles::recover() {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto next = read_number((*transaction)->db(), "next_block_file");
  if (!next) return next.error();
  first_new_ = next_ = next->value_or(1);
  end_ = next_ + kNumbersAtOnce;
  if (auto done = write_number((*transaction)->db(), "next_block_file", end_); !done) return done;
  return (*transaction)->commit();
}

Result<uint64_t> BlockFiles::take_number() {
  {
    std::lock_guard lock(mutex_);
    if (next_ < end_) return next_++;
  }
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  uint64_t end = 0;
  {
    std::lock_guard lock(mutex_);
    if (next_ < end_) return next_++;
    end = end_ + kNumbersAtOnce;
  }
  if (auto done = write_number((*transaction)->db(), "next_block_file", end); !done) return done.error();
  if (auto done = (*transaction)->commit(); !done) return done.error();
  std::lock_guard lock(mutex_);
  end_ = end;
  return next_++;
}

Result<void> BlockFiles::take_numbers(Transaction& transaction, uint64_t count, uint64_t& first_out) {
  uint64_t first = 0;
  {
    // Others take what is left below in the meantime.
    std::lock_guard lock(mutex_);
    first = end_;
  }
  const uint64_t end = first + count + kNumbersAtOnce;
  if (auto done = write_number(transaction.db(), "next_block_file", end); !done) return done;
  transaction.aftermath().then.emplace_back([this, first, count, end, &first_out] {
    first_out = first;
    std::lock_guard lock(mutex_);
    next_ = first + count;
    end_ = end;
  });
  return {};
}

Result<BlockFiles::Created> BlockFiles::create_numbered(uint64_t id) {
  auto fd = create_file(path(id));
  if (!fd) return fd.error();
  std::lock_guard lock(mutex_);
  writing_.emplace(id, false);
  return Created{id, std::move(*fd)};
}

Result<BlockFiles::Created> BlockFiles::create(uint64_t size) {
  auto id = take_number();
  if (!id) return id.error();
  const std::string file = path(*id);
  auto fd = create_file(file);
  if (!fd) return fd.error();
  // Maps may cover the whole expected size from the start.
  if (ftruncate(fd->get(), static_cast<off_t>(size)) != 0) {
    const Error failure = Error::os(errno, file);
    unlink(file.c_str());
    return failure;
  }
  std::lock_guard lock(mutex_);
  writing_.emplace(*id, false);
  return Created{*id, std::move(*fd)};
}

Result<BlockFiles::Created> BlockFiles::reopen(uint64_t id) {
  OwnedFd fd(::open(path(id).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno != ENOENT) return Error::os(errno, path(id));
  if (!fd) return Error(Errc::kNotFound, "the block file is gone");
  std::lock_guard lock(mutex_);
  if (lent_.contains(id)) return Error(Errc::kNotFound, "the block file is lent");
  if (!writing_.emplace(id, true).second) return Error(Errc::kNotFound, "the block file is being written");
  return Created{id, std::move(fd)};
}

void BlockFiles::closed(uint64_t id) {
  bool recorded = false;
  {
    std::lock_guard lock(mutex_);
    const auto writing = writing_.find(id);
    RSYNCFS_CHECK(writing != writing_.end());
    recorded = writing->second;
    writing_.erase(writing);
  }
  changed(id);
  if (!recorded) remove(id);
}

void BlockFiles::recorded(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto writing = writing_.find(id);
  if (writing != writing_.end()) writing->second = true;
}

bool BlockFiles::released(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto writing = writing_.find(id);
  if (writing == writing_.end()) return true;
  writing->second = false;
  return false;
}

void BlockFiles::remove(std::span<const uint64_t> ids) {
  std::vector<std::string> paths;
  std::vector<FileRemoval> removals;
  paths.reserve(ids.size());
  for (const uint64_t id : ids) removals.push_back({paths.emplace_back(path(id)).c_str()});
  batch_.remove(removals);
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool gone = removals[i].error == 0 || removals[i].error == ENOENT;
    gone ? usage_.block_file_removed(ids[i]) : changed(ids[i]);
  }
}

bool BlockFiles::lend(uint64_t id) {
  std::lock_guard lock(mutex_);
  return !writing_.contains(id) && lent_.insert(id).second;
}

void BlockFiles::take_back(uint64_t id) {
  std::lock_guard lock(mutex_);
  lent_.erase(id);
}

bool BlockFiles::is_open(uint64_t id) const {
  std::lock_guard lock(mutex_);
  return writing_.contains(id);
}

}  // namespace rsyncfs
