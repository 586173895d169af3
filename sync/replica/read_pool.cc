// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/read_pool.h"

#include <utility>

namespace rsyncfs {

Result<Connection*> ReadPool::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [this] { return !free_.empty() || all_.size() + opening_ < limit_; });
  if (!free_.empty()) {
    Connection* connection = free_.back();
    free_.pop_back();
    return connection;
  }
  ++opening_;
  lock.unlock();
  auto opened = Connection::open(path_, Connection::Mode::kRead, cache_bytes_);
  lock.lock();
  --opening_;
  if (!opened) {
    returned_.notify_one();
    return opened.error();
  }
  all_.push_back(std::move(*opened));
  return all_.back().get();
}

void ReadPool::give_back(Connection* connection) {
  {
    std::lock_guard lock(mutex_);
    free_.push_back(connection);
  }
  returned_.notify_one();
}

}  // namespace rsyncfs
