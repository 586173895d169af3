// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/moving_files.h"

#include <utility>

namespace rsyncfs {

namespace {
constexpr std::chrono::milliseconds kMoment{50};
}

MovingFiles::~MovingFiles() {
  for (auto& [id, request] : waiting_) context_.loop.cancel_timer(request.timer);
}

bool MovingFiles::may_have_moved(const Error& why, NodeId directory, Clock::time_point began) const {
  switch (why.code()) {
    case Errc::kVanished:
    case Errc::kChanged:
    case Errc::kNotFound:
    case Errc::kNotDirectory:
      break;
    default:
      return false;
  }
  return Clock::now() - began < context_.options.timeout && fences_.stale(directory, began);
}

void MovingFiles::ask_again(RequestId id, Task again, UniqueFunction<void(const Error&)> give_up) {
  const auto at = waiting_.emplace(id, Request{0, std::move(again), std::move(give_up)});
  at->second.timer = context_.loop.run_after(kMoment, [this, at] {
    Task call = std::move(at->second.again);
    waiting_.erase(at);
    call();
  });
}

bool MovingFiles::cancel(RequestId id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return false;
  context_.loop.cancel_timer(found->second.timer);
  auto give_up = std::move(found->second.give_up);
  waiting_.erase(found);
  give_up(Error(Errc::kCanceled, "interrupted"));
  return true;
}

void MovingFiles::fail_everything(const Error& why) {
  auto requests = std::exchange(waiting_, {});
  for (auto& [id, request] : requests) {
    context_.loop.cancel_timer(request.timer);
    request.give_up(why);
  }
}

}  // namespace rsyncfs
