// SPDX-License-Identifier: GPL-3.0-or-later
// The bytes of files that users of the mount changed: for each such file one or two sparse layers over the
// bytes of the base version, each a block file and the ranges that it has.
//   layer 1, "open": takes the writes;
//   layer 0, "sealed": a PushSnapshot shows it and what lies below; unchanged until the source has it, or the
//   snapshot is released.
// A byte is looked up from the top: in a layer's ranges; else, if it lies below that layer's base_limit, one
// further down; else it is zero. The base is what `contents` has for the node, complete or not.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/content_store.h"
#include "sync/replica/dirty_file.h"
#include "sync/replica/dirty_registry.h"
#include "sync/replica/layer_rows.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/pending.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/sync_epochs.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it. Any thread. The methods are those of LocalChanges and PendingChanges of the
// same name.
class DirtyFiles {
 public:
  DirtyFiles(const StateDirectory& directory, Writer& writer, ReadPool& reads, SyncEpochs& epochs,
             ContentStore& contents, FileBatch& batch)
      : store_{directory, writer, reads, contents, batch, OpenFiles(directory)},
        epochs_(epochs),
        registry_(store_) {}

  // Before anything else, after ContentStore::recover(): finishes or takes back what a killed process had
  // begun.
  Result<void> recover();

  Result<Node> write(NodeId file, uint64_t offset, std::span<const std::byte> data,
                     uint32_t clear_permissions);
  Result<Node> resize(NodeId file, uint64_t size, uint32_t clear_permissions);
  Result<Node> allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length,
                        uint32_t clear_permissions);
  // Replica's methods of the same kind.
  Result<std::shared_ptr<LentContent>> lend(NodeId file);
  Result<void> prepare_lent(NodeId file);
  Result<bool> take_mapped(NodeId file);
  void watch_new_names(LocalChanges::NewNameWatch watch) { new_name_ = std::move(watch); }
  std::shared_ptr<const DirtyContent> dirty(NodeId file) const { return registry_.dirty_file(file); }
  Result<void> sync(NodeId node);
  Result<void> sync_all();
  // All bytes that are committed are on the disk, before the database moves its log. Any thread.
  Result<void> close_epoch();

  std::vector<Result<std::shared_ptr<PushSnapshot>>> snapshots(std::span<const NodeId> files);
  void read_ahead(std::span<const std::shared_ptr<PushSnapshot>> snapshots);
  Result<void> pushed(std::span<const PushedContent> files);

  // Within a transaction, the node being dropped or taken over by another version: its layers go.
  Result<void> discard(Transaction& transaction, NodeId node) { return erase_layers(transaction, node); }
  // The writer tells of every commit.
  void committed(const Aftermath& aftermath);

 private:
  // Are the bytes of its content nowhere else, the source having another version or none?
  Result<bool> is_only_copy(NodeId node) const;
  Result<void> sync_names();
  // Makes the change, and tells of the name that the file got with it.
  template <class Act>
  Result<Node> change(NodeId file, uint32_t clear_permissions, const Act& act);

  DirtyStore store_;
  SyncEpochs& epochs_;
  mutable DirtyRegistry registry_;
  LocalChanges::NewNameWatch new_name_;
  std::atomic<bool> directories_synced_ = false;
  std::atomic<bool> rewrite_all_ = false;  // the last epoch could not be synced
};

}  // namespace rsyncfs
