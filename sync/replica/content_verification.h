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
                     PlaceInFile place);
  StoredVerification(const StoredVerification&) = delete;
  StoredVerification& operator=(const StoredVerification&) = delete;
  ~StoredVerification() override;
  Result<bool> step(uint64_t bytes) override;
  ContentCheck check() const override { return check_; }

 private:
  struct Digest;
  Result<void> look_at(size_t block, const ExtentSet::Range& part);
  Result<void> finish();

  ContentRepair& repair_;
  const ContentRow row_;
  const std::shared_ptr<const Content> content_;
  const PlaceInFile place_;
  std::optional<DiskReader> file_;
  ContentSums sums_;                // and those that were missing
  std::unique_ptr<Digest> digest_;  // of all so far; none: nothing to compare it with
  ContentCheck check_;
  std::vector<size_t> suspects_;
  uint64_t position_ = 0;
  size_t range_ = 0;  // of the extents
  std::vector<std::byte> bytes_;
};

}  // namespace rsyncfs
