// SPDX-License-Identifier: GPL-3.0-or-later
// What the store does when the source has acknowledged the bytes of a snapshot: they become the content of
// the node, and the sealed layer goes. What was written since stays above it.
//
// How, depends on what is the least to be copied:
//   - files that are small now become small contents, layer and base together;
//   - a layer that has all of the file, but for little, is given the rest and becomes the content;
//   - otherwise the layer is written into the block file of the content (sync/replica/layer_merge.h);
//   - where the store has nothing of the base, the layer alone becomes a partial content.
#pragma once

#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/layer_rows.h"
#include "sync/replica/pending.h"
#include "sync/replica/push_snapshot.h"

namespace rsyncfs {

// The references must outlive it. Used once.
class PushFinish {
 public:
  PushFinish(DirtyStore& store, const StoredSnapshot& snapshot, const BaseNode& now, FileDigest digest,
             const std::vector<Binding>& names);

  // kNotFound: the node's changes were dropped meanwhile.
  Result<void> run();

  // ---- instead, for several in one transaction ----
  const StoredSnapshot& snapshot() const { return snapshot_; }
  bool is_small() const { return snapshot_.layer().has_value() && size_ <= kSlabMaxFileBytes; }
  Result<void> read_small();
  // With the transaction. False: run() is to be called.
  bool is_current() const { return snapshot_.file().is_current(snapshot_.view()); }
  // For ContentStore::put_small(); none if not all bytes are here.
  std::optional<ContentStore::SmallContent> small_content() const;
  // What else there is to be done of it.
  Result<void> end_small(Transaction& transaction);

 private:
  Result<void> adopt();
  Result<void> of_removed(Transaction& transaction);
  Result<void> without_layer();
  Result<void> as_small();
  // False: it does not have what it needs for that.
  Result<bool> make_whole();
  Result<void> as_content();
  Result<void> into_content();
  Result<void> forget_sums(Transaction& transaction);
  Result<void> bind_names(Transaction& transaction);
  ContentRow content_row() const;

  DirtyStore& store_;
  const StoredSnapshot& snapshot_;
  const BaseNode now_;
  const FileDigest digest_;
  const std::vector<Binding>& names_;
  const uint64_t size_;
  LayerRow row_;
  std::optional<KeptBytes> small_;  // all bytes of the file, if they are here
};

// Those that can be are done, in one transaction; returns the others, for run().
std::vector<PushFinish*> finish_together(DirtyStore& store, std::vector<PushFinish*> small);

}  // namespace rsyncfs
