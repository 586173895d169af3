// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_outlook.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "sync/engine/push_names_job.h"

namespace rsyncfs {

namespace {

using std::chrono::milliseconds;

// Findings of a look are good for a second: RecentFindings.
constexpr milliseconds kLongestLead{400};
constexpr milliseconds kSlack{5};  // for the plan, and the server's own work
// Before that users may still be at it: then what is looked at is not all that will be due.
constexpr milliseconds kLongestLeadForMany{150};
constexpr milliseconds kLeastPause{20};  // between two plans, and a multiple of what one takes
constexpr int kPauseFactor = 2;
// What TCP sends before anything is acknowledged (RFC 6928), and each round trip twice as much as in the one
// before.
constexpr size_t kNamesOfFirstFlight = 600;
constexpr size_t kMostFlights = 4;
constexpr size_t kFilesOfASession = 16;

// That a batch opens at once, or one right after the other.
size_t sessions_of(const PushBatch& batch) {
  switch (batch.action) {
    case PushAction::kRenameDirectory:
      return 3;
    case PushAction::kData:
      return std::clamp<size_t>(batch.steps.size() / kFilesOfASession, 1, 3);
    default:
      return 1;
  }
}

}  // namespace

PushOutlook::PushOutlook(const EngineContext& context, PushSessions& sessions, RecentFindings& recent,
                         Owner owner)
    : context_(context), sessions_(sessions), recent_(recent), owner_(std::move(owner)) {}

PushOutlook::~PushOutlook() {
  close();
}

// Before any session there is no telling. Many names go out, and come back, in some flights more.
Clock::duration PushOutlook::lead() const {
  const Clock::duration opening = sessions_.pool().opening_time();
  if (opening == Clock::duration::zero()) return opening;
  const Clock::duration lead = std::min<Clock::duration>(opening + opening / 4 + kSlack, kLongestLead);
  const uint64_t names = context_.replica.pending().summary().names;
  size_t further = 0;
  for (size_t sent = kNamesOfFirstFlight; sent < names && further < kMostFlights; ++further)
    sent = 2 * sent + kNamesOfFirstFlight;
  return std::max(lead, std::min<Clock::duration>(lead + 2 * further * opening, kLongestLeadForMany));
}

void PushOutlook::expect(Clock::time_point due) {
  const auto now = Clock::now();
  const Clock::duration ahead = lead();
  if (ahead == Clock::duration::zero() || due <= now) return;
  if (timer_ != 0) {
    if (due_ <= due) return;
    context_.loop.cancel_timer(timer_);
  }
  due_ = due;
  const auto begins = std::max(due - ahead, next_plan_);
  const auto wait = std::max<Clock::duration>(begins - now, milliseconds(1));
  timer_ = context_.loop.run_after(wait, [this, due] {
    timer_ = 0;
    begin(due);
  });
}

void PushOutlook::begin(Clock::time_point due) {
  if (look_ || !owner_.is_free()) return;
  owner_.plan(due, [this, due, began = Clock::now(), alive = alive_](Result<PushPlan> plan) {
    if (!*alive) return;
    next_plan_ = Clock::now() + std::max<Clock::duration>(kPauseFactor * (Clock::now() - began), kLeastPause);
    planned(due, std::move(plan));
  });
}

void PushOutlook::planned(Clock::time_point due, Result<PushPlan> plan) {
  if (!plan || !plan->batch || look_ || !owner_.is_free()) return;
  const PushBatch& batch = *plan->batch;
  const bool removes = batch.action == PushAction::kDelete;
  if (!removes) sessions_.ready().want(std::min(sessions_of(batch), sessions_.pool().most()));
  if (!plan->looks.empty() && !recent_.find(plan->looks, due)) {
    look_due_ = due;
    look(std::move(plan->looks));
  }
  if (removes) sessions_.prepare(PushNamesJob::deletion(batch, sessions_.pool().features()));
}

void PushOutlook::look(std::vector<std::string> paths) {
  const auto began = Clock::now();
  look_ = std::make_unique<RemoteCheck>(
      context_, sessions_.pool(), paths,
      [this, paths, began](Result<std::vector<RemoteFinding>> found) mutable {
        context_.loop.post(
            [over = std::shared_ptr<RemoteCheck>(std::move(look_))]() mutable { over.reset(); });
        // Otherwise the push looks itself, and hears what is wrong.
        for (size_t i = 0; found && i < paths.size(); ++i)
          recent_.put(paths[i], std::move((*found)[i]), began);
        owner_.looked();
      });
}

void PushOutlook::close() {
  *alive_ = false;
  if (timer_ != 0) context_.loop.cancel_timer(std::exchange(timer_, 0));
  look_.reset();
}

}  // namespace rsyncfs
