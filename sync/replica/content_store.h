// SPDX-License-Identifier: GPL-3.0-or-later
// Contents as a whole: their rows, the files that their bytes are in, and the maps through which they are
// read.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/block_files.h"
#include "sync/replica/block_guard.h"
#include "sync/replica/content_cache.h"
#include "sync/replica/content_repair.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/content_writer.h"
#include "sync/replica/disk_usage.h"
#include "sync/replica/housekeeper.h"
#include "sync/replica/lent_file.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/replica.h"
#include "sync/replica/slabs.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/sync_epochs.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it. Any thread.
class ContentStore {
 public:
  ContentStore(const StateDirectory& directory, Writer& writer, ReadPool& reads, SyncEpochs& epochs,
               FileBatch& batch, size_t max_maps, uint64_t max_mapped_bytes);
  ContentStore(const ContentStore&) = delete;
  ContentStore& operator=(const ContentStore&) = delete;
  ~ContentStore() { stop(); }

  // Before anything else; then `housekeeper` may be used, and must live as long as there are commits.
  Result<void> recover();
  void start(Housekeeper& housekeeper);
  // Contents that others still hold do not ask for the housekeeper any more.
  void stop() { damage_->close(); }

  Result<std::shared_ptr<const Content>> content(NodeId node);
  Result<ContentState> state(NodeId node) const;
  Result<std::unique_ptr<ContentWriter>> create(NodeId node, uint64_t expected_size,
                                                const std::optional<FileVersion>& shown = std::nullopt);
  Result<std::unique_ptr<ContentWriter>> resume(NodeId node, uint64_t expected_size);
  Result<std::unique_ptr<ContentWriter>> extend(NodeId node, uint64_t expected_size);
  Result<bool> grow(Replica::FinishedContent grown, const FileVersion& before);
  // `older` gets the nodes whose contents were their bases.
  Result<void> finish(std::vector<Replica::FinishedContent> finished, std::vector<NodeId>& older);

  // What was found damaged of the node counts as absent from now on. Without a transaction of the caller's.
  Result<void> settle_damage(NodeId node);
  Result<std::unique_ptr<ContentVerification>> verify(NodeId node) { return repair_.verify(node); }
  void read_ahead(std::span<ContentVerification* const> verifications) { repair_.read_ahead(verifications); }
  // For Replica::check(): every sum is that of the bytes that are there.
  Result<void> check_sums() const { return repair_.check_sums(); }
  // Later, on the housekeeper's thread: the sums of blocks that have none.
  void fill_sums(NodeId node);
  // Nothing of the node's content has changed since it was given out.
  bool is_current(NodeId node, const std::shared_ptr<const Content>& content) {
    return cache_.find(node) == content;
  }

  // ---- contents that are read without asking the store: sync/replica/lent_file.h ----
  // With the file's changes(), of a node of that size without local changes of its bytes. Null: not now.
  Result<std::shared_ptr<LentFile>> lend(NodeId node, uint64_t size);
  std::shared_ptr<LentFile> lent(NodeId node) const;  // null: it is not
  // With the file's changes(), before the first change: the content is in another block file from then on.
  Result<void> move_from(const LentFile& lent);
  void lent_is_back(const LentFile& lent);

  // For StoredContentWriter.
  BlockFiles& block_files() { return blocks_; }
  // False: not recorded, because more is here already, or nobody wants it any more.
  Result<bool> record_partial(NodeId node, const FileVersion& version, const BytesPlace& place,
                              const ExtentSet& written, ContentSums sums);

  // Complete contents of at most kSlabMaxFileBytes each, once in a transaction; small_stored() once it is
  // committed, with the writer still held. `row`: all but the place and what follows from it.
  struct SmallContent {
    ContentRow row;
    std::span<const std::byte> bytes;
  };
  Result<void> put_small(Transaction& transaction, std::vector<SmallContent> contents);
  void small_stored() { slabs_.committed(); }

  DiskUsage& usage() { return *usage_; }
  Slabs& slabs() { return slabs_; }
  // Returns when what was committed before is off the disk, but for what is still mapped.
  void bury();
  // The housekeeper does it, or it is done now.
  void post(const std::function<void()>& task);

  // The writer tells of every commit: first the one, then the other.
  void forget_maps(const Aftermath& aftermath) { cache_.drop(aftermath.contents_changed); }
  void committed(const Aftermath& aftermath);

 private:
  Result<std::optional<ContentRow>> read_row(NodeId node, bool with_sums = false) const;
  // Without the row's sums nothing is compared.
  Result<std::shared_ptr<const Content>> open(const ContentRow& row);
  Result<std::shared_ptr<LentFile>> lend_now(NodeId node, uint64_t size, const ContentRow& row);
  Result<void> copy_content(const ContentRow& row, int from);
  Result<void> put_copy(const ContentRow& copied, uint64_t block_file);
  Result<std::unique_ptr<StoredContentWriter>> make_writer(
      NodeId node, uint64_t expected_size, const std::optional<FileVersion>& shown = std::nullopt);
  Result<void> put_finished(Transaction& transaction, std::vector<Replica::FinishedContent>& finished,
                            std::vector<NodeId>& older);
  void distrust(NodeId node, const Error& why);
  void settle_all_damage();
  void sweep();

  const StateDirectory& directory_;
  Writer& writer_;
  ReadPool& reads_;
  SyncEpochs& epochs_;
  Housekeeper* housekeeper_ = nullptr;
  const std::shared_ptr<DiskUsage> usage_;
  BlockFiles blocks_;
  Slabs slabs_;
  ContentCache cache_;
  ContentRepair repair_;
  const std::shared_ptr<DamageReports> damage_;  // contents may outlive the store
  std::mutex settle_mutex_;                      // before the writer
  static constexpr size_t kMaxLent = 512;        // a descriptor each
  mutable std::mutex lent_mutex_;
  std::unordered_map<NodeId, std::weak_ptr<LentFile>> lent_;  // guarded by lent_mutex_
  std::atomic<size_t> lent_count_{0};                         // its size, changed under lent_mutex_
  // What no committed row speaks of any more.
  struct Dead {
    std::vector<BytesPlace> holes;
    std::vector<uint64_t> files;
    std::vector<uint64_t> slabs;
    bool empty() const { return holes.empty() && files.empty() && slabs.empty(); }
  };
  std::mutex bury_mutex_;  // before dead_mutex_: one buries at a time
  std::mutex dead_mutex_;
  Dead dead_;  // guarded by dead_mutex_
};

}  // namespace rsyncfs
