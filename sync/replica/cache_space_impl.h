// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "sync/replica/cache_space.h"
#include "sync/replica/content_store.h"
#include "sync/replica/pins.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/spare_space.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

class StoredCacheSpace final : public CacheSpace {
 public:
  // All must outlive it.
  StoredCacheSpace(const StateDirectory& directory, Writer& writer, ReadPool& reads, ContentStore& contents)
      : writer_(writer), reads_(reads), contents_(contents), spare_(directory.spare()) {}

  // Before anything else.
  Result<void> recover();
  // What is only in memory is recorded.
  Result<void> finish();

  void note_use(NodeId file) override;
  uint64_t moment() override { return writer_.content_uses().next(); }
  uint64_t disk_bytes() override { return contents_.usage().bytes(); }
  void set_reserve(uint64_t bytes) override { contents_.slabs().set_reserve(bytes); }
  Result<void> give_reserve_back() override;
  void take_reserve() override { spare_.take(); }
  Result<Evicted> evict(const Eviction& eviction) override;
  Result<std::vector<FreedFile>> free_contents(const std::vector<NodeId>& files,
                                               const InodeSet& in_use) override;
  Result<void> pin(NodeId node) override;
  Result<size_t> unpin(NodeId node) override;
  Result<bool> is_pinned(NodeId node) const override;
  Result<std::vector<NodeId>> pinned_among(const std::vector<NodeId>& nodes) const override;
  Result<std::vector<NodeId>> pinned_nodes() const override;
  size_t pin_count() const override { return pins_.count(); }

 private:
  struct Candidate;

  static Result<std::vector<Candidate>> least_used(Connection& db, const Eviction& eviction);
  static Result<std::optional<Candidate>> candidate(Connection& db, NodeId node);
  Result<FreedFile> let_go(Transaction& transaction, PinLookup& pins, const Candidate& candidate,
                           const InodeSet& in_use);

  Writer& writer_;
  ReadPool& reads_;
  ContentStore& contents_;
  Pins pins_;
  SpareSpace spare_;
};

}  // namespace rsyncfs
