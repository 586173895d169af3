// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/writer.h"

#include <chrono>

namespace rsyncfs {
namespace {

constexpr Sql kBegin{"BEGIN IMMEDIATE"};
constexpr Sql kCommit{"COMMIT"};
constexpr Sql kReadTotals{
    "SELECT nodes, orphans, cached_bytes, cached_files, partial_files, pending_names, pending_nodes,"
    " (SELECT coalesce(sum(ends-begins), 0) FROM layer_extents) FROM totals WHERE id=1"};
constexpr Sql kAddTotals{
    "UPDATE totals SET nodes=nodes+?, orphans=orphans+?, cached_bytes=cached_bytes+?,"
    " cached_files=cached_files+?, partial_files=partial_files+?,"
    " pending_names=pending_names+?, pending_nodes=pending_nodes+? WHERE id=1"};
constexpr Sql kTakeNodeIds{"UPDATE sqlite_sequence SET seq=seq+? WHERE name='nodes'"};
constexpr Sql kLastNodeId{"SELECT seq FROM sqlite_sequence WHERE name='nodes'"};
constexpr Sql kUseSlab{"UPDATE slabs SET live_files=live_files+?, live_bytes=live_bytes+? WHERE id=?"};
constexpr Sql kDropEmptySlab{"DELETE FROM slabs WHERE id=? AND live_files=0 AND sealed=1"};

constexpr Sql kOldestDifference{
    "SELECT min(since_ms) FROM (SELECT min(since_ms) AS since_ms FROM base_names"
    " UNION ALL SELECT min(since_ms) FROM base_nodes)"};

// So many at once: the sequence is not written for every node.
constexpr NodeId kNodeIdsTaken = 64;

}  // namespace

void Totals::add(const Totals& other) {
  nodes += other.nodes;
  orphans += other.orphans;
  cached_bytes += other.cached_bytes;
  cached_files += other.cached_files;
  partial_files += other.partial_files;
  pending_names += other.pending_names;
  pending_nodes += other.pending_nodes;
  pending_bytes += other.pending_bytes;
}

Transaction::~Transaction() {
  if (!committed_) {
    // Fails only when SQLite has already rolled back by itself.
    if (writer_.db_->in_transaction()) static_cast<void>(writer_.db_->execute("ROLLBACK"));
    writer_.xattr_sets_.forget();
    writer_.next_node_id_ = writer_.end_of_node_ids_;
  }
  writer_.seen_nodes_.transaction_over();
  if (releases_) writer_.release();
}

Connection& Transaction::db() {
  return *writer_.db_;
}

bool Transaction::something_pending() const {
  const Totals before = writer_.totals();
  return before.pending_names + totals_.pending_names != 0 ||
         before.pending_nodes + totals_.pending_nodes != 0;
}

Result<void> Transaction::inherit_age() {
  if (inherited_since_ms_) return {};
  inherited_since_ms_ = since_ms();
  if (!something_pending()) return {};
  Query query(db(), kOldestDifference);
  if (auto row = query.step(); !row) return row.error();
  inherited_since_ms_ = query.integer_at(0);
  return {};
}

int64_t Transaction::since_ms() const {
  if (inherited_since_ms_) return *inherited_since_ms_;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

void Transaction::use_xattr_set(uint64_t set, int64_t by) {
  if (set != 0) xattr_uses_[set] += by;
}

void Transaction::use_slab(uint64_t slab, int64_t files, int64_t bytes) {
  SlabUse& use = slab_uses_[slab];
  use.files += files;
  use.bytes += bytes;
}

Result<void> Transaction::flush_slabs() {
  for (const auto& [slab, use] : slab_uses_) {
    Query update(db(), kUseSlab);
    update.integer(use.files).integer(use.bytes).unsigned_integer(slab);
    if (auto done = update.run(); !done) return done;
    if (use.files > 0) continue;
    Query drop(db(), kDropEmptySlab);
    drop.unsigned_integer(slab);
    if (auto done = drop.run(); !done) return done;
    if (db().changes() > 0) aftermath_.slabs_emptied.push_back(slab);
  }
  return {};
}

Result<void> Transaction::flush() {
  for (const auto& [set, by] : xattr_uses_) {
    if (by == 0) continue;
    if (auto done = writer_.xattr_sets_.add_uses(db(), set, by); !done) return done;
  }
  if (auto done = flush_slabs(); !done) return done;
  // Every write adds pending bytes: their sum is not stored.
  Totals stored = totals_;
  stored.pending_bytes = 0;
  if (stored == Totals()) return {};
  Query add(db(), kAddTotals);
  add.integer(totals_.nodes).integer(totals_.orphans).integer(totals_.cached_bytes);
  add.integer(totals_.cached_files).integer(totals_.partial_files);
  add.integer(totals_.pending_names).integer(totals_.pending_nodes);
  return add.run();
}

Result<void> Transaction::commit() {
  RSYNCFS_CHECK(!committed_);
  if (failure_) return *failure_;
  if (auto done = flush(); !done) {
    failure_ = done.error();
    return done;
  }
  if (auto done = Query(*writer_.db_, kCommit).run(); !done) {
    failure_ = done.error();
    return done;
  }
  committed_ = true;
  {
    std::lock_guard lock(writer_.mutex_);
    writer_.totals_.add(totals_);
  }
  for (const NodeId node : aftermath_.contents_recorded) writer_.seen_nodes_.forget(node);
  for (const NodeId node : aftermath_.nodes_gone) writer_.seen_nodes_.forget(node);
  if (writer_.follow_) writer_.follow_(aftermath_);
  return {};
}

Result<std::unique_ptr<Writer>> Writer::open(std::unique_ptr<Connection> db) {
  std::unique_ptr<Writer> out(new Writer(std::move(db)));
  Query query(*out->db_, kReadTotals);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return Error(Errc::kCorrupt, "the store's totals are missing");
  out->totals_.nodes = query.integer_at(0);
  out->totals_.orphans = query.integer_at(1);
  out->totals_.cached_bytes = query.integer_at(2);
  out->totals_.cached_files = query.integer_at(3);
  out->totals_.partial_files = query.integer_at(4);
  out->totals_.pending_names = query.integer_at(5);
  out->totals_.pending_nodes = query.integer_at(6);
  out->totals_.pending_bytes = query.integer_at(7);
  query.reset();
  return out;
}

void Writer::hold() {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [this] { return !held_; });
  held_ = true;
}

Result<std::unique_ptr<Transaction>> Writer::begin(bool releases) {
  std::unique_ptr<Transaction> out(new Transaction(*this, releases));
  Query begin(*db_, kBegin);
  if (auto done = begin.run(); !done) return done.error();
  return out;
}

Result<std::unique_ptr<Transaction>> Writer::begin() {
  hold();
  if (backlog_ != nullptr) {
    if (auto done = backlog_->close(); !done) {
      release();
      return done.error();
    }
  }
  return begin(true);
}

Result<std::unique_ptr<Transaction>> Writer::begin_beside_backlog() {
  hold();
  return begin(true);
}

Result<std::unique_ptr<Transaction>> Writer::begin_held() {
  return begin(false);
}

Result<NodeId> Writer::take_node_ids(NodeId count) {
  Query take(*db_, kTakeNodeIds);
  take.unsigned_integer(count);
  if (auto done = take.run(); !done) return done.error();
  Query last(*db_, kLastNodeId);
  auto row = last.step();
  if (!row) return row.error();
  if (!*row) return Error(Errc::kCorrupt, "the store does not know which nodes it has had");
  return last.unsigned_at(0) + 1 - count;
}

Result<NodeId> Writer::new_node_id() {
  if (next_node_id_ == end_of_node_ids_) {
    auto first = take_node_ids(kNodeIdsTaken);
    if (!first) return first;
    next_node_id_ = *first;
    end_of_node_ids_ = *first + kNodeIdsTaken;
  }
  return next_node_id_++;
}

void Writer::release() {
  if (backlog_ != nullptr) backlog_->open();
  {
    std::lock_guard lock(mutex_);
    held_ = false;
  }
  released_.notify_one();
}

Totals Writer::totals() const {
  std::lock_guard lock(mutex_);
  return totals_;
}

}  // namespace rsyncfs
