// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_review_job.h"

#include <utility>

#include "sync/engine/push_rescue_job.h"

namespace rsyncfs {

PushReviewJob::PushReviewJob(const Surroundings& around, PushBatch batch, std::vector<ReviewedPlace> places,
                             SentVersions replaceable, bool broke_off, Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)),
      places_(std::move(places)),
      replaceable_(std::move(replaceable)),
      broke_off_(broke_off) {}

void PushReviewJob::start() {
  if (places_.empty()) return clear();
  std::vector<std::string> paths;
  for (const ReviewedPlace& place : places_) {
    paths.push_back(place.step.path);
    paths.push_back(kept_path(batch(), place.step.path));
  }
  look(std::move(paths), [this](const Findings& found) { judge(found); });
}

void PushReviewJob::judge(const Findings& found) {
  std::vector<ReplacedVersion> others;
  bool any = false;
  for (size_t i = 0; i < places_.size(); ++i) {
    const ReviewedPlace& place = places_[i];
    const RemoteFinding& now = found[2 * i];
    const RemoteFinding& kept = found[2 * i + 1];
    if (kept.unknown) return break_off(*kept.unknown);
    any = any || kept.entry;
    if (kept.entry && !is_expected(place, *kept.entry))
      others.push_back({place.step.parent, place.step.name, place.step.path, *kept.entry});
    // Whoever has put something else there in this moment had not seen ours.
    const bool ours = now.entry && place.pushed && is_as_pushed(*place.pushed, now.entry->attr);
    if (place.pushed && !now.unknown && !ours) collide(place.step, now);
  }
  any || broke_off_ ? rescue(std::move(others)) : finish();
}

bool PushReviewJob::is_expected(const ReviewedPlace& place, const KeptListedName& kept) const {
  return (place.expected && place.expected->matches(kept)) || replaceable_.may_be(place.step.node, kept.attr);
}

void PushReviewJob::rescue(std::vector<ReplacedVersion> others) {
  if (others.empty()) return clear();
  rescue_ = std::make_unique<PushRescueJob>(
      around(), PushBatch(batch()), std::move(others), [this](PushOutcome over) {
        context().loop.post([job = std::shared_ptr<PushJob>(std::move(rescue_))]() mutable { job.reset(); });
        outcome().to_list = std::move(over.to_list);
        outcome().failures = std::move(over.failures);
        if (over.broken) return break_off(*over.broken);
        outcome().failures.empty() ? clear() : finish();
      });
  rescue_->start();
}

void PushReviewJob::clear() {
  PushConfig config;
  config.kind = PushKind::kDelete;
  config.force = true;
  config.entries.emplace_back().path = spare_directory(batch());
  push(std::move(config), [this](const PushRunResult& result) {
    if (!result.end && is_link_error(result.end.error())) return break_off(result.end.error());
    outcome().unfinished = !was_removed(result, {spare_directory(batch())});
    finish();
  });
}

void PushReviewJob::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  PushJob::tick(now, stall);
  if (rescue_) rescue_->tick(now, stall);
}

}  // namespace rsyncfs
