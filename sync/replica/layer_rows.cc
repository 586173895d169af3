// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/layer_rows.h"

#include "sync/replica/content_rows.h"

namespace rsyncfs {
namespace {

#define RSYNCFS_LAYER_COLUMNS "node, layer, block_file, size, base_limit, digest_name, digest"

constexpr Sql kFind{"SELECT " RSYNCFS_LAYER_COLUMNS " FROM layers WHERE node=? ORDER BY layer"};
constexpr Sql kAcknowledged{"SELECT " RSYNCFS_LAYER_COLUMNS " FROM layers WHERE digest IS NOT NULL"};
constexpr Sql kNodes{"SELECT DISTINCT node FROM layers"};
constexpr Sql kPut{"INSERT OR REPLACE INTO layers(" RSYNCFS_LAYER_COLUMNS ") VALUES(?,?,?,?,?,?,?)"};
constexpr Sql kSeal{"UPDATE layers SET layer=0, size=? WHERE node=? AND layer=1"};
constexpr Sql kErase{"DELETE FROM layers WHERE node=? AND layer=?"};
constexpr Sql kExtents{"SELECT begins, ends, epoch FROM layer_extents WHERE block_file=? ORDER BY begins"};
constexpr Sql kExtentBytes{"SELECT coalesce(sum(ends-begins), 0) FROM layer_extents WHERE block_file=?"};
constexpr Sql kEraseExtent{"DELETE FROM layer_extents WHERE block_file=? AND begins=?"};
constexpr Sql kEraseExtentsFrom{"DELETE FROM layer_extents WHERE block_file=? AND begins>=?"};
constexpr Sql kPutExtent{
    "INSERT OR REPLACE INTO layer_extents(block_file, begins, ends, epoch) VALUES(?,?,?,?)"};

LayerRow layer_at(const Query& query) {
  LayerRow row;
  row.node = query.unsigned_at(0);
  row.number = query.integer_at(1) == 0 ? kSealedLayer : kOpenLayer;
  row.block_file = query.unsigned_at(2);
  row.size = query.unsigned_at(3);
  row.base_limit = query.unsigned_at(4);
  if (!query.is_null(6))
    row.acknowledged = FileDigest{std::string(query.blob_at(5)), std::string(query.blob_at(6))};
  return row;
}

Result<std::vector<LayerRow>> all_layers(Query& query) {
  std::vector<LayerRow> rows;
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return rows;
    rows.push_back(layer_at(query));
  }
}

}  // namespace

Result<std::vector<LayerRow>> find_layers(Connection& db, NodeId node) {
  Query query(db, kFind);
  query.unsigned_integer(node);
  return all_layers(query);
}

Result<std::vector<LayerRow>> acknowledged_layers(Connection& db) {
  Query query(db, kAcknowledged);
  return all_layers(query);
}

Result<std::vector<NodeId>> nodes_with_layers(Connection& db) {
  std::vector<NodeId> nodes;
  Query query(db, kNodes);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return nodes;
    nodes.push_back(query.unsigned_at(0));
  }
}

Result<void> put_layer(Transaction& transaction, const LayerRow& row) {
  Query put(transaction.db(), kPut);
  put.unsigned_integer(row.node).integer(row.number).unsigned_integer(row.block_file);
  put.unsigned_integer(row.size).unsigned_integer(row.base_limit);
  if (row.acknowledged) {
    put.blob(row.acknowledged->name).blob(row.acknowledged->bytes);
  } else {
    put.null().null();
  }
  transaction.aftermath().layers_made.push_back(row.node);
  return put.run();
}

Result<void> seal_layer(Transaction& transaction, NodeId node, uint64_t size) {
  Query seal(transaction.db(), kSeal);
  seal.unsigned_integer(size).unsigned_integer(node);
  return seal.run();
}

Result<void> erase_layer(Transaction& transaction, const LayerRow& row) {
  Query erase(transaction.db(), kErase);
  erase.unsigned_integer(row.node).integer(row.number);
  if (auto done = erase.run(); !done) return done;
  if (row.block_file == 0) return {};
  {
    Query count(transaction.db(), kExtentBytes);
    count.unsigned_integer(row.block_file);
    auto bytes = count.step();
    if (!bytes) return bytes.error();
    transaction.totals().pending_bytes -= count.integer_at(0);
  }
  Query extents(transaction.db(), kEraseExtentsFrom);
  extents.unsigned_integer(row.block_file).integer(0);
  return extents.run();
}

void free_layer_file(Transaction& transaction, uint64_t block_file) {
  if (block_file != 0) transaction.aftermath().freed.push_back(BytesPlace{0, block_file, 0});
}

Result<void> erase_layers(Transaction& transaction, NodeId node) {
  auto rows = find_layers(transaction.db(), node);
  if (!rows) return rows.error();
  for (const LayerRow& row : *rows) {
    if (auto done = erase_layer(transaction, row); !done) return done;
    free_layer_file(transaction, row.block_file);
    // It may be written into the content just now, which is of no version until that is done.
    if (row.acknowledged) {
      if (auto done = erase_content(transaction, node); !done) return done;
    }
  }
  if (!rows->empty()) transaction.aftermath().layers_dropped.push_back(node);
  return {};
}

Result<LayerExtents> read_extents(Connection& db, uint64_t block_file) {
  LayerExtents out;
  if (block_file == 0) return out;
  Query query(db, kExtents);
  query.unsigned_integer(block_file);
  uint64_t end = 0;
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    const LayerExtents::Extent extent{query.unsigned_at(0), query.unsigned_at(1), query.unsigned_at(2)};
    if (extent.begin < end || extent.end <= extent.begin)
      return Error(Errc::kCorrupt, "the ranges of a file with local changes make no sense");
    end = extent.end;
    out.insert(extent);
  }
}

Result<void> write_extents(Transaction& transaction, uint64_t block_file, const LayerExtents::Plan& plan) {
  if (plan.erase_from) {
    Query erase(transaction.db(), kEraseExtentsFrom);
    erase.unsigned_integer(block_file).unsigned_integer(*plan.erase_from);
    if (auto done = erase.run(); !done) return done;
  }
  for (const uint64_t begin : plan.erase) {
    Query erase(transaction.db(), kEraseExtent);
    erase.unsigned_integer(block_file).unsigned_integer(begin);
    if (auto done = erase.run(); !done) return done;
  }
  for (const LayerExtents::Extent& extent : plan.put) {
    Query put(transaction.db(), kPutExtent);
    put.unsigned_integer(block_file).unsigned_integer(extent.begin).unsigned_integer(extent.end);
    put.unsigned_integer(extent.epoch);
    if (auto done = put.run(); !done) return done;
  }
  transaction.totals().pending_bytes += plan.bytes;
  return {};
}

}  // namespace rsyncfs
