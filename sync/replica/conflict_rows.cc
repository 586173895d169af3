// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/conflict_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kPut{"INSERT INTO conflicts(at_s, path, copy_path, what) VALUES(?,?,?,?)"};
constexpr Sql kTrim{
    "DELETE FROM conflicts WHERE id<=(SELECT id FROM conflicts ORDER BY id DESC LIMIT 1 OFFSET ?)"};
constexpr Sql kRead{"SELECT id, at_s, path, copy_path, what FROM conflicts ORDER BY id DESC LIMIT ?"};
constexpr Sql kErase{"DELETE FROM conflicts WHERE id=?"};

}  // namespace

Result<void> put_conflict(Transaction& transaction, const ConflictRecord& record) {
  Query put(transaction.db(), kPut);
  put.integer(record.at_s).blob(record.path).blob(record.copy_path).blob(record.what);
  if (auto done = put.run(); !done) return done;
  Query trim(transaction.db(), kTrim);
  trim.unsigned_integer(kMaxConflictRecords);
  return trim.run();
}

Result<std::vector<ConflictRecord>> read_conflicts(Connection& db, size_t limit) {
  std::vector<ConflictRecord> out;
  Query query(db, kRead);
  query.unsigned_integer(limit);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    ConflictRecord& record = out.emplace_back();
    record.id = query.unsigned_at(0);
    record.at_s = query.integer_at(1);
    record.path = query.blob_at(2);
    record.copy_path = query.blob_at(3);
    record.what = query.blob_at(4);
  }
}

Result<void> erase_conflicts(Transaction& transaction, const std::vector<uint64_t>& ids) {
  for (const uint64_t id : ids) {
    Query erase(transaction.db(), kErase);
    erase.unsigned_integer(id);
    if (auto done = erase.run(); !done) return done;
  }
  return {};
}

}  // namespace rsyncfs
