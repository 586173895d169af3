// SPDX-License-Identifier: GPL-3.0-or-later
// The ContentVerification of this store.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/content_repair.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/disk_reader.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

class StoredVerification final : public ContentVerification {
 public:
  // `row` with sums and digest, as it is while `content` shows it; `content` keeps the bytes where they are.
  StoredVerification(ContentRepair& repair, ContentRow row, std::shared_ptr<const Content> content,
                     PlaceInFile place, FileBatch& batch);
  StoredVerification(const StoredVerification&) = delete;
  StoredVerification& operator=(const StoredVerification&) = delete;
  ~StoredVerification() override;
  Result<bool> step(uint64_t bytes) override;
  ContentCheck check() const override { return check_; }

  // Before the first step: what that looks at first is read with the others of `reads`. False: it is not
  // asked for there.
  bool ask_ahead(DiskReads& reads);
  // What became of it.
  void take_ahead(const DiskReads::Part& read);

 private:
  struct Digest;
  struct Part {
    size_t block = 0;
    ExtentSet::Range range;
    uint64_t length() const { return range.end - range.begin; }
  };
  std::optional<Part> next_part();
  Result<void> open();
  Result<uint64_t> look_at_some(uint64_t most_bytes);
  void look_at(const Part& part, const DiskReads::Part& read);
  Result<void> finish();

  ContentRepair& repair_;
  const ContentRow row_;
  const std::shared_ptr<const Content> content_;
  const PlaceInFile place_;
  std::optional<DiskReader> file_;
  bool missing_ = false;  // there is no such file
  DiskReads reads_;
  ContentSums sums_;                // and those that were missing
  std::unique_ptr<Digest> digest_;  // of all so far; none: nothing to compare it with
  ContentCheck check_;
  std::vector<size_t> suspects_;
  uint64_t position_ = 0;
  size_t range_ = 0;  // of the extents
  // Read before the first step.
  std::optional<Part> ahead_;
  DiskReads::Part ahead_read_;
  std::vector<std::byte> ahead_bytes_;
};

}  // namespace rsyncfs
