// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_version.h"

#include "sync/replica/base_rows.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kSetSize{"UPDATE nodes SET size=? WHERE id=? AND size<>?"};
constexpr Sql kSetBaseSize{"UPDATE base_nodes SET size=? WHERE node=? AND size<>?"};
constexpr Sql kHasLayers{"SELECT 1 FROM layers WHERE node=? LIMIT 1"};

Result<void> set_size(Transaction& transaction, const Sql& sql, NodeId node, uint64_t size) {
  Query update(transaction.db(), sql);
  update.unsigned_integer(size).unsigned_integer(node).unsigned_integer(size);
  return update.run();
}

}  // namespace

Result<std::optional<FileVersion>> content_version(Connection& db, NodeId id) {
  using Found = std::optional<FileVersion>;
  auto node = find_node(db, id);
  if (!node) return node.error();
  if (!node->has_value()) return Found();
  if ((*node)->differences == 0) return Found((*node)->version());
  auto base = find_base_node(db, id);
  if (!base) return base.error();
  if (!base->has_value() || !(*base)->present || (*base)->foreign) return Found();
  const NodeAttributes& attr = (*base)->attr;
  return Found(FileVersion{attr.size, attr.mtime_s, attr.mtime_ns});
}

Result<void> set_content_size(Transaction& transaction, NodeId node, uint64_t size) {
  if (auto done = set_size(transaction, kSetBaseSize, node, size); !done) return done;
  Query layers(transaction.db(), kHasLayers);
  layers.unsigned_integer(node);
  auto row = layers.step();
  if (!row) return row.error();
  // With layers the size is what users made of it.
  return *row ? Result<void>() : set_size(transaction, kSetSize, node, size);
}

}  // namespace rsyncfs
