// SPDX-License-Identifier: GPL-3.0-or-later
// What can be got ready for a push before it is due: connections, and the look at what it is to replace. It
// begins so long before as a session takes to open, so that the look is as fresh as one that is made then:
// the server answers it about when it would hear the first question otherwise.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/push_plan.h"
#include "sync/engine/push_sessions.h"
#include "sync/engine/recent_findings.h"
#include "sync/engine/remote_check.h"

namespace rsyncfs {

// Loop thread only.
class PushOutlook {
 public:
  // Makes the plan of that moment; never from inside the call. It is not asked while something else is under
  // way, nor for a mount in which nothing waits to be pushed.
  using Planned = UniqueFunction<void(Result<PushPlan>)>;
  struct Owner {
    std::function<bool()> is_free;
    std::function<void(Clock::time_point due, Planned planned)> plan;
    std::function<void()> looked;
  };

  PushOutlook(const EngineContext& context, PushSessions& sessions, RecentFindings& recent, Owner owner);
  ~PushOutlook();
  PushOutlook(const PushOutlook&) = delete;
  PushOutlook& operator=(const PushOutlook&) = delete;

  // Something may be due then.
  void expect(Clock::time_point due);
  // It is being looked for what is due now, or nearly: whoever is about to push that waits for Owner::looked.
  bool looking(Clock::time_point now) const { return look_ && look_due_ <= now + kNearly; }
  // Something is pushed: what is seen meanwhile may be older than that.
  void discard() { look_.reset(); }
  void close();

 private:
  static constexpr std::chrono::milliseconds kNearly{25};  // timers are not that exact

  Clock::duration lead() const;
  void begin(Clock::time_point due);
  void planned(Clock::time_point due, Result<PushPlan> plan);
  void look(std::vector<std::string> paths);

  const EngineContext& context_;
  PushSessions& sessions_;
  RecentFindings& recent_;
  const Owner owner_;
  TimerId timer_ = 0;
  Clock::time_point due_{};
  Clock::time_point next_plan_{};  // not before that
  std::unique_ptr<RemoteCheck> look_;
  Clock::time_point look_due_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
