// SPDX-License-Identifier: GPL-3.0-or-later
// PushSnapshot of this store: the sealed layer of a file, over the base.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "sync/replica/dirty_file.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// All bytes of a small file, in memory.
struct KeptBytes {
  std::shared_ptr<std::byte[]> owner;  // NOLINT: of how many, nobody but `bytes` has to know
  std::span<const std::byte> bytes;
};

class StoredSnapshot final : public PushSnapshot {
 public:
  // `layer`: a copy of the sealed one, none if the bytes are those of the base. With the file's changes();
  // while it lives, no other is made.
  StoredSnapshot(DirtyStore& store, std::shared_ptr<DirtyFile> file, const DirtyFile::View& view,
                 const Node& node, const BaseNode& base, std::optional<Layer> layer);
  StoredSnapshot(const StoredSnapshot&) = delete;
  StoredSnapshot& operator=(const StoredSnapshot&) = delete;
  ~StoredSnapshot() override;

  const Node& node() const override { return node_; }
  const BaseNode& base() const override { return base_; }
  uint64_t base_limit() const override { return base_limit_; }
  const ExtentSet& changed() const override { return changed_; }
  Result<void> read(uint64_t offset, std::span<std::byte> out) const override;
  bool complete() const override;
  Result<bool> read_base(uint64_t offset, std::span<std::byte> out) const override;

  // What keep() was given, or what was read whole a moment ago; once.
  std::optional<KeptBytes> take_kept() const;
  void keep(KeptBytes bytes) const;
  // The block file that has all of the file's bytes, if it is a small one that is not kept; 0: there is none.
  uint64_t small_file() const;

  DirtyFile& file() const { return *file_; }
  const DirtyFile::View& view() const { return view_; }
  const std::optional<Layer>& layer() const { return layer_; }
  LayerStack stack() const;

 private:
  bool copy_kept(std::span<std::byte> out) const;

  DirtyStore& store_;
  const std::shared_ptr<DirtyFile> file_;
  const DirtyFile::View view_;
  const Node node_;
  const BaseNode base_;
  const std::optional<Layer> layer_;
  uint64_t base_limit_ = 0;
  ExtentSet changed_;
  mutable std::mutex kept_mutex_;  // guards kept_
  mutable std::optional<KeptBytes> kept_;
};

// Seals what was written to each file since its last snapshot, many in one transaction. kRefused while
// another snapshot of it lives, kNotFound when nothing differs.
std::vector<Result<std::shared_ptr<PushSnapshot>>> take_snapshots(
    DirtyStore& store, std::span<const std::shared_ptr<DirtyFile>> files);

// Keeps those of small_file(), read many at once. They are let go as they are read, where too much is kept.
void keep_small(DirtyStore& store, std::span<const StoredSnapshot* const> snapshots);

}  // namespace rsyncfs
