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

  // All bytes of a small file, if it was read whole a moment ago; once.
  std::optional<std::vector<std::byte>> take_kept() const;

  DirtyFile& file() const { return *file_; }
  const DirtyFile::View& view() const { return view_; }
  const std::optional<Layer>& layer() const { return layer_; }
  LayerStack stack() const;

 private:
  DirtyStore& store_;
  const std::shared_ptr<DirtyFile> file_;
  const DirtyFile::View view_;
  const Node node_;
  const BaseNode base_;
  const std::optional<Layer> layer_;
  uint64_t base_limit_ = 0;
  ExtentSet changed_;
  mutable std::mutex kept_mutex_;  // guards kept_
  mutable std::optional<std::vector<std::byte>> kept_;
};

// Seals what was written to each file since its last snapshot, many in one transaction. kRefused while
// another snapshot of it lives, kNotFound when nothing differs.
std::vector<Result<std::shared_ptr<PushSnapshot>>> take_snapshots(
    DirtyStore& store, std::span<const std::shared_ptr<DirtyFile>> files);

}  // namespace rsyncfs
