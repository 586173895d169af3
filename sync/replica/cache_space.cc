// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/cache_space.h"

#include <optional>

#include "io/base/log.h"
#include "sync/replica/cache_space_impl.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

#define RSYNCFS_CANDIDATE_COLUMNS "c.node, c.slab, c.position, c.present, n.ino, n.orphan, n.differences"

constexpr Sql kLeastUsed{"SELECT " RSYNCFS_CANDIDATE_COLUMNS
                         " FROM contents AS c JOIN nodes AS n ON n.id=c.node"
                         " WHERE c.used<? ORDER BY c.used LIMIT ?"};
constexpr Sql kOne{"SELECT " RSYNCFS_CANDIDATE_COLUMNS
                   " FROM contents AS c JOIN nodes AS n ON n.id=c.node WHERE c.node=?"};
constexpr Sql kNamePending{
    "SELECT EXISTS (SELECT 1 FROM base_names WHERE node=?1 AND node<>0)"
    " OR EXISTS (SELECT 1 FROM names AS n JOIN base_names AS b ON b.parent=n.parent AND b.name=n.name"
    " WHERE n.node=?1)"};
constexpr Sql kUse{"UPDATE contents SET used=? WHERE node=?"};
constexpr Sql kNodeOfInode{
    "SELECT id FROM nodes WHERE id=?1 AND ino=id AND orphan=0"
    " UNION ALL SELECT id FROM nodes WHERE ino=?1 AND ino<>id AND orphan=0 LIMIT 1"};

// It has a name here that it has not at the source, or the other way round.
Result<bool> is_name_pending(Transaction& transaction, NodeId node) {
  if (!transaction.something_pending()) return false;
  Query query(transaction.db(), kNamePending);
  query.unsigned_integer(node);
  if (auto row = query.step(); !row) return row.error();
  return query.integer_at(0) != 0;
}

}  // namespace

// A content that may go, with what decides.
struct StoredCacheSpace::Candidate {
  NodeId node = 0;
  BytesPlace place;  // without its size
  uint64_t present = 0;
  uint64_t ino = 0;
  bool orphan = false;
  bool differs = false;

  static Candidate at(const Query& query) {
    Candidate out;
    out.node = query.unsigned_at(0);
    out.place = {query.unsigned_at(1), query.unsigned_at(2), 0};
    out.present = query.unsigned_at(3);
    out.ino = query.unsigned_at(4);
    out.orphan = query.integer_at(5) != 0;
    out.differs = query.integer_at(6) != 0;
    return out;
  }
};

Result<void> StoredCacheSpace::recover() {
  spare_.take();
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  if (auto done = writer_.content_uses().recover((*transaction)->db()); !done) return done;
  if (auto done = pins_.recover((*transaction)->db()); !done) return done;
  return (*transaction)->commit();
}

Result<void> StoredCacheSpace::finish() {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  if (auto done = writer_.content_uses().record((*transaction)->db()); !done) return done;
  return (*transaction)->commit();
}

void StoredCacheSpace::note_use(NodeId file) {
  if (!writer_.content_uses().note(file)) return;
  contents_.post([this] {
    if (auto done = finish(); !done)
      log_warn("which files were used is not recorded: " + done.error().message());
  });
}

Result<void> StoredCacheSpace::give_reserve_back() {
  spare_.give_back();
  // Nothing is written: it holds the writer.
  auto transaction = writer_.begin_beside_backlog();
  if (!transaction) return transaction.error();
  contents_.slabs().give_reserve_back();
  return {};
}

Result<std::vector<StoredCacheSpace::Candidate>> StoredCacheSpace::least_used(Connection& db,
                                                                              const Eviction& eviction) {
  std::vector<Candidate> out;
  Query query(db, kLeastUsed);
  query.unsigned_integer(eviction.used_before).unsigned_integer(eviction.max_contents);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return out;
    out.push_back(Candidate::at(query));
  }
}

Result<std::optional<StoredCacheSpace::Candidate>> StoredCacheSpace::candidate(Connection& db, NodeId node) {
  Query query(db, kOne);
  query.unsigned_integer(node);
  auto row = query.step();
  if (!row) return row.error();
  return *row ? std::optional(Candidate::at(query)) : std::nullopt;
}

// An orphan's bytes are the source's no more: who has it open keeps them. A node that differs needs its base
// for what is shown, or for the comparison before the source's version is replaced.
Result<FreedFile> StoredCacheSpace::let_go(Transaction& transaction, PinLookup& pins,
                                           const Candidate& candidate, const InodeSet& in_use) {
  if (candidate.place.slab == 0 && candidate.place.position == 0)
    return FreedFile{FreeOutcome::kNothingHere, 0};
  if (candidate.orphan || candidate.differs) return FreedFile{FreeOutcome::kDirty, 0};
  auto moved = is_name_pending(transaction, candidate.node);
  if (!moved) return moved.error();
  if (*moved) return FreedFile{FreeOutcome::kDirty, 0};
  auto pinned = pins.covers(candidate.node);
  if (!pinned) return pinned.error();
  if (*pinned) return FreedFile{FreeOutcome::kPinned, 0};
  const bool fetched = candidate.place.slab == 0 && contents_.block_files().is_open(candidate.place.position);
  if (fetched || contents_.lent(candidate.node) || in_use.contains(candidate.ino))
    return FreedFile{FreeOutcome::kInUse, 0};
  // Whoever has seen its bytes goes on with this version.
  writer_.seen_nodes().note(candidate.node);
  if (auto done = erase_content(transaction, candidate.node); !done) return done.error();
  return FreedFile{FreeOutcome::kFreed, candidate.present};
}

Result<Evicted> StoredCacheSpace::evict(const Eviction& eviction) {
  static const InodeSet kNone;
  Evicted out;
  {
    auto transaction = writer_.begin();
    if (!transaction) return transaction.error();
    Connection& db = (*transaction)->db();
    if (auto done = writer_.content_uses().record(db); !done) return done.error();
    auto candidates = least_used(db, eviction);
    if (!candidates) return candidates.error();
    out.exhausted = candidates->size() < eviction.max_contents;
    PinLookup pins(db, pins_.all());
    for (const Candidate& candidate : *candidates) {
      if (out.bytes >= eviction.bytes) {
        out.exhausted = false;
        break;
      }
      auto freed =
          let_go(**transaction, pins, candidate, eviction.in_use == nullptr ? kNone : *eviction.in_use);
      if (!freed) return freed.error();
      if (freed->outcome == FreeOutcome::kFreed) {
        ++out.files;
        out.bytes += freed->bytes;
        continue;
      }
      Query use(db, kUse);
      use.unsigned_integer(moment()).unsigned_integer(candidate.node);
      if (auto done = use.run(); !done) return done.error();
    }
    if (auto done = (*transaction)->commit(); !done) return done.error();
  }
  if (out.files > 0) contents_.bury();
  return out;
}

Result<std::vector<FreedFile>> StoredCacheSpace::free_contents(const std::vector<NodeId>& files,
                                                               const InodeSet& in_use) {
  std::vector<FreedFile> out;
  out.reserve(files.size());
  {
    auto transaction = writer_.begin();
    if (!transaction) return transaction.error();
    PinLookup pins((*transaction)->db(), pins_.all());
    for (const NodeId file : files) {
      auto found = candidate((*transaction)->db(), file);
      if (!found) return found.error();
      if (!found->has_value()) {
        // Of a new file, all that is here is the local change.
        auto node = find_node((*transaction)->db(), file);
        if (!node) return node.error();
        const bool dirty = node->has_value() && (*node)->differences != 0;
        out.push_back({dirty ? FreeOutcome::kDirty : FreeOutcome::kNothingHere, 0});
        continue;
      }
      auto freed = let_go(**transaction, pins, **found, in_use);
      if (!freed) return freed.error();
      out.push_back(*freed);
    }
    if (auto done = (*transaction)->commit(); !done) return done.error();
  }
  contents_.bury();
  return out;
}

Result<void> StoredCacheSpace::pin(NodeId node) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto found = find_node((*transaction)->db(), node);
  if (!found) return found.error();
  if (!found->has_value() || (*found)->orphan) return Error(Errc::kNotFound, "no such node");
  const uint64_t ino = (*found)->ino;
  if (pins_.has(ino)) return {};
  if (auto done = pins_.put((*transaction)->db(), ino); !done) return done;
  (*transaction)->aftermath().then.emplace_back([this, ino] { pins_.note(ino); });
  return (*transaction)->commit();
}

Result<size_t> StoredCacheSpace::unpin(NodeId node) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  Connection& db = (*transaction)->db();
  auto found = find_node(db, node);
  if (!found) return found.error();
  if (!found->has_value()) return Error(Errc::kNotFound, "no such node");
  // What lies below it, as if it were the only pin.
  PinLookup below(db, std::make_shared<const InodeSet>(InodeSet{(*found)->ino}));
  std::vector<uint64_t> gone;
  for (const uint64_t ino : *pins_.all()) {
    Query query(db, kNodeOfInode);
    query.unsigned_integer(ino);
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) continue;
    const NodeId pinned = query.unsigned_at(0);
    query.reset();
    auto covered = below.covers(pinned);
    if (!covered) return covered.error();
    if (*covered) gone.push_back(ino);
  }
  for (const uint64_t ino : gone) {
    if (auto done = Pins::erase(db, ino); !done) return done.error();
    (*transaction)->aftermath().then.emplace_back([this, ino] { pins_.forget(ino); });
  }
  if (auto done = (*transaction)->commit(); !done) return done.error();
  return gone.size();
}

Result<bool> StoredCacheSpace::is_pinned(NodeId node) const {
  auto among = pinned_among({node});
  if (!among) return among.error();
  return !among->empty();
}

Result<std::vector<NodeId>> StoredCacheSpace::pinned_among(const std::vector<NodeId>& nodes) const {
  std::vector<NodeId> out;
  if (pins_.count() == 0) return out;
  auto connection = reads_.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(reads_, *connection);
  PinLookup pins(*lease, pins_.all());
  for (const NodeId node : nodes) {
    auto covered = pins.covers(node);
    if (!covered) return covered.error();
    if (*covered) out.push_back(node);
  }
  return out;
}

Result<std::vector<NodeId>> StoredCacheSpace::pinned_nodes() const {
  std::vector<NodeId> out;
  auto connection = reads_.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(reads_, *connection);
  for (const uint64_t ino : *pins_.all()) {
    Query query(*lease, kNodeOfInode);
    query.unsigned_integer(ino);
    auto row = query.step();
    if (!row) return row.error();
    if (*row) out.push_back(query.unsigned_at(0));
  }
  return out;
}

}  // namespace rsyncfs
