// SPDX-License-Identifier: GPL-3.0-or-later
// The Replica, put together from its parts.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sync/replica/cache_space_impl.h"
#include "sync/replica/content_store.h"
#include "sync/replica/dirty_files.h"
#include "sync/replica/housekeeper.h"
#include "sync/replica/local_changes_impl.h"
#include "sync/replica/new_files.h"
#include "sync/replica/pending_impl.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/replica.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/sync_epochs.h"
#include "sync/replica/writer.h"
#include "sync/replica/xattr_leftovers.h"

namespace rsyncfs {

class StoredReplica final : public Replica {
 public:
  StoredReplica(StateDirectory directory, std::unique_ptr<Writer> writer, std::unique_ptr<FileBatch> batch,
                const ReplicaOptions& options);
  StoredReplica(const StoredReplica&) = delete;
  StoredReplica& operator=(const StoredReplica&) = delete;
  ~StoredReplica() override;
  Result<void> start(const ReplicaOptions& options);

  Result<Node> node(NodeId id) const override;
  Result<Node> lookup(NodeId parent, std::string_view name) const override;
  Result<void> list(NodeId directory,
                    const std::function<void(std::string_view name, const Node& node)>& visit) const override;
  Result<std::vector<std::pair<DirectoryEntry, Node>>> list_after(NodeId directory, std::string_view after,
                                                                  size_t limit) const override;
  Result<std::string> link_target(NodeId id) const override;
  Result<StoredXattrs> xattrs(NodeId id) const override;
  Result<std::optional<std::string>> xattr_value(std::string_view digest, uint64_t size) const override;
  Result<std::string> path_of(NodeId id) const override;
  Result<std::pair<NodeId, std::string>> name_of(NodeId id) const override;

  Result<std::unique_ptr<Batch>> begin() override;
  Result<void> store_xattr_value(std::string_view digest, uint64_t size, std::string_view value) override;
  Result<void> store_id_names(const std::map<uint32_t, std::string>& users,
                              const std::map<uint32_t, std::string>& groups) override;
  Result<std::pair<std::map<uint32_t, std::string>, std::map<uint32_t, std::string>>> id_names()
      const override;

  Result<bool> note_seen(NodeId id, const FileVersion& version) override;
  Result<std::shared_ptr<const Content>> content(NodeId id) override { return contents_.content(id); }
  Result<ContentState> content_state(NodeId id) const override { return contents_.state(id); }
  Result<std::unique_ptr<ContentWriter>> create_content(NodeId id, uint64_t expected_size) override {
    return contents_.create(id, expected_size);
  }
  Result<std::unique_ptr<ContentWriter>> create_shown_content(NodeId id, const FileVersion& version,
                                                              uint64_t expected_size) override {
    return contents_.create(id, expected_size, version);
  }
  Result<std::unique_ptr<ContentWriter>> resume_content(NodeId id, uint64_t expected_size) override {
    return contents_.resume(id, expected_size);
  }
  Result<std::shared_ptr<const Content>> basis(NodeId id) override;
  Result<void> drop_basis(NodeId id) override;
  Result<void> finish_contents(std::vector<FinishedContent> finished) override;
  Result<std::unique_ptr<ContentWriter>> extend_content(NodeId id, uint64_t expected_size) override {
    return contents_.extend(id, expected_size);
  }
  Result<bool> grow_content(FinishedContent grown, const FileVersion& before) override {
    return contents_.grow(std::move(grown), before);
  }
  void settle_growth(NodeId id, const FileVersion& version, bool grew) override {
    writer_->growths().settle(id, version, grew);
  }
  Result<void> drop_content(NodeId id) override;
  Result<void> settle_damage(NodeId id) override { return contents_.settle_damage(id); }
  Result<std::unique_ptr<ContentVerification>> verify_content(NodeId id) override {
    return contents_.verify(id);
  }
  void read_ahead(std::span<ContentVerification* const> verifications) override {
    contents_.read_ahead(verifications);
  }

  Result<std::shared_ptr<LentContent>> lend_content(NodeId id) override;
  Result<void> prepare_lent(NodeId id) override { return dirty_.prepare_lent(id); }
  Result<bool> take_mapped(NodeId id) override { return dirty_.take_mapped(id); }

  Result<void> forget_orphans(const std::vector<NodeId>& nodes) override;
  Result<size_t> purge_orphans(size_t limit) override;

  LocalChanges& local() override { return local_; }
  const LocalChanges& local() const override { return local_; }
  PendingChanges& pending() override { return pending_; }
  const PendingChanges& pending() const override { return pending_; }

  CacheSpace& cache() override { return cache_; }
  const CacheSpace& cache() const override { return cache_; }

  Result<std::optional<std::string>> meta(std::string_view key) const override;
  Result<void> set_meta(std::string_view key, std::string_view value) override;
  Result<ReplicaStatistics> statistics() const override;
  Result<void> check_records() const override;
  Result<void> check() const override;
  const std::string& directory() const override { return directory_.path(); }
  const FileBatch& file_batch() const override { return *batch_; }

 private:
  // Calls body(Connection&) with a read connection; both give a Result.
  template <class Body>
  auto reading(const Body& body) const -> decltype(body(std::declval<Connection&>())) {
    auto connection = reads_.take();
    if (!connection) return connection.error();
    const ReadPool::Lease lease(reads_, *connection);
    return body(*lease);
  }
  // The same, with all in the database that was changed before.
  template <class Body>
  auto reading_all(const Body& body) const -> decltype(body(std::declval<Connection&>())) {
    if (auto done = new_files_.settle(); !done) return done.error();
    return reading(body);
  }
  Result<void> claim_source(const std::string& source);
  void clean();
  Result<void> retain_bases();
  Result<void> release_bases(Transaction& transaction, const std::vector<NodeId>& older);

  StateDirectory directory_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<FileBatch> batch_;
  mutable ReadPool reads_;
  SyncEpochs epochs_;
  ContentStore contents_;
  DirtyFiles dirty_;
  mutable NewFiles new_files_;
  StoredLocalChanges local_;
  StoredPendingChanges pending_;
  StoredCacheSpace cache_;
  std::unique_ptr<Connection> cleaner_;  // of the housekeeper
  XattrLeftovers xattr_leftovers_;       // likewise
  std::unique_ptr<Housekeeper> housekeeper_;
};

}  // namespace rsyncfs
