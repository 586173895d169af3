// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that wait for the remote: each has a deadline and is answered exactly once.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "io/base/buffer_pool.h"
#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/cache_budget.h"
#include "sync/engine/file_target.h"
#include "sync/engine/local_only.h"
#include "sync/engine/syncer.h"

namespace rsyncfs {

template <class T>
struct Waiter {
  RequestId id = 0;
  Clock::time_point since;
  Clock::time_point deadline;
  Done<T> done;
};

// Answers all of `waiters` with `error`, after emptying the list: an answer may lead to new requests.
template <class W>
void fail_all(std::vector<W>& waiters, const Error& error) {
  std::vector<W> gone = std::exchange(waiters, {});
  for (auto& waiter : gone) waiter.done(error);
}

// Takes the waiters that `test` picks out of the list.
template <class W, class Test>
std::vector<W> take_if(std::vector<W>& waiters, Test test) {
  std::vector<W> taken;
  std::vector<W> kept;
  for (auto& waiter : waiters) (test(waiter) ? taken : kept).push_back(std::move(waiter));
  waiters = std::move(kept);
  return taken;
}

// The limit of a request is one of no progress: `progress` is when something last came for it.
template <class W>
void renew_all(std::vector<W>& waiters, Clock::time_point progress, Clock::duration limit) {
  for (auto& waiter : waiters) waiter.deadline = std::max(waiter.deadline, progress + limit);
}

// What the engine's parts share. References outlive the parts.
struct EngineContext {
  Loop& loop;
  Executor& executor;
  Strand& store;  // every write to the Replica by the engine runs here, in order
  Replica& replica;
  const SyncerOptions& options;
  SyncerEvents& events;
  IdMap& ids;
  CacheBudget& budget;
  BufferPool& buffers;  // for bytes on their way
  const LocalOnly& local_only;

  // Answers from what the Replica has by now; false (and `done` untouched) when not all of it is there. A
  // request may come after the fetch that it would have joined.
  bool answer_stored(NodeId node, uint64_t offset, uint32_t length, Done<ReadBytes>& done) const {
    const auto content = replica.content(node);
    if (!content || !*content) return false;
    const auto view = (*content)->view(offset, length);
    if (!view) return false;
    replica.cache().note_use(node);
    done(ReadBytes{*content, *view});
    return true;
  }

  // It cannot be sent without what it was made to, and as long as it waits its bytes are let go of in no
  // cache: so that is fetched whatever the limits say. Any thread.
  bool is_changed_here(NodeId node) const { return replica.local().dirty(node) != nullptr; }

  // Before the first byte of a fetch is shown to somebody: is the node still of this version? Then it stays
  // so.
  bool may_show(const FileTarget& target) const {
    const auto seen = replica.note_seen(target.node, target.version());
    return seen && *seen;
  }

  std::string patience() const {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(options.timeout).count()) + " s";
  }
};

}  // namespace rsyncfs
