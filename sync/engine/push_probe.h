// SPDX-License-Identifier: GPL-3.0-or-later
// Whether the source takes changes at all, asked before somebody makes some in vain: by moving, or removing,
// a name that nothing has.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "sync/engine/push_run.h"

namespace rsyncfs {

// Loop thread only. What the server turns out to do is noted in the pool's features.
class PushProbe {
 public:
  // `name`: a spare one. `done`: once, never from inside the constructor's call.
  PushProbe(const EngineContext& context, PushSessions& sessions, std::string name,
            UniqueFunction<void(Result<void>)> done);
  ~PushProbe();
  PushProbe(const PushProbe&) = delete;
  PushProbe& operator=(const PushProbe&) = delete;

  void tick(Clock::time_point now, std::chrono::milliseconds stall) {
    if (run_) run_->tick(now, stall);
  }

 private:
  void ask(PushKind kind);
  void answered(PushKind kind, const Result<void>& end);

  const EngineContext& context_;
  PushSessions& sessions_;
  const std::string name_;
  UniqueFunction<void(Result<void>)> done_;
  std::unique_ptr<PushRun> run_;
};

// The module is read only.
bool is_read_only(const Error& why);

}  // namespace rsyncfs
