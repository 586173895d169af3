// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_repair.h"

#include <algorithm>
#include <set>
#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"
#include "sync/replica/block_guard.h"
#include "sync/replica/content_store.h"
#include "sync/replica/content_verification.h"
#include "sync/replica/content_version.h"
#include "sync/replica/disk_reader.h"
#include "sync/replica/layer_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kAllContents{"SELECT node FROM contents"};

}  // namespace

PlaceInFile file_of(const StateDirectory& directory, const BytesPlace& place) {
  if (place.slab != 0) return {directory.slab(place.slab), place.position};
  return {directory.block_file(place.position), 0};
}

Result<uint64_t> ContentRepair::settle(NodeId node, const std::vector<size_t>& blocks) {
  uint64_t sum = 0;
  const size_t at_once = std::max<uint64_t>(1, kSettledAtOnceBytes / kLongSumBlockBytes);
  for (size_t at = 0; at < blocks.size(); at += at_once) {
    const auto begin = blocks.begin() + static_cast<std::ptrdiff_t>(at);
    auto some = settle_some(
        node, {begin, begin + static_cast<std::ptrdiff_t>(std::min(at_once, blocks.size() - at))});
    if (!some) return some;
    sum += *some;
  }
  return sum;
}

// With the writer held: who changes bytes in place has taken their sums away before.
Result<uint64_t> ContentRepair::settle_some(NodeId node, const std::vector<size_t>& blocks) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto row = find_content((*transaction)->db(), node);
  if (!row) return row.error();
  if (!row->has_value() || !(*row)->sound) return uint64_t{0};
  auto sums = find_sums((*transaction)->db(), **row);
  if (!sums) return sums.error();
  auto damaged = find_damage(**row, *sums, blocks);
  if (!damaged) return damaged.error();
  if (damaged->ranges().empty()) return uint64_t{0};
  return forget(**transaction, std::move(**row), std::move(*sums), *damaged);
}

Result<ExtentSet> ContentRepair::find_damage(const ContentRow& row, const ContentSums& sums,
                                             const std::vector<size_t>& blocks) const {
  const PlaceInFile place = file_of(directory_, row.place);
  const ExtentSet present = row.whole_or_part();
  ExtentSet damaged;
  auto file = DiskReader::open(place.path);
  if (!file && file.error().code() != Errc::kNotFound) return file.error();
  const auto here = [&](size_t block) {
    const auto range = sums.range_of(block);
    ExtentSet parts;
    parts.add(range.begin, range.end);
    for (const auto& gap : present.missing(range.begin, range.end)) parts.remove(gap.begin, gap.end);
    return parts;
  };
  DiskReads reads(batch_);
  std::vector<size_t> asked;  // of each part that is read, the block
  std::set<size_t> bad;
  const auto compare = [&] {
    const auto& read = reads.run();
    for (size_t i = 0; i < asked.size(); ++i) {
      // A block that is here in part has no sum: then it is only read.
      if (!read[i].good() || (sums.knows(asked[i]) && !sums.matches(asked[i], read[i].span())))
        bad.insert(asked[i]);
    }
    asked.clear();
  };
  for (const size_t block : blocks) {
    if (block >= sums.blocks()) continue;
    if (!file) bad.insert(block);
    const ExtentSet parts = here(block);
    for (const auto& part : parts.ranges()) {
      if (!file) break;
      const uint64_t length = part.end - part.begin;
      if (!reads.add(*file, place.offset + part.begin, length)) {
        compare();
        RSYNCFS_CHECK(reads.add(*file, place.offset + part.begin, length));
      }
      asked.push_back(block);
    }
  }
  compare();
  for (const size_t block : bad) {
    const ExtentSet parts = here(block);
    for (const auto& part : parts.ranges()) damaged.add(part.begin, part.end);
  }
  return damaged;
}

Result<uint64_t> ContentRepair::forget(Transaction& transaction, ContentRow row, ContentSums sums,
                                       const ExtentSet& damaged) {
  const NodeId node = row.node;
  auto version = content_version(transaction.db(), node);
  if (!version) return version.error();
  const std::string amount = human_bytes(damaged.bytes()) + " of node " + std::to_string(node);
  if (!version->has_value()) {
    log_error("the local disk has damaged " + amount + ", which the source does not have");
    return damaged.bytes();
  }
  log_error("the local disk has damaged " + amount + ": they will be fetched again");
  writer_.seen_nodes().note(node);
  ExtentSet left = row.whole_or_part();
  const uint64_t before = left.bytes();
  for (const auto& range : damaged.ranges()) left.remove(range.begin, range.end);
  if (row.place.slab != 0 || left.ranges().empty()) {
    if (auto done = erase_content(transaction, node); !done) return done.error();
    if (auto done = transaction.commit(); !done) return done.error();
    return before;
  }
  for (const auto& range : damaged.ranges()) sums.forget(range.begin, range.end);
  row.complete = false;
  row.present = left.bytes();
  row.extents = std::move(left);
  row.sums = std::move(sums);
  if (auto done = put_content(transaction, row); !done) return done.error();
  if (auto done = transaction.commit(); !done) return done.error();
  return damaged.bytes();
}

Result<bool> ContentRepair::is_at_rest(Connection& db, NodeId node,
                                       const std::shared_ptr<const Content>& content) {
  if (!store_.is_current(node, content)) return false;
  auto layers = find_layers(db, node);
  if (!layers) return layers.error();
  return layers->empty();
}

Result<bool> ContentRepair::fill_sums(NodeId node, uint64_t bytes) {
  auto content = store_.content(node);
  if (!content) return content.error();
  if (*content == nullptr) return false;
  ContentRow row;
  {
    auto connection = reads_.take();
    if (!connection) return connection.error();
    const ReadPool::Lease lease(reads_, *connection);
    auto found = find_content(*lease, node);
    if (!found) return found.error();
    if (!found->has_value() || !(*found)->sound) return false;
    row = std::move(**found);
    auto sums = find_sums(*lease, row);
    if (!sums) return sums.error();
    row.sums = std::move(*sums);
  }
  if ((*content)->size() != row.place.size) return false;
  uint64_t filled = 0;
  std::vector<std::byte> block_bytes;
  for (size_t block = 0; block < row.sums.blocks(); ++block) {
    if (row.sums.knows(block)) continue;
    const auto range = row.sums.range_of(block);
    const auto view = (*content)->unchecked_view(range.begin, range.end - range.begin);
    if (!view) continue;
    if (filled >= bytes) break;
    block_bytes.resize(view->size());
    if (!read_map(view->data(), block_bytes)) continue;
    row.sums.set(block, content_sum(block_bytes));
    filled += view->size();
  }
  if (filled == 0) return false;
  auto added = add_sums(node, *content, row.sums);
  if (!added) return added.error();
  return *added && filled >= bytes;
}

Result<std::unique_ptr<ContentVerification>> ContentRepair::verify(NodeId node) {
  auto content = store_.content(node);
  if (!content) return content.error();
  const Error nothing(Errc::kNotFound, "nothing is here of it");
  if (*content == nullptr) return nothing;
  auto connection = reads_.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(reads_, *connection);
  auto row = find_content(*lease, node);
  if (!row) return row.error();
  if (!row->has_value() || !(*row)->sound || (*row)->place.size != (*content)->size()) return nothing;
  auto sums = find_sums(*lease, **row);
  if (!sums) return sums.error();
  (*row)->sums = std::move(*sums);
  if (auto done = read_digest(*lease, **row); !done) return done.error();
  PlaceInFile place = file_of(directory_, (*row)->place);
  return std::unique_ptr<ContentVerification>(std::make_unique<StoredVerification>(
      *this, std::move(**row), std::move(*content), std::move(place), batch_));
}

void ContentRepair::read_ahead(std::span<ContentVerification* const> verifications) {
  DiskReads reads(batch_);
  std::vector<StoredVerification*> asked;
  const auto give = [&] {
    const auto& read = reads.run();
    for (size_t i = 0; i < asked.size(); ++i) asked[i]->take_ahead(read[i]);
    asked.clear();
  };
  for (ContentVerification* const verification : verifications) {
    auto& stored = static_cast<StoredVerification&>(*verification);
    if (asked.size() == DiskReads::kMaxParts) give();
    if (stored.ask_ahead(reads)) asked.push_back(&stored);
  }
  give();
}

Result<void> ContentRepair::check_sums() const {
  auto connection = reads_.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(reads_, *connection);
  std::vector<NodeId> nodes;
  {
    Query all(*lease, kAllContents);
    for (;;) {
      auto next = all.step();
      if (!next) return next.error();
      if (!*next) break;
      nodes.push_back(all.unsigned_at(0));
    }
  }
  for (const NodeId node : nodes) {
    auto done = check_sums_of(*lease, node);
    // Perhaps it was just being replaced.
    if (!done) done = check_sums_of(*lease, node);
    if (!done) return done;
  }
  return {};
}

Result<void> ContentRepair::check_sums_of(Connection& db, NodeId node) const {
  if (auto done = db.execute("BEGIN"); !done) return done;
  auto row = find_content(db, node);
  auto sums = row && row->has_value() ? find_sums(db, **row) : Result<ContentSums>(ContentSums());
  if (auto done = db.execute("COMMIT"); !done) return done;
  if (!row || !sums) return row ? sums.error() : row.error();
  if (!row->has_value() || !(*row)->sound) return {};
  ContentSums kept = *sums;
  kept.keep_only((*row)->whole_or_part());
  if (kept != *sums) return Error(Errc::kCorrupt, "blocks have sums that are not here as a whole");
  std::vector<size_t> known;
  for (size_t block = 0; block < sums->blocks(); ++block) {
    if (sums->knows(block)) known.push_back(block);
  }
  auto damaged = find_damage(**row, *sums, known);
  if (!damaged) return damaged.error();
  if (damaged->ranges().empty()) return {};
  return Error(Errc::kCorrupt, "contents have other bytes than their sums say: node " + std::to_string(node));
}

Result<bool> ContentRepair::add_sums(NodeId node, const std::shared_ptr<const Content>& content,
                                     const ContentSums& sums) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto quiet = is_at_rest((*transaction)->db(), node, content);
  if (!quiet) return quiet.error();
  if (!*quiet) return false;
  if (auto done = put_sums(**transaction, node, sums); !done) return done.error();
  if (auto done = (*transaction)->commit(); !done) return done.error();
  return true;
}

Result<uint64_t> ContentRepair::drop(NodeId node, const std::shared_ptr<const Content>& content) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto quiet = is_at_rest((*transaction)->db(), node, content);
  if (!quiet) return quiet.error();
  if (!*quiet) return uint64_t{0};
  auto row = find_content((*transaction)->db(), node);
  if (!row) return row.error();
  if (!row->has_value()) return uint64_t{0};
  ExtentSet all = (*row)->whole_or_part();
  return forget(**transaction, std::move(**row), ContentSums(content->size()), all);
}

}  // namespace rsyncfs
