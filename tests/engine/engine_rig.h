// SPDX-License-Identifier: GPL-3.0-or-later
// A Syncer on a real loop with a real Replica, for tests against a real server; its calls made to wait.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "io/loop.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {

class EngineRig final : public SyncerEvents {
 public:
  // Both engines of the loop are used in turn: RSYNCFS_TEST_IO=uring|threads|auto picks one.
  EngineRig(const std::string& source, const std::string& store_directory, SyncerOptions options = {});
  ~EngineRig() override;
  EngineRig(const EngineRig&) = delete;
  EngineRig& operator=(const EngineRig&) = delete;

  Syncer& syncer() { return *syncer_; }
  Replica& replica() { return *replica_; }

  Result<void> start();
  // Walks `path` from the root, listing directories that may not be answered yet.
  Result<Node> find(const std::string& path);
  Result<void> list(NodeId directory);
  Result<void> refresh(NodeId directory);
  // Bytes as a reader gets them: from the Replica where they are there, through the Syncer otherwise.
  Result<std::string> read(NodeId node, uint64_t offset, uint32_t length);
  Result<std::string> read_all(const std::string& path);
  Result<void> hydrate(NodeId node);
  Result<void> fetch_xattrs(NodeId node);
  // Everything that is pending is pushed.
  Result<void> flush(std::optional<NodeId> below = std::nullopt);
  void resume();
  // Writes a whole file as a user does: made if it is missing, its old contents gone.
  Result<Node> write(const std::string& path, std::string_view contents);
  Result<Node> make_directory(const std::string& path);
  Result<void> rename(const std::string& from, const std::string& to);
  Result<void> remove(const std::string& path);
  SyncerStatus status();
  // Until the whole tree's list is in; false if it does not come.
  bool wait_for_tree();
  std::vector<NameChange> take_changes();
  // What on_read_only() was told; "" if it was not called.
  std::string read_only_reason();

  void on_changes(std::vector<NameChange> changes) override;
  void on_content_changed(NodeId node) override;
  void on_read_only(const std::string& reason) override;
  bool is_in_use(NodeId /*node*/) override { return in_use_; }
  // All files, or none.
  void set_in_use(bool in_use) { in_use_ = in_use; }

 private:
  template <class T, class Call>
  Result<T> wait(Call call);
  Result<std::pair<Node, std::string>> parent_of(const std::string& path);

  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Syncer> syncer_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<NameChange> changes_;
  std::string read_only_reason_;
  std::atomic<bool> in_use_{false};
};

}  // namespace rsyncfs
