// SPDX-License-Identifier: GPL-3.0-or-later
// One file with local changes of its bytes, in memory: what the tables `layers` and `layer_extents` say of
// it.
//
// Locks, in this order: changes(), the Writer, the file's state (inside). Readers hold the state still while
// they read, for no longer than the disk takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "io/file_batch.h"
#include "sync/replica/content_store.h"
#include "sync/replica/layer_rows.h"
#include "sync/replica/layer_stack.h"
#include "sync/replica/open_files.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// What all dirty files of a store share.
struct DirtyStore {
  const StateDirectory& directory;
  Writer& writer;
  ReadPool& reads;
  ContentStore& contents;
  FileBatch& batch;
  OpenFiles files;
};

struct DirtyState {
  uint64_t size = 0;    // of the file as users see it
  bool absent = false;  // the source had no such file when this was loaded
  std::optional<Layer> open;
  std::optional<Layer> sealed;
  std::optional<FileDigest> acknowledged;  // of the sealed layer
  // Ranges of the open layer that were on the disk were cut off since the log was synced: after a power cut
  // they may be back, and must not be found zeroed.
  bool cut_synced = false;
  bool has_layers() const { return open.has_value() || sealed.has_value(); }
};

// Any thread.
class DirtyFile final : public DirtyContent {
 public:
  DirtyFile(DirtyStore& store, NodeId node) : store_(store), node_(node) {}
  DirtyFile(const DirtyFile&) = delete;
  DirtyFile& operator=(const DirtyFile&) = delete;
  ~DirtyFile() override = default;
  NodeId node() const { return node_; }

  uint64_t size() const override;
  Result<size_t> read(uint64_t offset, std::span<std::byte> out, std::vector<ExtentSet::Range>& missing,
                      const BaseBytes* base) const override;
  uint64_t seek_data(uint64_t offset) const override;
  uint64_t seek_hole(uint64_t offset) const override;

  // Held by the one who changes the file's bytes.
  std::mutex& changes() { return changes_; }
  // A copy of the state without the extents, and the generation that it is of. kNotFound: there is no such
  // node (ESTALE).
  struct View {
    uint64_t generation = 0;
    uint64_t size = 0;
    bool absent = false;
    bool cut_synced = false;
    std::optional<LayerRow> open;
    std::optional<LayerRow> sealed;
  };
  Result<View> view();
  // With a transaction and changes(): nothing was dropped since, the layers are those of the view.
  bool is_current(const View& view) const;
  // Looks at the state; `look` must not wait for other locks.
  template <class Look>
  auto look(const Look& look) const {
    const std::shared_lock lock(mutex_);
    return look(static_cast<const DirtyState&>(state_));
  }
  // Makes it what was just committed; with the transaction still held.
  template <class Change>
  void change(const Change& change) {
    const std::unique_lock lock(mutex_);
    ++version_;
    change(state_);
  }
  // A commit took all layers away.
  void drop();

  std::atomic<bool> snapshot_lives = false;
  std::vector<uint64_t> entries_synced;  // with changes(): block files whose names are on the disk
  // The last attempt to sync the layers failed.
  std::atomic<bool> sync_failed = false;

 private:
  using SharedLock = std::shared_lock<std::shared_mutex>;
  // The state, loaded and held still.
  Result<SharedLock> hold() const;
  Result<void> load() const;
  Result<DirtyState> read_state() const;
  Result<DirtyState> read_rows(Connection& db) const;
  LayerStack stack() const;

  DirtyStore& store_;
  const NodeId node_;
  std::mutex changes_;
  mutable std::shared_mutex mutex_;
  mutable bool loaded_ = false;  // guarded by mutex_
  uint64_t generation_ = 0;      // guarded by mutex_: rises when everything is dropped
  uint64_t version_ = 0;         // guarded by mutex_: rises with every change
  mutable DirtyState state_;     // guarded by mutex_
};

}  // namespace rsyncfs
