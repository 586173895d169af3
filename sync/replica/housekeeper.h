// SPDX-License-Identifier: GPL-3.0-or-later
// One thread for work that nobody should wait for: moving the database's log, removing files.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace rsyncfs {

class Housekeeper {
 public:
  // `clean` runs on the thread when asked for by log_grew().
  explicit Housekeeper(std::function<void()> clean);
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;
  ~Housekeeper() { finish(); }
  // Does what was posted, and ends the thread.
  void finish();

  // Any thread. False, and not taken, when too much is waiting or the thread has ended.
  bool post(std::function<void()> task);
  void log_grew(int pages);

 private:
  void run();

  const std::function<void()> clean_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  bool clean_wanted_ = false;                // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  bool ended_ = false;                       // guarded by mutex_
  std::thread thread_;
};

}  // namespace rsyncfs
