// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/new_file_rows.h"

#include "sync/replica/base_rows.h"
#include "sync/replica/layer_rows.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/schema.h"

namespace rsyncfs {
namespace {

constexpr const char* kLastEntry = "journal_entry";

constexpr Sql kTouch{
    "UPDATE nodes SET mtime_s=?, mtime_ns=?, ctime_s=?1, ctime_ns=?2, nlink=nlink+? WHERE id=?"};

// As a first write would have it: one layer over nothing.
Result<void> record_bytes(Transaction& transaction, const NewFile& file) {
  LayerRow row;
  row.node = file.node.id;
  row.block_file = file.block_file;
  LayerExtents::Plan plan;
  plan.put.push_back({0, file.bytes.size(), transaction.writer().epoch()});
  plan.bytes = static_cast<int64_t>(file.bytes.size());
  if (auto done = write_extents(transaction, row.block_file, plan); !done) return done;
  transaction.aftermath().written.push_back(BytesPlace{0, row.block_file, 0});
  return put_layer(transaction, row);
}

Result<void> record_file(Transaction& transaction, const NewFile& file) {
  const Node& node = file.node;
  transaction.made_at(file.made_ms);
  if (auto id = insert_node(transaction, node, file.link_target); !id) return id.error();
  if (auto done = note_absent(transaction, node.id); !done) return done;
  if (auto done = put_name(transaction, file.parent, file.name, node.id); !done) return done;
  if (auto done = note_name(transaction, file.parent, file.name, 0, node.id); !done) return done;
  return file.bytes.empty() ? Result<void>() : record_bytes(transaction, file);
}

}  // namespace

Result<void> record_new_files(Transaction& transaction, const NewFileBatch& batch) {
  for (const auto& [id, file] : batch.files) {
    if (auto done = record_file(transaction, file); !done) return done;
  }
  for (const auto& [id, touch] : batch.touched) {
    Query update(transaction.db(), kTouch);
    update.integer(touch.at.s).integer(touch.at.ns).integer(touch.subdirectories).unsigned_integer(id);
    if (auto done = update.run(); !done) return done;
  }
  return write_number(transaction.db(), kLastEntry, batch.last_entry);
}

Result<uint64_t> last_recorded_entry(Connection& db) {
  auto number = read_number(db, kLastEntry);
  if (!number) return number.error();
  return number->value_or(0);
}

}  // namespace rsyncfs
