// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_version.h"

#include "sync/replica/base_rows.h"
#include "sync/replica/content_rows.h"
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

Result<bool> is_left_without_bytes(Connection& db, NodeId node) {
  auto version = content_version(db, node);
  if (!version) return version.error();
  if (version->has_value()) return false;
  auto there = find_node(db, node);
  if (!there) return there.error();
  if (!there->has_value()) return false;
  auto content = find_content(db, node);
  return content ? Result<bool>(!content->has_value() || !(*content)->complete) : content.error();
}

Result<void> set_content_size(Transaction& transaction, NodeId node, uint64_t size) {
  if (auto done = set_size(transaction, kSetBaseSize, node, size); !done) return done;
  return set_unwritten_size(transaction, node, size);
}

Result<void> set_unwritten_size(Transaction& transaction, NodeId node, uint64_t size) {
  Query layers(transaction.db(), kHasLayers);
  layers.unsigned_integer(node);
  auto row = layers.step();
  if (!row) return row.error();
  return *row ? Result<void>() : set_size(transaction, kSetSize, node, size);
}

}  // namespace rsyncfs
