// SPDX-License-Identifier: GPL-3.0-or-later
// The two kinds of Content: a piece of a slab, and a block file.
#pragma once

#include <memory>
#include <string>

#include "io/base/result.h"
#include "sync/replica/block_guard.h"
#include "sync/replica/content.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/slabs.h"

namespace rsyncfs {

class SlabContent final : public Content {
 public:
  // Pins the bytes. kCorrupt when the slab ends before them.
  static Result<std::shared_ptr<const Content>> make(const ContentRow& row, std::shared_ptr<SlabMap> slab,
                                                     const std::shared_ptr<DamageReports>& damage);
  SlabContent(const ContentRow& row, std::shared_ptr<SlabMap> slab,
              const std::shared_ptr<DamageReports>& damage);
  SlabContent(const SlabContent&) = delete;
  SlabContent& operator=(const SlabContent&) = delete;
  ~SlabContent() override;
  uint64_t seek_data(uint64_t offset) const override;
  uint64_t seek_hole(uint64_t offset) const override;

 private:
  std::shared_ptr<SlabMap> slab_;  // none for an empty file
  uint64_t position_;
};

class BlockContent final : public Content {
 public:
  // kNotFound when the file is not there (any more), kCorrupt when it is too short.
  static Result<std::shared_ptr<const Content>> make(const ContentRow& row, std::string path,
                                                     const std::shared_ptr<DamageReports>& damage);
  BlockContent(const ContentRow& row, std::string path, const std::byte* base,
               const std::shared_ptr<DamageReports>& damage);
  BlockContent(const BlockContent&) = delete;
  BlockContent& operator=(const BlockContent&) = delete;
  ~BlockContent() override;
  uint64_t seek_data(uint64_t offset) const override;
  uint64_t seek_hole(uint64_t offset) const override;

 private:
  // No descriptor is kept open: there may be thousands of these.
  std::string path_;
};

}  // namespace rsyncfs
