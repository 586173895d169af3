// SPDX-License-Identifier: GPL-3.0-or-later
// Complete whole files on their way to the store: gathered for a moment, then recorded in one transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sync/engine/waiters.h"
#include "sync/engine/whole_file.h"

namespace rsyncfs {

// Loop thread only.
class WholeStore {
 public:
  using Batch = std::vector<WholeFilePtr>;
  // On the loop, for each batch: it is recorded, or none of it is.
  using Stored = std::function<void(const Batch& batch, const Result<void>& result)>;

  WholeStore(const EngineContext& context, Stored stored) : context_(context), stored_(std::move(stored)) {}
  ~WholeStore();
  WholeStore(const WholeStore&) = delete;
  WholeStore& operator=(const WholeStore&) = delete;

  void add(WholeFilePtr file);
  // Hands on what has gathered.
  void flush();
  // The disk does not keep up: nothing more should be asked for.
  bool full() const;

 private:
  EngineContext context_;
  Stored stored_;
  Batch gathered_;
  uint64_t bytes_ = 0;           // gathered and on the store strand
  uint64_t gathered_bytes_ = 0;  // of them not on the strand yet
  TimerId flush_timer_ = 0;
};

}  // namespace rsyncfs
