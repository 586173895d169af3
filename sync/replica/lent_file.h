// SPDX-License-Identifier: GPL-3.0-or-later
// A block file that somebody outside of the store reads by a descriptor: the kernel, for the users of the
// mount (FUSE_PASSTHROUGH). It shows what users see of the file for as long as it is lent. So the store does
// not change it: before the first change of the file's bytes the content moves to a block file of its own
// (ContentStore::move_from()), and from then on the lent one follows each change that was made. Nobody else
// refers to it by then, and it goes with its last reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/base/result.h"
#include "sync/replica/block_files.h"
#include "sync/replica/content.h"
#include "sync/replica/local_changes.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

class ContentStore;

// With the file's changes() (sync/replica/dirty_file.h), but for follow_growth().
class LentFile final : public LentContent {
 public:
  LentFile(ContentStore& store, NodeId node, uint64_t block_file, OwnedFd fd)
      : store_(store), node_(node), block_file_(block_file), fd_(std::move(fd)) {}
  LentFile(const LentFile&) = delete;
  LentFile& operator=(const LentFile&) = delete;
  ~LentFile() override;

  int fd() const override { return fd_.get(); }
  NodeId node() const { return node_; }
  uint64_t block_file() const { return block_file_; }

  Result<void> write(uint64_t offset, std::span<const std::byte> data);
  Result<void> resize(uint64_t size);
  // `size`: of the file afterwards.
  Result<void> allocate(AllocateMode mode, uint64_t offset, uint64_t length, uint64_t size);
  // The source's version got longer: what was added is in `from`. With the writer held.
  Result<void> follow_growth(int from, uint64_t begin, uint64_t end);
  // Up to out.size() bytes; fewer at the end.
  Result<size_t> read(uint64_t offset, std::span<std::byte> out) const;

 private:
  Result<void> cut(uint64_t size);

  ContentStore& store_;
  const NodeId node_;
  const uint64_t block_file_;
  const OwnedFd fd_;
};

}  // namespace rsyncfs
