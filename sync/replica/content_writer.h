// SPDX-License-Identifier: GPL-3.0-or-later
// The ContentWriter of this store: memory first, a block file when the content is no small one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/block_files.h"
#include "sync/replica/content.h"
#include "sync/replica/running_sums.h"
#include "sync/replica/types.h"

namespace rsyncfs {

class ContentStore;

class StoredContentWriter final : public ContentWriter {
 public:
  // `version`: of the node now.
  StoredContentWriter(ContentStore& store, NodeId node, const FileVersion& version, uint64_t expected_size)
      : store_(store),
        node_(node),
        version_(version),
        expected_size_(expected_size),
        sums_(ContentSums(expected_size)) {}
  StoredContentWriter(const StoredContentWriter&) = delete;
  StoredContentWriter& operator=(const StoredContentWriter&) = delete;
  ~StoredContentWriter() override;
  // Goes to a block file from the first byte.
  Result<void> use_block_file();
  // Goes on with a block file in which `present` is there. The file is closed for this writer alone.
  Result<void> adopt(BlockFiles::Created file, const ExtentSet& present, const ContentSums& sums);

  Result<void> write(uint64_t offset, std::span<const std::byte> data) override;
  Result<void> read(uint64_t offset, std::span<std::byte> out) const override;
  ExtentSet extents() const override { return written_; }
  Result<void> discard(uint64_t begin, uint64_t end) override;
  Result<void> commit_partial() override;

  // All of [0, size) is here; the file ends there from now on. kUsage when bytes are missing.
  Result<void> end_at(uint64_t size);
  // After end_at().
  const ContentSums& sums() const { return ended_sums_; }
  const FileVersion& version() const { return version_; }
  bool in_memory() const { return !file_.has_value(); }
  std::span<const std::byte> bytes() const { return small_; }
  uint64_t block_file() const { return file_ ? file_->id : 0; }

 private:
  Result<void> write_blocks(uint64_t offset, std::span<const std::byte> data);
  Result<ContentSums> sums_of_written(uint64_t size);

  ContentStore& store_;
  const NodeId node_;
  const FileVersion version_;
  const uint64_t expected_size_;
  ExtentSet written_;
  ExtentSet touched_;      // where the block file may hold something else than zeros
  bool recorded_ = false;  // commit_partial() has told of this file
  std::vector<std::byte> small_;
  std::optional<BlockFiles::Created> file_;
  RunningSums sums_;  // of what went to the block file
  ContentSums ended_sums_;
};

}  // namespace rsyncfs
