// SPDX-License-Identifier: GPL-3.0-or-later
// The layers of local changes of bytes (sync/replica/dirty_files.h), as rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/layer_extents.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

enum LayerNumber : uint8_t { kSealedLayer = 0, kOpenLayer = 1 };

// A digest of a whole file: the algorithm in rsync's words, and the raw bytes.
struct FileDigest {
  std::string name;
  std::string bytes;
};

struct LayerRow {
  NodeId node = 0;
  LayerNumber number = kOpenLayer;
  uint64_t block_file = 0;  // 0: nothing was written to it yet
  uint64_t size = 0;        // sealed: of the file when it was sealed. Open: 0, the node has it
  uint64_t base_limit = 0;
  // Sealed: the source has it. What is left to do is to bring its bytes down to the base.
  std::optional<FileDigest> acknowledged;
};

// The sealed one first.
Result<std::vector<LayerRow>> find_layers(Connection& db, NodeId node);
Result<std::vector<LayerRow>> acknowledged_layers(Connection& db);
Result<std::vector<NodeId>> nodes_with_layers(Connection& db);
// Takes the place of the row that is there.
Result<void> put_layer(Transaction& transaction, const LayerRow& row);
// The open layer becomes the sealed one.
Result<void> seal_layer(Transaction& transaction, NodeId node, uint64_t size);
// The row, and its extents. The block file stays: it is for something else, or free_layer_file() follows.
Result<void> erase_layer(Transaction& transaction, const LayerRow& row);
void free_layer_file(Transaction& transaction, uint64_t block_file);
// All layers of a node that is dropped, or is to show what the source has.
Result<void> erase_layers(Transaction& transaction, NodeId node);

Result<LayerExtents> read_extents(Connection& db, uint64_t block_file);
Result<void> write_extents(Transaction& transaction, uint64_t block_file, const LayerExtents::Plan& plan);

}  // namespace rsyncfs
