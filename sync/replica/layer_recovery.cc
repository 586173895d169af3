// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/layer_recovery.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "io/base/log.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/layer_rows.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kUnsynced{
    "SELECT DISTINCT l.node FROM layers AS l JOIN layer_extents AS e ON e.block_file=l.block_file"
    " WHERE e.epoch>?"};

// The layers of one file, from the bottom.
class FileRecovery {
 public:
  FileRecovery(Transaction& transaction, NodeId node, uint64_t synced)
      : transaction_(transaction), node_(node), synced_(synced) {}

  Result<void> run() {
    auto rows = find_layers(transaction_.db(), node_);
    if (!rows) return rows.error();
    for (const LayerRow& row : *rows) {
      if (auto done = recover(row); !done) return done;
    }
    if (size_) {
      if (auto done = set_size(); !done) return done;
    }
    // Perhaps nothing differs any more.
    auto base = find_base_node(transaction_.db(), node_);
    if (!base) return base.error();
    return base->has_value() ? put_base_node(transaction_, **base) : Result<void>();
  }

 private:
  Result<void> recover(LayerRow row) {
    auto extents = read_extents(transaction_.db(), row.block_file);
    if (!extents) return extents.error();
    LayerExtents::Plan lost = lost_of(*extents);
    if (row.acknowledged && !lost.empty()) return drop_acknowledged(row);
    if (lost.empty() && !size_) return {};
    if (auto done = write_extents(transaction_, row.block_file, lost); !done) return done;
    extents->apply(lost);
    // What lies below may end earlier now.
    if (size_) row.base_limit = std::min(row.base_limit, *size_);
    size_ = extents->contiguous_end(row.base_limit);
    const auto cut = extents->plan_cut(*size_);
    if (auto done = write_extents(transaction_, row.block_file, cut); !done) return done;
    extents->apply(cut);
    if (extents->empty()) {
      // It may not even be there.
      free_layer_file(transaction_, row.block_file);
      row.block_file = 0;
    }
    if (row.number == kSealedLayer) row.size = *size_;
    return put_layer(transaction_, row);
  }

  LayerExtents::Plan lost_of(const LayerExtents& extents) const {
    LayerExtents::Plan plan;
    for (const auto& extent : extents.all()) {
      if (extent.epoch <= synced_) continue;
      plan.erase.push_back(extent.begin);
      plan.bytes -= static_cast<int64_t>(extent.end - extent.begin);
    }
    return plan;
  }

  // It was being written into the content: which is neither one nor the other now. The source has it.
  Result<void> drop_acknowledged(const LayerRow& row) {
    if (auto done = erase_content(transaction_, node_); !done) return done;
    if (auto done = erase_layer(transaction_, row); !done) return done;
    free_layer_file(transaction_, row.block_file);
    return {};
  }

  Result<void> set_size() {
    auto node = find_node(transaction_.db(), node_);
    if (!node) return node.error();
    if (!node->has_value() || (*node)->attr.size == *size_) return {};
    (*node)->attr.size = *size_;
    return update_node(transaction_, **node);
  }

  Transaction& transaction_;
  const NodeId node_;
  const uint64_t synced_;
  std::optional<uint64_t> size_;  // of the file, if it may be another than before
};

}  // namespace

Result<void> drop_unsynced_layers(Transaction& transaction, uint64_t synced) {
  std::vector<NodeId> nodes;
  {
    Query query(transaction.db(), kUnsynced);
    query.unsigned_integer(synced);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      nodes.push_back(query.unsigned_at(0));
    }
  }
  for (const NodeId node : nodes) {
    if (auto done = FileRecovery(transaction, node, synced).run(); !done) return done;
  }
  if (!nodes.empty()) {
    log_warn("local changes of " + std::to_string(nodes.size()) +
             " files that were not synced may not have reached the disk before it failed, and are lost");
  }
  return {};
}

}  // namespace rsyncfs
