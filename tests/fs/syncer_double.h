// SPDX-License-Identifier: GPL-3.0-or-later
// Stands where the network is: requests wait until the test answers them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "sync/engine/syncer.h"

namespace rsyncfs::testing {

// Completions come from its own thread, as the real one's come from the loop. Any thread.
class SyncerDouble final : public Syncer {
 public:
  SyncerDouble();
  ~SyncerDouble() override;  // cancels what still waits

  // Directories whose names may not be answered until listed; all others may.
  void unlist(NodeId directory);
  // Runs on the double's thread for each list_directory(); after ok the directory counts as listed. Without
  // one, requests wait.
  void on_list(std::function<Result<void>(NodeId)> hook) { set(on_list_, std::move(hook)); }
  // The same for reads: the whole content of the file. nullopt, or none set: the read waits.
  void on_read(std::function<std::optional<std::string>(NodeId)> hook) { set(on_read_, std::move(hook)); }
  void on_fetch_xattrs(std::function<Result<void>(NodeId)> hook) { set(on_fetch_xattrs_, std::move(hook)); }

  // Not 1: a broken Syncer, which calls the `done` of a read that often.
  std::atomic<int> answers_per_read{1};
  // False: as before the first list of the whole tree has come.
  std::atomic<bool> settled{true};

  // Ends everything that waits with this error.
  void fail_all(Errc code);
  size_t waiting() const;
  bool wait_for_waiting(size_t count, std::chrono::milliseconds limit) const;
  uint64_t reads() const { return reads_.load(); }
  uint64_t lists() const { return lists_.load(); }
  uint64_t cancels() const { return cancels_.load(); }
  // How often the directory was said to be used.
  uint64_t uses(NodeId directory) const {
    const std::lock_guard lock(mutex_);
    const auto found = uses_.find(directory);
    return found == uses_.end() ? 0 : found->second;
  }

  void start(Done<void> done) override;
  void shut_down(Task done) override;
  bool may_answer_listing(const Node& directory) const override;
  bool names_are_settled() const override { return settled.load(); }
  RequestId list_directory(NodeId directory, Done<void> done) override;
  RequestId read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) override;
  RequestId fetch_xattrs(NodeId node, Done<void> done) override;
  RequestId hydrate(NodeId file, Done<void> done) override;
  RequestId compare(NodeId file, Done<Comparison> done) override;
  void cancel(RequestId request) override;
  void note_use(NodeId directory) override {
    const std::lock_guard lock(mutex_);
    ++uses_[directory];
  }
  RequestId refresh(NodeId directory, Done<void> done) override {
    return list_directory(directory, std::move(done));
  }
  void note_change(NodeId) override {}
  RequestId flush(std::optional<NodeId> below, Done<void> done) override;
  void resume(Done<void> done) override;
  void status(UniqueFunction<void(SyncerStatus)> done) override;
  const IdMap& ids() const override { return ids_; }

 private:
  template <class Hook>
  void set(Hook& hook, Hook value) {
    const std::lock_guard lock(mutex_);
    hook = std::move(value);
  }
  template <class Hook>
  Hook get(const Hook& hook) const {
    const std::lock_guard lock(mutex_);
    return hook;
  }
  void post(Task task);
  void run();
  RequestId hold(UniqueFunction<void(Error)> fail);
  void fail(RequestId request, Error error);

  IdMap ids_{false};
  std::atomic<uint64_t> reads_{0};
  std::atomic<uint64_t> lists_{0};
  std::atomic<uint64_t> cancels_{0};
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::function<Result<void>(NodeId)> on_list_;
  std::function<std::optional<std::string>(NodeId)> on_read_;
  std::function<Result<void>(NodeId)> on_fetch_xattrs_;
  RequestId next_ = 1;
  std::set<NodeId> unlisted_;
  std::map<NodeId, uint64_t> uses_;
  std::map<RequestId, UniqueFunction<void(Error)>> waiting_;
  std::deque<Task> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rsyncfs::testing
