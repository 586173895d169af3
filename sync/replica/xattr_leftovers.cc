// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/xattr_leftovers.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sync/replica/xattr_sets.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kLeast = 256;         // values that are worth it
constexpr uint64_t kMaxAtOnce = 65'536;  // that are looked at
constexpr size_t kMaxErased = 128;       // of one transaction

constexpr Sql kBegin{"BEGIN"};
constexpr Sql kEnd{"COMMIT"};
constexpr Sql kNewest{"SELECT coalesce(max(rowid), 0) FROM xattr_values"};
constexpr Sql kSome{"SELECT rowid, size, digest FROM xattr_values WHERE rowid>? ORDER BY rowid LIMIT ?"};
constexpr Sql kSets{"SELECT items FROM xattr_sets"};
constexpr Sql kErase{"DELETE FROM xattr_values WHERE rowid=?"};

using Key = std::pair<uint64_t, std::string>;  // size and digest
using Rows = std::map<Key, uint64_t>;

Result<Rows> some_values(Connection& db, uint64_t after, uint64_t& last) {
  Rows out;
  Query query(db, kSome);
  query.unsigned_integer(after).unsigned_integer(kMaxAtOnce);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    last = query.unsigned_at(0);
    out.emplace(Key{query.unsigned_at(1), query.blob_at(2)}, last);
  }
}

Result<void> take_out_those_in_sets(Connection& db, Rows& rows) {
  Query query(db, kSets);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return {};
    auto set = decode_xattrs(query.blob_at(0));
    if (!set) return set.error();
    for (StoredXattr& xattr : *set) {
      if (xattr.abbreviated) rows.erase(Key{xattr.size, std::move(xattr.value)});
    }
  }
}

Result<void> erase(Writer& writer, const std::vector<uint64_t>& rows, size_t begin, size_t end) {
  auto transaction = writer.begin();
  if (!transaction) return transaction.error();
  for (size_t i = begin; i < end; ++i) {
    Query query((*transaction)->db(), kErase);
    query.unsigned_integer(rows[i]);
    if (auto done = query.run(); !done) return done;
  }
  return (*transaction)->commit();
}

}  // namespace

Result<bool> XattrLeftovers::is_due(Connection& db) {
  Query query(db, kNewest);
  if (auto row = query.step(); !row) return row.error();
  const uint64_t newest = query.unsigned_at(0);
  if (next_ > 0) return true;
  if (newest < newest_ + std::max(kLeast, live_)) return false;
  live_ = 0;
  return true;
}

Result<void> XattrLeftovers::sweep(Connection& db) {
  const auto due = is_due(db);
  if (!due) return due.error();
  if (!*due) return {};
  // Sets and values of one moment.
  if (auto done = Query(db, kBegin).run(); !done) return done;
  uint64_t last = next_;
  auto rows = some_values(db, next_, last);
  const uint64_t met = rows ? rows->size() : 0;
  Result<void> looked = rows ? take_out_those_in_sets(db, *rows) : rows.error();
  static_cast<void>(Query(db, kEnd).run());
  if (!looked) return looked;
  std::vector<uint64_t> doomed;
  for (const auto& [key, row] : *rows) doomed.push_back(row);
  // What is stored again meanwhile has a new row, above all others. In this order, rows that went are not
  // given again before the end.
  std::sort(doomed.begin(), doomed.end());
  for (size_t begin = 0; begin < doomed.size(); begin += kMaxErased) {
    if (auto done = erase(writer_, doomed, begin, std::min(begin + kMaxErased, doomed.size())); !done)
      return done;
  }
  live_ += met - doomed.size();
  next_ = met == kMaxAtOnce ? last : 0;
  if (next_ == 0) newest_ = last;
  return {};
}

}  // namespace rsyncfs
