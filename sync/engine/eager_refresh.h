// SPDX-License-Identifier: GPL-3.0-or-later
// Has files that are in use brought up to date as soon as a list shows a newer version; others wait until
// they are read. Stands before those who hear of changes.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sync/engine/syncer.h"

namespace rsyncfs {

// Loop thread, but for is_in_use().
class EagerRefresh final : public SyncerEvents {
 public:
  using Hydrate = std::function<void(NodeId, Done<void>)>;
  EagerRefresh(SyncerEvents& others, Replica& replica, Hydrate hydrate)
      : others_(others), replica_(replica), hydrate_(std::move(hydrate)) {}

  void note_read(NodeId node, Clock::time_point now);
  void stop() { stopped_ = true; }

  void on_changes(std::vector<NameChange> changes) override;
  void on_content_changed(NodeId node) override { others_.on_content_changed(node); }
  void on_growth(NodeId node, UniqueFunction<void()> told) override {
    others_.on_growth(node, std::move(told));
  }
  bool is_in_use(NodeId node) override { return others_.is_in_use(node); }
  void on_read_only(const std::string& reason) override { others_.on_read_only(reason); }

 private:
  bool is_hot(NodeId node, Clock::time_point now);
  // Kept here always, whoever reads it: nothing is, so far.
  static bool is_pinned(NodeId /*node*/) { return false; }
  void next();

  SyncerEvents& others_;
  Replica& replica_;
  Hydrate hydrate_;
  std::unordered_map<NodeId, Clock::time_point> reads_;
  std::deque<NodeId> queue_;
  size_t under_way_ = 0;
  bool stopped_ = false;
};

}  // namespace rsyncfs
