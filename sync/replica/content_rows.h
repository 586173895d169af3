// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of each node's content, as rows.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "io/base/result.h"
#include "sync/replica/content_sums.h"
#include "sync/replica/database.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

struct ContentRow {
  NodeId node = 0;
  BytesPlace place;      // place.size: of the whole file
  uint64_t present = 0;  // bytes that are here
  bool complete = false;
  bool sound = true;        // false: the row makes no sense, only erase_content() is of use
  ExtentSet extents;        // partial ones only
  std::string digest_name;  // complete ones only
  std::string digest;
  ContentSums sums;  // of `place.size`, or none

  ExtentSet whole_or_part() const;  // what is here
};

// Digest and sums are not read.
Result<std::optional<ContentRow>> find_content(Connection& db, NodeId node);
// Those of the content that the row is about; what is stored otherwise counts as unknown.
Result<ContentSums> find_sums(Connection& db, const ContentRow& row);
// Into the row: digest_name and digest.
Result<void> read_digest(Connection& db, ContentRow& row);
// Nothing else of the content changes, but whoever has it mapped may compare it with other sums.
Result<void> put_sums(Transaction& transaction, NodeId node, const ContentSums& sums);
// Takes the place of what the node had.
Result<void> put_content(Transaction& transaction, const ContentRow& row);
// Nothing happens when the node has none.
Result<void> erase_content(Transaction& transaction, NodeId node);

}  // namespace rsyncfs
