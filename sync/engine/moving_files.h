// SPDX-License-Identifier: GPL-3.0-or-later
// While a push of ours moves a file, or the directory that it is in, it is neither where base says nor, for
// certain, where it goes. What fails for that is asked once more, a moment later.
#pragma once

#include <chrono>
#include <map>

#include "sync/engine/push_fences.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread only.
class MovingFiles {
 public:
  MovingFiles(const EngineContext& context, const PushFences& fences) : context_(context), fences_(fences) {}
  ~MovingFiles();
  MovingFiles(const MovingFiles&) = delete;
  MovingFiles& operator=(const MovingFiles&) = delete;

  // A request that began at `began`, when base had the file in `directory`, failed for this reason.
  bool may_have_moved(const Error& why, NodeId directory, Clock::time_point began) const;
  // Calls `again` a moment later, unless the request is canceled: then `give_up`.
  void ask_again(RequestId id, Task again, UniqueFunction<void(const Error&)> give_up);
  bool cancel(RequestId id);
  void fail_everything(const Error& why);
  bool waiting() const { return !waiting_.empty(); }

 private:
  struct Request {
    TimerId timer = 0;
    Task again;
    UniqueFunction<void(const Error&)> give_up;
  };

  const EngineContext& context_;
  const PushFences& fences_;
  std::multimap<RequestId, Request> waiting_;
};

}  // namespace rsyncfs
