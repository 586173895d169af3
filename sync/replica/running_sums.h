// SPDX-License-Identifier: GPL-3.0-or-later
// The sums of a content that is being written, from what passes by, in whatever pieces that comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "io/base/result.h"
#include "sync/replica/content_sums.h"

namespace rsyncfs {

// One thread at a time.
class RunningSums {
 public:
  explicit RunningSums(ContentSums known);
  ~RunningSums();
  RunningSums(const RunningSums&) = delete;
  RunningSums& operator=(const RunningSums&) = delete;

  // Of a content of which a part is written already; before wrote(). The length stays.
  void go_on_from(ContentSums known);
  void wrote(uint64_t offset, std::span<const std::byte> data);
  void discard(uint64_t begin, uint64_t end);
  // The content will be that long; what comes beyond it is not counted.
  void resize(uint64_t size);
  // Of what is `present`; blocks that did not come from their beginning to their end in order are read.
  using Read = std::function<Result<void>(uint64_t offset, std::span<std::byte> out)>;
  Result<ContentSums> of(const ExtentSet& present, const Read& read);

 private:
  struct Open;
  void wrote_piece(size_t block, uint64_t offset, std::span<const std::byte> data);

  ContentSums sums_;
  std::unique_ptr<Open> open_;  // the block that is coming in order
};

}  // namespace rsyncfs
