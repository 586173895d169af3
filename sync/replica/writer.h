// SPDX-License-Identifier: GPL-3.0-or-later
// The one connection that writes, lent to one transaction at a time, and what must follow a commit.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/content_uses.h"
#include "sync/replica/database.h"
#include "sync/replica/growths.h"
#include "sync/replica/retained_nodes.h"
#include "sync/replica/seen_nodes.h"
#include "sync/replica/types.h"
#include "sync/replica/xattr_sets.h"

namespace rsyncfs {

// Kept up to date by every transaction, so that asking costs nothing.
struct Totals {
  int64_t nodes = 0;
  int64_t orphans = 0;
  int64_t cached_bytes = 0;
  int64_t cached_files = 0;
  int64_t partial_files = 0;
  int64_t pending_names = 0;  // rows of base_names
  int64_t pending_nodes = 0;  // rows of base_nodes
  int64_t pending_bytes = 0;  // of layer_extents; counted when the store is opened
  void add(const Totals& other);
  bool operator==(const Totals&) const = default;
};

// Where the bytes of a content lie: in a slab at `position`, or (slab 0) in block file number `position`;
// both 0 for an empty file.
struct BytesPlace {
  uint64_t slab = 0;
  uint64_t position = 0;
  uint64_t size = 0;
  bool same_place(const BytesPlace& other) const { return slab == other.slab && position == other.position; }
};

// What a committed transaction changed outside of the database.
struct Aftermath {
  std::vector<NodeId> contents_changed;   // had a content before, which is no longer valid
  std::vector<NodeId> contents_recorded;  // have one now
  std::vector<NodeId> nodes_gone;         // are deleted
  std::vector<BytesPlace> written;
  std::vector<BytesPlace> freed;
  std::vector<uint64_t> slabs_emptied;
  std::vector<NodeId> layers_made;     // have local changes of bytes
  std::vector<NodeId> layers_gone;     // have none any more: they are part of the content
  std::vector<NodeId> layers_dropped;  // have none any more: they were given up
  // What is to change in memory with the commit, before anything is freed. With the writer held.
  std::vector<std::function<void()>> then;
};

class Writer;

// Changes that were answered and are not in the database yet (sync/replica/new_files.h).
class Backlog {
 public:
  virtual ~Backlog() = default;
  // With the writer held, before a transaction begins: records all there is, and takes no more until open().
  virtual Result<void> close() = 0;
  virtual void open() = 0;
};

// Holds the writer until it ends; may end on another thread than it began.
class Transaction {
 public:
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();  // rolled back unless committed

  Connection& db();
  Writer& writer() { return writer_; }
  Totals& totals() { return totals_; }  // what this transaction adds
  Aftermath& aftermath() { return aftermath_; }
  // Regular files that lost their last name in it; whoever has an eye on them takes them away.
  std::vector<Node>& orphaned() { return orphaned_; }
  // Anything in the store differs from the source.
  bool something_pending() const;
  void use_xattr_set(uint64_t set, int64_t by);
  void use_slab(uint64_t slab, int64_t files, int64_t bytes);
  // The differences that it records from now on follow from earlier ones and are as old as the oldest there
  // is: whoever waits until all that was changed up to now is pushed waits for them, too.
  Result<void> inherit_age();
  // Since when a difference counts that is recorded now; Unix time.
  int64_t since_ms() const;
  // The differences that it records from now on were made at this moment.
  void made_at(int64_t unix_ms) { inherited_since_ms_ = unix_ms; }
  // After a failure half way: commit() will refuse.
  void fail(const Error& why) { failure_ = why; }
  Result<void> commit();

 private:
  friend class Writer;
  struct SlabUse {
    int64_t files = 0;
    int64_t bytes = 0;
  };
  Transaction(Writer& writer, bool releases) : writer_(writer), releases_(releases) {}
  Result<void> flush();
  Result<void> flush_slabs();

  Writer& writer_;
  const bool releases_;  // the writer, at the end
  Totals totals_;
  Aftermath aftermath_;
  std::vector<Node> orphaned_;
  std::map<uint64_t, int64_t> xattr_uses_;
  std::map<uint64_t, SlabUse> slab_uses_;
  std::optional<Error> failure_;
  std::optional<int64_t> inherited_since_ms_;
  bool committed_ = false;
};

class Writer {
 public:
  // `db` has its schema.
  static Result<std::unique_ptr<Writer>> open(std::unique_ptr<Connection> db);

  // Waits for the transaction before. A thread that has one must not begin another.
  // It finds the backlog in the database.
  Result<std::unique_ptr<Transaction>> begin();
  // The same, the backlog staying as it is: for recording it.
  Result<std::unique_ptr<Transaction>> begin_beside_backlog();
  // In Backlog::close() only: the writer is held already, and stays so.
  Result<std::unique_ptr<Transaction>> begin_held();
  // Null: none. Set with nobody using the writer.
  void set_backlog(Backlog* backlog) { backlog_ = backlog; }
  // Called after each commit, before the next transaction can begin. Set once, before other threads use this.
  void after_commit(std::function<void(const Aftermath&)> follow) { follow_ = std::move(follow); }

  Totals totals() const;                                 // any thread
  SeenNodes& seen_nodes() { return seen_nodes_; }        // any thread
  ContentUses& content_uses() { return content_uses_; }  // any thread
  Growths& growths() { return growths_; }                // any thread
  // With a transaction only:
  Connection& db() { return *db_; }
  XattrSets& xattr_sets() { return xattr_sets_; }
  RetainedNodes& retained_nodes() { return retained_nodes_; }
  // A number that no node has had and no other will have.
  Result<NodeId> new_node_id();
  // The first of so many of them, once the transaction is committed.
  Result<NodeId> take_node_ids(NodeId count);
  uint64_t epoch() const { return epoch_; }
  void set_epoch(uint64_t epoch) { epoch_ = epoch; }

 private:
  friend class Transaction;
  explicit Writer(std::unique_ptr<Connection> db) : db_(std::move(db)) {}
  void hold();
  void release();
  Result<std::unique_ptr<Transaction>> begin(bool releases);

  std::unique_ptr<Connection> db_;
  Backlog* backlog_ = nullptr;
  XattrSets xattr_sets_;
  RetainedNodes retained_nodes_;
  // Numbers that are taken in the database's eyes; forgotten with a rollback, and at the end.
  NodeId next_node_id_ = 0;
  NodeId end_of_node_ids_ = 0;
  SeenNodes seen_nodes_;
  ContentUses content_uses_;
  Growths growths_;
  uint64_t epoch_ = 0;
  std::function<void(const Aftermath&)> follow_;

  mutable std::mutex mutex_;
  std::condition_variable released_;
  bool held_ = false;  // guarded by mutex_
  Totals totals_;      // guarded by mutex_
};

}  // namespace rsyncfs
