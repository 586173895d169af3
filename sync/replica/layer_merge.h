// SPDX-License-Identifier: GPL-3.0-or-later
// Layers that become one with what lies below them. Before a transaction tells of it, bytes are copied only
// to where nobody looks, or where a layer above has the same bytes.
#pragma once

#include <cstdint>
#include <optional>

#include "io/base/result.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/dirty_file.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// With the file's changes(), and no snapshot of it alive: finishes a push that the source acknowledged, or
// makes the layers of one that failed a single open layer. Afterwards there is no sealed layer, or it is the
// only one.
Result<void> settle_sealed(DirtyStore& store, DirtyFile& file);

// The source has the bytes of the sealed layer, and its row says so: they become part of the node's content,
// and the layer goes. Where that fails, the content that the store had goes instead. Can be done again after
// being killed.
Result<void> finish_acknowledged(DirtyStore& store, DirtyFile& file);

// What the content's sums still say once the layer's bytes are in it.
Result<ContentSums> sums_beside(Connection& db, const ContentRow& content, const Layer& layer);

// Within a transaction: takes the sealed layer away, its file too unless that is the content now, and counts
// again what differs from `base`.
enum class LayerFile : uint8_t { kFreed, kKept };
Result<void> erase_sealed(Transaction& transaction, DirtyFile& file, const LayerRow& row, LayerFile what,
                          const std::optional<BaseNode>& base);
// Then commits.
Result<void> end_sealed(Transaction& transaction, DirtyFile& file, const LayerRow& row, LayerFile what,
                        const std::optional<BaseNode>& base);

}  // namespace rsyncfs
