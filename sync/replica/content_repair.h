// SPDX-License-Identifier: GPL-3.0-or-later
// What is done about contents that the disk did not keep as they were written, and about sums that are
// missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/content_sums.h"
#include "sync/replica/read_pool.h"
#include "sync/replica/replica.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/types.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

class ContentStore;

// Any thread that has no transaction. The references must outlive it.
class ContentRepair {
 public:
  ContentRepair(const StateDirectory& directory, Writer& writer, ReadPool& reads, FileBatch& batch,
                ContentStore& store)
      : directory_(directory), writer_(writer), reads_(reads), batch_(batch), store_(store) {}

  // Looks once more at blocks that seemed damaged, with nobody changing them: those that are count as absent
  // from then on. How many bytes that were; what nobody else has is only told.
  Result<uint64_t> settle(NodeId node, const std::vector<size_t>& blocks);
  // Of a content that came to be by a push: of its blocks without a sum, up to `bytes` of them. True: these
  // have one now, and there may be more.
  Result<bool> fill_sums(NodeId node, uint64_t bytes);
  Result<std::unique_ptr<ContentVerification>> verify(NodeId node);
  void read_ahead(std::span<ContentVerification* const> verifications);
  // Every sum is that of the bytes that are there; kCorrupt otherwise.
  Result<void> check_sums() const;

  // For a verification: the sums that it made of `content`, if that is still what the node has.
  // False: it is not, or users are changing it.
  Result<bool> add_sums(NodeId node, const std::shared_ptr<const Content>& content, const ContentSums& sums);
  // The digest of the whole is another one. How many bytes went.
  Result<uint64_t> drop(NodeId node, const std::shared_ptr<const Content>& content);

 private:
  // So much is read with the writer held.
  static constexpr uint64_t kSettledAtOnceBytes = 4 << 20;

  Result<void> check_sums_of(Connection& db, NodeId node) const;
  Result<uint64_t> settle_some(NodeId node, const std::vector<size_t>& blocks);
  Result<ExtentSet> find_damage(const ContentRow& row, const ContentSums& sums,
                                const std::vector<size_t>& blocks) const;
  Result<uint64_t> forget(Transaction& transaction, ContentRow row, ContentSums sums,
                          const ExtentSet& damaged);
  // With the writer held: nobody changes the bytes that `content` shows.
  Result<bool> is_at_rest(Connection& db, NodeId node, const std::shared_ptr<const Content>& content);

  const StateDirectory& directory_;
  Writer& writer_;
  ReadPool& reads_;
  FileBatch& batch_;
  ContentStore& store_;
};

// Where the bytes are, and what comes before them in that file.
struct PlaceInFile {
  std::string path;
  uint64_t offset = 0;
};
PlaceInFile file_of(const StateDirectory& directory, const BytesPlace& place);

}  // namespace rsyncfs
