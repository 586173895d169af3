// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_rows.h"

#include "sync/replica/slabs.h"

namespace rsyncfs {
namespace {

constexpr Sql kFind{"SELECT slab, position, size, present, extents FROM contents WHERE node=?"};
constexpr Sql kPut{
    "INSERT OR REPLACE INTO contents(node, slab, position, size, present, epoch, used, extents, digest_name, "
    "digest, sums)"
    " VALUES(?,?,?,?,?,?,?,?,?,?,?)"};
constexpr Sql kFindSums{"SELECT sums FROM contents WHERE node=? AND sums IS NOT NULL"};
constexpr Sql kFindDigest{"SELECT digest_name, digest FROM contents WHERE node=? AND digest IS NOT NULL"};
constexpr Sql kPutSums{"UPDATE contents SET sums=? WHERE node=?"};
constexpr Sql kErase{"DELETE FROM contents WHERE node=?"};

bool plausible(const ContentRow& row) {
  if (row.place.slab != 0) {
    return row.complete && row.place.position <= kSlabBytes &&
           row.place.size <= kSlabBytes - row.place.position;
  }
  if (row.place.position == 0 && row.place.size != 0) return false;
  return row.extents.ranges().empty() || row.extents.ranges().back().end <= row.place.size;
}

// Adds (sign 1) or takes away (sign -1) what the row stands for.
void account(Transaction& transaction, const ContentRow& row, int64_t sign) {
  Totals& totals = transaction.totals();
  totals.cached_bytes += sign * static_cast<int64_t>(row.present);
  (row.complete ? totals.cached_files : totals.partial_files) += sign;
  if (row.place.slab != 0) {
    transaction.use_slab(row.place.slab, sign, sign * static_cast<int64_t>(row.place.size));
  }
}

}  // namespace

ExtentSet ContentRow::whole_or_part() const {
  if (!complete) return extents;
  ExtentSet whole;
  whole.add(0, place.size);
  return whole;
}

Result<std::optional<ContentRow>> find_content(Connection& db, NodeId node) {
  Query query(db, kFind);
  query.unsigned_integer(node);
  auto found = query.step();
  if (!found) return found.error();
  if (!*found) return std::optional<ContentRow>();
  ContentRow row;
  row.node = node;
  row.place = BytesPlace{query.unsigned_at(0), query.unsigned_at(1), query.unsigned_at(2)};
  row.present = query.unsigned_at(3);
  row.complete = query.is_null(4);
  if (!row.complete) {
    auto extents = ExtentSet::parse(query.blob_at(4));
    row.sound = extents.has_value();
    if (extents) row.extents = std::move(*extents);
  }
  row.sound = row.sound && plausible(row);
  return std::optional<ContentRow>(std::move(row));
}

Result<ContentSums> find_sums(Connection& db, const ContentRow& row) {
  Query query(db, kFindSums);
  query.unsigned_integer(row.node);
  auto found = query.step();
  if (!found) return found.error();
  std::optional<ContentSums> sums;
  if (*found) sums = ContentSums::parse(row.place.size, query.blob_at(0));
  return sums ? std::move(*sums) : ContentSums(row.place.size);
}

Result<void> read_digest(Connection& db, ContentRow& row) {
  Query query(db, kFindDigest);
  query.unsigned_integer(row.node);
  auto found = query.step();
  if (!found) return found.error();
  if (!*found) return {};
  row.digest_name = query.blob_at(0);
  row.digest = query.blob_at(1);
  return {};
}

Result<void> put_sums(Transaction& transaction, NodeId node, const ContentSums& sums) {
  const std::string bytes = sums.serialize();
  Query put(transaction.db(), kPutSums);
  bytes.empty() ? put.null() : put.blob(bytes);
  put.unsigned_integer(node);
  transaction.aftermath().contents_changed.push_back(node);
  return put.run();
}

namespace {

// `stays`: the bytes at this place are not freed.
Result<void> erase(Transaction& transaction, NodeId node, const BytesPlace* stays) {
  auto old = find_content(transaction.db(), node);
  if (!old) return old.error();
  if (!old->has_value()) return {};
  Query query(transaction.db(), kErase);
  query.unsigned_integer(node);
  if (auto done = query.run(); !done) return done;
  account(transaction, **old, -1);
  Aftermath& aftermath = transaction.aftermath();
  aftermath.contents_changed.push_back(node);
  const BytesPlace& place = (*old)->place;
  // A row that makes no sense may name the bytes of others.
  const bool has_bytes = (*old)->sound && (place.slab != 0 || place.position != 0);
  if (has_bytes && (stays == nullptr || !stays->same_place(place))) aftermath.freed.push_back(place);
  return {};
}

}  // namespace

Result<void> put_content(Transaction& transaction, const ContentRow& row) {
  RSYNCFS_CHECK(plausible(row));
  if (auto done = erase(transaction, row.node, &row.place); !done) return done;
  const std::string extents = row.extents.serialize();
  std::string sums;
  if (row.sums.size() == row.place.size) {
    ContentSums kept = row.sums;
    if (!row.complete) kept.keep_only(row.extents);
    sums = kept.serialize();
  }
  Query put(transaction.db(), kPut);
  put.unsigned_integer(row.node).unsigned_integer(row.place.slab).unsigned_integer(row.place.position);
  put.unsigned_integer(row.place.size).unsigned_integer(row.present);
  put.unsigned_integer(transaction.writer().epoch());
  put.unsigned_integer(transaction.writer().content_uses().next());
  if (row.complete) {
    put.null().blob(row.digest_name).blob(row.digest);
  } else {
    put.blob(extents).null().null();
  }
  sums.empty() ? put.null() : put.blob(sums);
  if (auto done = put.run(); !done) return done;
  account(transaction, row, 1);
  transaction.aftermath().written.push_back(row.place);
  transaction.aftermath().contents_recorded.push_back(row.node);
  return {};
}

Result<void> erase_content(Transaction& transaction, NodeId node) {
  return erase(transaction, node, nullptr);
}

}  // namespace rsyncfs
