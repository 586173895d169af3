// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/threads/thread_file_batch.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "io/executor.h"
#include "io/file_calls.h"

namespace rsyncfs {

namespace {

// The caller is one of those who do them, so a batch gets on even when all threads are busy with others.
constexpr unsigned kThreads = 8;

// One call. Shared with the threads, of which some may come when it is over.
template <class Item>
class Call {
 public:
  using Perform = void (*)(Item&);
  Call(std::span<Item> items, Perform perform) : items_(items), perform_(perform) {}

  // Takes one item after the other, until none is left.
  void help() {
    size_t done = 0;
    for (size_t i = next_.fetch_add(1); i < items_.size(); i = next_.fetch_add(1)) {
      perform_(items_[i]);
      ++done;
    }
    if (done == 0) return;
    const std::lock_guard lock(mutex_);
    done_ += done;
    if (done_ == items_.size()) all_done_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == items_.size(); });
  }

 private:
  const std::span<Item> items_;  // the caller's: touched only while some of them are not done
  const Perform perform_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
  size_t done_ = 0;  // guarded by mutex_
};

class ThreadFileBatch final : public FileBatch {
 public:
  std::string_view engine() const override { return "threads"; }

 protected:
  void read_many(std::span<FileRead> reads) override { run(reads, read_now); }
  void sync_many(std::span<FileSync> syncs) override { run(syncs, sync_now); }
  void load_many(std::span<FileLoad> loads) override { run(loads, load_now); }
  // Most are of one directory, which has one changed at a time.
  void remove_many(std::span<FileRemoval> removals) override {
    for (FileRemoval& removal : removals) remove_now(removal);
  }

 private:
  template <class Item>
  void run(std::span<Item> items, typename Call<Item>::Perform perform) {
    const auto call = std::make_shared<Call<Item>>(items, perform);
    const size_t helpers = std::min<size_t>(kThreads, items.size() - 1);
    for (size_t i = 0; i < helpers; ++i) executor().submit([call] { call->help(); });
    call->help();
    call->wait();
  }
  Executor& executor() {
    const std::lock_guard lock(mutex_);
    if (!executor_) executor_.emplace(kThreads);
    return *executor_;
  }

  std::mutex mutex_;
  std::optional<Executor> executor_;  // guarded by mutex_; made by the first call
};

}  // namespace

std::unique_ptr<FileBatch> make_thread_file_batch() {
  return std::make_unique<ThreadFileBatch>();
}

}  // namespace rsyncfs
