// SPDX-License-Identifier: GPL-3.0-or-later
// A fixed number of read connections, lent to one caller at a time. Any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/database.h"

namespace rsyncfs {

class ReadPool {
 public:
  class Lease {
   public:
    Lease(ReadPool& pool, Connection* connection) : pool_(pool), connection_(connection) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.give_back(connection_); }
    Connection& operator*() const { return *connection_; }

   private:
    ReadPool& pool_;
    Connection* connection_;
  };

  // Opened one after the other on demand, at most `limit`.
  ReadPool(std::string path, int limit, size_t cache_bytes)
      : path_(std::move(path)),
        limit_(static_cast<size_t>(limit < 1 ? 1 : limit)),
        cache_bytes_(cache_bytes) {}

  // Waits while all are lent. A holder must not take a second one: all could wait for all.
  Result<Connection*> take();
  void give_back(Connection* connection);

 private:
  const std::string path_;
  const size_t limit_;
  const size_t cache_bytes_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> all_;  // guarded by mutex_
  std::vector<Connection*> free_;  // guarded by mutex_; the last used, whose cache is warm, is at the back
  size_t opening_ = 0;             // guarded by mutex_
};

}  // namespace rsyncfs
