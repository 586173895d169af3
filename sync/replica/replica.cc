// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/stat.h>

#include <cerrno>
#include <ctime>

#include "io/base/log.h"
#include "sync/replica/bases.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/content_version.h"
#include "sync/replica/id_names.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/orphans.h"
#include "sync/replica/reconcile.h"
#include "sync/replica/replica_impl.h"
#include "sync/replica/schema.h"
#include "sync/replica/self_check.h"
#include "sync/replica/xattr_sets.h"

namespace rsyncfs {
namespace {

constexpr size_t kCleanerCacheBytes = 64 << 10;
// The log may grow to this (64 MiB) while there are always writers.
constexpr int kMaxLogPages = 16384;

// Settings of the user's share a table with our own.
std::string user_key(std::string_view key) {
  return "user." + std::string(key);
}

constexpr Sql kPutXattrValue{"INSERT OR REPLACE INTO xattr_values(digest, size, value) VALUES(?, ?, ?)"};

class StoredBatch final : public Replica::Batch {
 public:
  StoredBatch(std::unique_ptr<Transaction> transaction, DirtyFiles& files)
      : transaction_(std::move(transaction)), files_(files) {}

  Result<DirectoryChanges> apply_directory(NodeId directory, const std::vector<ListedName>& names,
                                           bool complete, HardLinkGroups& groups,
                                           std::vector<NodeId>& nodes_out) override {
    Reconciler reconciler(*transaction_, files_, directory, groups, std::time(nullptr));
    if (may_hold_) reconciler.hold_growths(may_hold_);
    return judged(reconciler.run(names, complete, nodes_out));
  }

  void hold_growths(MayHold may_hold) override { may_hold_ = std::move(may_hold); }

  Result<std::vector<NameChange>> apply_attributes(NodeId node, const ListedName& self) override {
    return judged(apply_own_attributes(*transaction_, node, self));
  }

  Result<void> commit() override {
    auto done = transaction_->commit();
    return done;
  }

 private:
  // After a failure of the disk the batch is half done, and must not be committed.
  template <class T>
  Result<T> judged(Result<T> result) {
    if (!result && result.error().code() != Errc::kNotFound && result.error().code() != Errc::kProtocol) {
      transaction_->fail(result.error());
    }
    return result;
  }
  std::unique_ptr<Transaction> transaction_;
  DirtyFiles& files_;
  MayHold may_hold_;
};

}  // namespace

Result<std::unique_ptr<Replica>> Replica::open(const ReplicaOptions& options) {
  auto directory = StateDirectory::open(options.directory);
  if (!directory) return directory.error();
  auto db = Connection::open(directory->database(), Connection::Mode::kWrite, options.sqlite_cache_bytes);
  if (!db) return db.error();
  if (auto done = prepare_schema(**db); !done) return done.error().with_context(options.directory);
  auto writer = Writer::open(std::move(*db));
  if (!writer) return writer.error();
  auto files = make_file_batch(options.io);
  if (!files) return files.error();
  auto replica = std::make_unique<StoredReplica>(std::move(*directory), std::move(*writer),
                                                 std::move(files->batch), options);
  if (auto done = replica->start(options); !done) return done.error();
  return std::unique_ptr<Replica>(std::move(replica));
}

StoredReplica::StoredReplica(StateDirectory directory, std::unique_ptr<Writer> writer,
                             std::unique_ptr<FileBatch> batch, const ReplicaOptions& options)
    : directory_(std::move(directory)),
      writer_(std::move(writer)),
      batch_(std::move(batch)),
      reads_(directory_.database(), options.read_connections, options.sqlite_cache_bytes),
      epochs_(directory_, *writer_, *batch_),
      contents_(directory_, *writer_, reads_, epochs_, *batch_, options.max_maps, options.max_mapped_bytes),
      dirty_(directory_, *writer_, reads_, epochs_, contents_, *batch_),
      new_files_(directory_, *writer_, reads_, contents_.block_files()),
      local_(*writer_, dirty_, new_files_),
      pending_(*writer_, reads_, dirty_, new_files_),
      cache_(directory_, *writer_, reads_, contents_),
      xattr_leftovers_(*writer_) {
  writer_->after_commit([this](const Aftermath& aftermath) {
    // In this order: who finds no local changes any more finds the new content, and who finds a file finds it
    // still there.
    contents_.forget_maps(aftermath);
    for (const auto& step : aftermath.then) step();
    dirty_.committed(aftermath);
    contents_.committed(aftermath);
  });
}

Result<void> StoredReplica::start(const ReplicaOptions& options) {
  if (auto done = claim_source(options.source); !done) return done;
  const std::string boot = boot_id();
  auto same_boot = epochs_.is_of(boot);
  if (!same_boot) return same_boot.error();
  if (auto done = epochs_.recover(boot); !done) return done;
  if (auto done = contents_.recover(); !done) return done;
  if (auto done = cache_.recover(); !done) return done;
  if (auto done = dirty_.recover(); !done) return done;
  if (auto done = retain_bases(); !done) return done;
  if (auto done = new_files_.recover(*same_boot); !done) return done;
  auto cleaner = Connection::open(directory_.database(), Connection::Mode::kWrite, kCleanerCacheBytes);
  if (!cleaner) return cleaner.error();
  cleaner_ = std::move(*cleaner);
  housekeeper_ = std::make_unique<Housekeeper>([this] { clean(); });
  contents_.start(*housekeeper_);
  writer_->db().on_commit([](void* self, int pages) { static_cast<Housekeeper*>(self)->log_grew(pages); },
                          housekeeper_.get());
  new_files_.start();
  return {};
}

StoredReplica::~StoredReplica() {
  if (housekeeper_ == nullptr) return;
  new_files_.finish();
  if (auto done = cache_.finish(); !done)
    log_warn("which files were used is not recorded: " + done.error().message());
  contents_.stop();
  housekeeper_->finish();
  if (auto done = dirty_.close_epoch(); !done) log_error(done.error().message());
}

Result<void> StoredReplica::claim_source(const std::string& source) {
  auto stored = read_setting(writer_->db(), "source");
  if (!stored) return stored.error();
  if (!stored->has_value()) return write_setting(writer_->db(), "source", source);
  if (**stored == source) return {};
  return Error(Errc::kRefused, directory_.path() + " is the store of " + **stored + ", not of " + source);
}

Result<std::shared_ptr<LentContent>> StoredReplica::lend_content(NodeId id) {
  if (new_files_.has(id)) return std::shared_ptr<LentContent>();
  return dirty_.lend(id);
}

void StoredReplica::clean() {
  if (auto done = dirty_.close_epoch(); !done) log_error(done.error().message());
  if (auto done = xattr_leftovers_.sweep(*cleaner_); !done) log_error(done.error().message());
  auto left = cleaner_->checkpoint();
  if (left && *left > kMaxLogPages) {
    // Writers were always in between, so the log could not begin anew: keep them out once.
    auto transaction = writer_->begin();
    if (transaction) left = cleaner_->checkpoint();
  }
  if (!left) log_error(left.error().message());
}

Result<Node> StoredReplica::node(NodeId id) const {
  if (auto made = new_files_.find(id)) return *made;
  auto found = reading([id](Connection& db) { return find_node(db, id); });
  if (!found) return found.error();
  if (!found->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
  return **found;
}

Result<Node> StoredReplica::lookup(NodeId parent, std::string_view name) const {
  const Error none = Error(Errc::kNotFound, "no such name").with_errno(ENOENT);
  bool nowhere = false;
  if (auto made = new_files_.find(parent, name, nowhere)) return *made;
  if (nowhere) return none;
  auto found = reading([parent, name](Connection& db) { return find_name(db, parent, name); });
  if (!found) return found.error();
  if (!found->has_value()) return none;
  // A directory may have changed since.
  return new_files_.find((*found)->id).value_or(**found);
}

Result<std::string> StoredReplica::link_target(NodeId id) const {
  return reading_all([id](Connection& db) { return read_link_target(db, id); });
}

Result<StoredXattrs> StoredReplica::xattrs(NodeId id) const {
  return reading_all([id](Connection& db) -> Result<StoredXattrs> {
    auto node = find_node(db, id);
    if (!node) return node.error();
    if (!node->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
    return read_xattr_set(db, (*node)->xattr_set);
  });
}

Result<std::unique_ptr<Replica::Batch>> StoredReplica::begin() {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  return std::unique_ptr<Batch>(std::make_unique<StoredBatch>(std::move(*transaction), dirty_));
}

Result<void> StoredReplica::store_xattr_value(std::string_view digest, uint64_t size,
                                              std::string_view value) {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  Query put((*transaction)->db(), kPutXattrValue);
  put.blob(digest).unsigned_integer(size).blob(value);
  if (auto done = put.run(); !done) return done;
  put.reset();
  return (*transaction)->commit();
}

Result<void> StoredReplica::store_id_names(const std::map<uint32_t, std::string>& users,
                                           const std::map<uint32_t, std::string>& groups) {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  if (auto done = merge_id_names(**transaction, users, groups); !done) return done;
  return (*transaction)->commit();
}

Result<std::pair<IdNames, IdNames>> StoredReplica::id_names() const {
  return reading([](Connection& db) { return read_id_names(db); });
}

Result<bool> StoredReplica::note_seen(NodeId id, const FileVersion& version) {
  if (!writer_->seen_nodes().note(id)) return false;
  // A transaction that gave it another version before is over now, so that shows.
  auto now = reading([id](Connection& db) { return content_version(db, id); });
  if (!now) return now.error();
  return *now == version;
}

Result<void> StoredReplica::drop_content(NodeId id) {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  auto version = content_version((*transaction)->db(), id);
  if (!version) return version.error();
  if (!version->has_value()) {
    auto content = find_content((*transaction)->db(), id);
    if (!content) return content.error();
    if (content->has_value()) return Error(Errc::kRefused, "nobody else has these bytes");
  }
  writer_->seen_nodes().note(id);
  if (auto done = erase_content(**transaction, id); !done) return done;
  return (*transaction)->commit();
}

// The kernel holds none of them.
Result<void> StoredReplica::retain_bases() {
  auto nodes = orphaned_bases(writer_->db());
  if (!nodes) return nodes.error();
  for (const NodeId node : *nodes) writer_->retained_nodes().retain(node);
  return {};
}

Result<void> StoredReplica::release_bases(Transaction& transaction, const std::vector<NodeId>& older) {
  std::vector<NodeId> doomed;
  for (const NodeId node : older) {
    if (transaction.writer().retained_nodes().has(node)) doomed.push_back(node);
  }
  auto deleted = delete_orphans(transaction, doomed, dirty_);
  return deleted ? Result<void>() : deleted.error();
}

Result<std::shared_ptr<const Content>> StoredReplica::basis(NodeId id) {
  auto older = reading([id](Connection& db) { return find_basis(db, id); });
  if (!older) return older.error();
  if (!older->has_value()) return std::shared_ptr<const Content>();
  return contents_.content(**older);
}

Result<void> StoredReplica::drop_basis(NodeId id) {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  auto older = erase_basis(**transaction, id);
  if (!older) return older.error();
  if (!older->has_value()) return {};
  if (auto done = release_bases(**transaction, {**older}); !done) return done;
  return (*transaction)->commit();
}

Result<void> StoredReplica::finish_contents(std::vector<FinishedContent> finished) {
  std::vector<NodeId> older;
  if (auto done = contents_.finish(std::move(finished), older); !done || older.empty()) return done;
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  if (auto done = release_bases(**transaction, older); !done) return done;
  return (*transaction)->commit();
}

Result<void> StoredReplica::forget_orphans(const std::vector<NodeId>& nodes) {
  // The kernel forgets in masses, and mostly what still has its name.
  if (nodes.empty() || writer_->totals().orphans == 0) return {};
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  if (auto done = delete_orphans(**transaction, nodes, dirty_); !done) return done.error();
  return (*transaction)->commit();
}

Result<size_t> StoredReplica::purge_orphans(size_t limit) {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  auto nodes = some_orphans((*transaction)->db(), limit);
  if (!nodes) return nodes.error();
  auto deleted = delete_orphans(**transaction, *nodes, dirty_);
  if (!deleted) return deleted;
  if (auto done = (*transaction)->commit(); !done) return done.error();
  return deleted;
}

Result<std::optional<std::string>> StoredReplica::meta(std::string_view key) const {
  return reading([key](Connection& db) { return read_setting(db, user_key(key)); });
}

Result<void> StoredReplica::set_meta(std::string_view key, std::string_view value) {
  auto transaction = writer_->begin();
  if (!transaction) return transaction.error();
  if (auto done = write_setting((*transaction)->db(), user_key(key), value); !done) return done;
  return (*transaction)->commit();
}

Result<ReplicaStatistics> StoredReplica::statistics() const {
  if (auto done = new_files_.settle(); !done) return done.error();
  const Totals totals = writer_->totals();
  return ReplicaStatistics{static_cast<uint64_t>(totals.nodes), static_cast<uint64_t>(totals.cached_bytes),
                           static_cast<uint64_t>(totals.cached_files),
                           static_cast<uint64_t>(totals.partial_files)};
}

Result<void> StoredReplica::check_records() const {
  return reading_all([](Connection& db) { return check_database(db); });
}

Result<void> StoredReplica::check() const {
  auto done = check_records();
  return done ? contents_.check_sums() : done;
}

}  // namespace rsyncfs
