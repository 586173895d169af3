// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/id_names.h"

namespace rsyncfs {
namespace {

constexpr int kUser = 0;
constexpr int kGroup = 1;

constexpr Sql kRead{"SELECT kind, id, name FROM id_names"};
constexpr Sql kPut{"INSERT OR REPLACE INTO id_names(kind, id, name) VALUES(?, ?, ?)"};

Result<void> merge(Transaction& transaction, int kind, const IdNames& known, const IdNames& names) {
  for (const auto& [id, name] : names) {
    const auto same = known.find(id);
    if (same != known.end() && same->second == name) continue;
    Query put(transaction.db(), kPut);
    put.integer(kind).integer(id).blob(name);
    if (auto done = put.run(); !done) return done;
  }
  return {};
}

}  // namespace

Result<std::pair<IdNames, IdNames>> read_id_names(Connection& db) {
  std::pair<IdNames, IdNames> out;
  Query query(db, kRead);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    IdNames& names = query.integer_at(0) == kUser ? out.first : out.second;
    names[static_cast<uint32_t>(query.integer_at(1))] = query.blob_at(2);
  }
}

Result<void> merge_id_names(Transaction& transaction, const IdNames& users, const IdNames& groups) {
  auto known = read_id_names(transaction.db());
  if (!known) return known.error();
  if (auto done = merge(transaction, kUser, known->first, users); !done) return done;
  return merge(transaction, kGroup, known->second, groups);
}

}  // namespace rsyncfs
