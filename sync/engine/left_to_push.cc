// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/left_to_push.h"

#include <chrono>
#include <unordered_map>
#include <vector>

namespace rsyncfs {

namespace {

constexpr size_t kPage = 1'024;
constexpr int kMaxDepth = 4'096;

int64_t unix_ms_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

class Search {
 public:
  Search(const Replica& replica, const LocalOnly& local_only, std::optional<NodeId> below, int64_t asked_ms)
      : replica_(replica),
        pending_(replica.pending()),
        local_only_(local_only),
        below_(below),
        asked_ms_(asked_ms) {}

  Result<std::optional<std::string>> run() {
    auto left = look_at<PendingName>(
        [this](size_t skip) { return pending_.names(skip, kPage); },
        [this](const PendingName& name) {
          return (is_below(name.parent) || name.local == below_) && !local_only_.has(name);
        },
        [this](const PendingName& name) { return path_at(name.parent, name.name); });
    if (!left || *left) return left;
    return look_at<PendingNode>(
        [this](size_t skip) { return pending_.nodes(skip, kPage); },
        [this](const PendingNode& node) { return is_below(node.local.id) && !local_only_.has(node.local); },
        [this](const PendingNode& node) { return shown_path_of(node.local.id); });
  }

 private:
  // Both kinds come with the oldest first.
  template <class Row, class Read, class Concerns, class Path>
  Result<std::optional<std::string>> look_at(const Read& read, const Concerns& concerns, const Path& path) {
    for (size_t skip = 0;; skip += kPage) {
      const Result<std::vector<Row>> rows = read(skip);
      if (!rows) return rows.error();
      const int64_t now_ms = unix_ms_now();
      for (const Row& row : *rows) {
        // What is later than now was changed before somebody set the clock back.
        if (row.since_ms > asked_ms_ && row.since_ms <= now_ms) continue;
        if (concerns(row)) return std::optional<std::string>(path(row));
      }
      if (rows->size() < kPage) return std::optional<std::string>();
    }
  }

  // As users see the tree.
  bool is_below(NodeId node) {
    if (!below_ || *below_ == kRootNode) return true;
    std::vector<NodeId> way;
    bool found = false;
    for (int depth = 0; depth < kMaxDepth && node != kRootNode && node != 0; ++depth) {
      const auto known = known_.find(node);
      found = node == *below_ || (known != known_.end() && known->second);
      if (found || known != known_.end()) break;
      way.push_back(node);
      const auto names = pending_.local_names_of(node, 1);
      node = names && !names->empty() ? names->front().parent : 0;
    }
    for (const NodeId passed : way) known_[passed] = found;
    return found;
  }

  std::string path_of(NodeId node) const {
    const auto path = replica_.path_of(node);
    return path ? *path : std::string();
  }

  std::string shown_path_of(NodeId node) const { return node == kRootNode ? "." : path_of(node); }

  std::string path_at(NodeId parent, const std::string& name) const {
    const std::string directory = path_of(parent);
    return directory.empty() ? name : directory + "/" + name;
  }

  const Replica& replica_;
  const PendingChanges& pending_;
  const LocalOnly& local_only_;
  const std::optional<NodeId> below_;
  const int64_t asked_ms_;
  std::unordered_map<NodeId, bool> known_;  // whether it lies below
};

}  // namespace

Result<std::optional<std::string>> find_left(const Replica& replica, const LocalOnly& local_only,
                                             std::optional<NodeId> below, int64_t asked_ms) {
  return Search(replica, local_only, below, asked_ms).run();
}

}  // namespace rsyncfs
