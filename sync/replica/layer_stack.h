// SPDX-License-Identifier: GPL-3.0-or-later
// Layers of local changes over what the store has of the base, looked through from the top.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/content_store.h"
#include "sync/replica/layer_extents.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/open_files.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Everything from base_limit to the file's end is in the extents.
struct Layer {
  uint64_t block_file = 0;  // 0: no extents
  uint64_t size = 0;        // of the file when the layer was sealed; open ones: 0
  uint64_t base_limit = 0;
  LayerExtents extents;
};

// One look at a file: made for one question, with the layers held still. One thread.
class LayerStack {
 public:
  // `layers`: the top one first. The references must outlive it.
  LayerStack(OpenFiles& files, ContentStore& contents, NodeId node, std::vector<const Layer*> layers,
             uint64_t size)
      : files_(files), contents_(contents), node_(node), layers_(std::move(layers)), size_(size) {}

  // As DirtyContent has them.
  Result<size_t> read(uint64_t offset, std::span<std::byte> out, std::vector<ExtentSet::Range>& missing,
                      const BaseBytes* fresh);
  uint64_t seek_data(uint64_t offset);
  uint64_t seek_hole(uint64_t offset);
  // The bytes of the base that the file needs, of [begin, end), and that are not here.
  Result<void> find_missing(uint64_t begin, uint64_t end, std::vector<ExtentSet::Range>& missing);
  // The base's own bytes. Those beyond its end are zeros.
  Result<void> read_base(uint64_t offset, std::span<std::byte> out, std::vector<ExtentSet::Range>& missing,
                         const BaseBytes* fresh);

 private:
  struct Piece {
    enum class From : uint8_t { kLayer, kBase, kZero };
    From from = From::kZero;
    const Layer* layer = nullptr;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  // The piece that begins at `offset`, at most up to `end`.
  Piece piece_at(uint64_t offset, uint64_t end) const;
  Result<const Content*> base();
  Result<void> fill_from_base(uint64_t offset, std::span<std::byte> out,
                              std::vector<ExtentSet::Range>& missing);
  uint64_t seek_in(const Piece& piece, int whence);
  uint64_t seek(uint64_t offset, int whence);

  OpenFiles& files_;
  ContentStore& contents_;
  const NodeId node_;
  const std::vector<const Layer*> layers_;
  const uint64_t size_;
  bool base_known_ = false;
  std::shared_ptr<const Content> base_;
};

}  // namespace rsyncfs
