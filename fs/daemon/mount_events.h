// SPDX-License-Identifier: GPL-3.0-or-later
// What the Syncer tells, divided between the Notifier, who tells the kernel, and the daemon.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fs/fuse/notifier.h"
#include "sync/engine/syncer.h"

namespace rsyncfs {

class MountEvents final : public SyncerEvents {
 public:
  // `read_only` is called on the loop thread when the source has turned out to refuse every change.
  MountEvents(Notifier& notifier, std::function<void()> read_only)
      : notifier_(notifier), read_only_(std::move(read_only)) {}

  // The source's own word; "" if it takes changes as far as is known. Any thread.
  std::string read_only_reason() const {
    const std::lock_guard lock(mutex_);
    return reason_;
  }

  // Loop thread: who else hears of changes.
  void watch_changes(std::function<void(const std::vector<NameChange>&)> watch) { watch_ = std::move(watch); }
  void on_changes(std::vector<NameChange> changes) override {
    if (watch_) watch_(changes);
    notifier_.on_changes(std::move(changes));
  }
  void on_content_changed(NodeId node) override { notifier_.on_content_changed(node); }
  void on_growth(NodeId node, UniqueFunction<void()> told) override {
    notifier_.on_growth(node, std::move(told));
  }
  bool is_in_use(NodeId node) override { return notifier_.is_in_use(node); }
  void on_read_only(const std::string& reason) override {
    {
      const std::lock_guard lock(mutex_);
      reason_ = reason.empty() ? "it gives no reason" : reason;
    }
    read_only_();
  }

 private:
  Notifier& notifier_;
  std::function<void()> read_only_;
  std::function<void(const std::vector<NameChange>&)> watch_;
  mutable std::mutex mutex_;  // guards reason_
  std::string reason_;
};

}  // namespace rsyncfs
