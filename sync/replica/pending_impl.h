// SPDX-License-Identifier: GPL-3.0-or-later
// PendingChanges as this store keeps them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sync/replica/dirty_files.h"
#include "sync/replica/new_files.h"
#include "sync/replica/pending.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it. Any thread.
class StoredPendingChanges final : public PendingChanges {
 public:
  StoredPendingChanges(Writer& writer, ReadPool& reads, DirtyFiles& files, NewFiles& new_files)
      : writer_(writer), reads_(reads), files_(files), new_files_(new_files) {}

  PendingSummary summary() const override;
  Result<std::vector<PendingName>> names(size_t skip, size_t limit) const override;
  Result<std::vector<PendingNode>> nodes(size_t skip, size_t limit) const override;
  Result<std::optional<PendingNode>> node(NodeId node) const override;
  Result<uint64_t> removals() const override;
  Result<NodeId> base_binding(NodeId parent, std::string_view name) const override;
  Result<NodeId> local_binding(NodeId parent, std::string_view name) const override;
  Result<std::vector<Binding>> base_names_of(NodeId node, size_t limit) const override;
  Result<std::vector<Binding>> local_names_of(NodeId node, size_t limit) const override;
  Result<std::vector<Binding>> base_children(NodeId directory, size_t limit) const override;
  Result<BaseNode> base_of(NodeId node) const override;
  Result<RemotePlace> remote_place(NodeId node) const override;
  Result<std::string> remote_path(NodeId parent, std::string_view name) const override;

  std::vector<Result<std::shared_ptr<PushSnapshot>>> snapshots(std::span<const NodeId> files) override {
    return files_.snapshots(files);
  }
  void read_ahead(std::span<const std::shared_ptr<PushSnapshot>> snapshots) override {
    files_.read_ahead(snapshots);
  }
  using PendingChanges::pushed;
  Result<void> pushed(std::vector<PushedContent> files) override;
  Result<void> acknowledge(const Acknowledged& news) override;

  Result<std::vector<NameChange>> keep_both(NodeId parent, std::string_view name, const ListedName* theirs,
                                            std::string_view copy_name) override;
  Result<std::vector<NameChange>> keep_ours(NodeId parent, std::string_view name,
                                            const ListedName* theirs) override;
  Result<std::vector<NameChange>> take_theirs(NodeId parent, std::string_view name,
                                              const ListedName* theirs) override;

  Result<void> record_conflict(const ConflictRecord& record) override;
  Result<std::vector<ConflictRecord>> conflicts(size_t limit) const override;
  Result<void> clear_conflicts(const std::vector<uint64_t>& ids) override;

 private:
  // Calls body(Connection&) with a read connection; both give a Result. What was made since the last settle()
  // need not be there: whoever asks has not heard of it.
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
  // The same, with all in the database that there is of this node.
  template <class Body>
  auto reading_of(NodeId node, const Body& body) const -> decltype(body(std::declval<Connection&>())) {
    return new_files_.has(node) ? reading_all(body) : reading(body);
  }
  // Who reads all rows in portions finds those that there were at the beginning.
  Result<void> begin_scan(size_t skip) const { return skip == 0 ? new_files_.settle() : Result<void>(); }
  // One transaction: body(Transaction&) gives a Result, and without an error it is committed.
  template <class Body>
  auto changing(const Body& body) -> decltype(body(std::declval<Transaction&>())) {
    auto transaction = writer_.begin();
    if (!transaction) return transaction.error();
    if (auto aged = (*transaction)->inherit_age(); !aged) return aged.error();
    auto result = body(**transaction);
    if (!result) return result;
    if (auto done = (*transaction)->commit(); !done) return done.error();
    return result;
  }

  Writer& writer_;
  ReadPool& reads_;
  DirtyFiles& files_;
  NewFiles& new_files_;
};

}  // namespace rsyncfs
