// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/xattr_sets.h"

#include "io/base/xxh.h"
#include "sync/replica/varint.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kAbbreviated = 1;

constexpr Sql kFind{"SELECT id, items FROM xattr_sets WHERE hash=?"};
constexpr Sql kInsert{"INSERT INTO xattr_sets(hash, uses, items) VALUES(?, 0, ?)"};
constexpr Sql kRead{"SELECT items FROM xattr_sets WHERE id=?"};
constexpr Sql kAddUses{"UPDATE xattr_sets SET uses=uses+? WHERE id=?"};
constexpr Sql kDropUnused{"DELETE FROM xattr_sets WHERE id=? AND uses<=0"};

// 0 when it is not stored.
Result<uint64_t> find(Connection& db, int64_t hash, std::string_view items) {
  Query query(db, kFind);
  query.integer(hash);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return uint64_t{0};
    if (query.blob_at(1) == items) return query.unsigned_at(0);
  }
}

}  // namespace

std::string encode_xattrs(const StoredXattrs& xattrs) {
  std::string out;
  for (const StoredXattr& xattr : xattrs) {
    append_varint(out, xattr.abbreviated ? kAbbreviated : 0);
    append_varint(out, xattr.name.size());
    out += xattr.name;
    append_varint(out, xattr.size);
    append_varint(out, xattr.value.size());
    out += xattr.value;
  }
  return out;
}

Result<StoredXattrs> decode_xattrs(std::string_view items) {
  const Error damaged(Errc::kCorrupt, "a stored set of extended attributes is damaged");
  StoredXattrs out;
  while (!items.empty()) {
    StoredXattr xattr;
    const auto flags = take_varint(items);
    if (!flags || *flags > kAbbreviated) return damaged;
    xattr.abbreviated = *flags == kAbbreviated;
    const auto name = take_bytes(items);
    if (!name) return damaged;
    const auto size = take_varint(items);
    if (!size) return damaged;
    const auto value = take_bytes(items);
    if (!value) return damaged;
    xattr.name = *name;
    xattr.size = *size;
    xattr.value = *value;
    out.push_back(std::move(xattr));
  }
  return out;
}

Result<StoredXattrs> read_xattr_set(Connection& db, uint64_t set) {
  if (set == 0) return StoredXattrs();
  Query query(db, kRead);
  query.unsigned_integer(set);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return Error(Errc::kCorrupt, "a set of extended attributes is missing in the store");
  return decode_xattrs(query.blob_at(0));
}

Result<uint64_t> XattrSets::intern(Connection& db, const StoredXattrs* xattrs) {
  if (xattrs == nullptr || xattrs->empty()) return uint64_t{0};
  std::string items = encode_xattrs(*xattrs);
  if (const auto known = remembered_.find(items); known != remembered_.end()) return known->second;
  const auto hash = static_cast<int64_t>(xxh3_64(std::as_bytes(std::span(items))));
  auto set = find(db, hash, items);
  if (!set) return set;
  if (*set == 0) {
    Query insert(db, kInsert);
    insert.integer(hash).blob(items);
    if (auto done = insert.run(); !done) return done.error();
    set = static_cast<uint64_t>(db.last_insert_id());
  }
  if (remembered_bytes_ + items.size() > kMaxRememberedBytes) forget();
  remembered_bytes_ += items.size();
  remembered_.emplace(std::move(items), *set);
  return set;
}

Result<void> XattrSets::add_uses(Connection& db, uint64_t set, int64_t by) {
  Query update(db, kAddUses);
  update.integer(by).unsigned_integer(set);
  if (auto done = update.run(); !done) return done;
  if (by >= 0) return {};
  Query drop(db, kDropUnused);
  drop.unsigned_integer(set);
  if (auto done = drop.run(); !done) return done;
  if (db.changes() > 0) forget();
  return {};
}

void XattrSets::forget() {
  remembered_.clear();
  remembered_bytes_ = 0;
}

}  // namespace rsyncfs
