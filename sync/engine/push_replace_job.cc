// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_replace_job.h"

#include <algorithm>
#include <map>
#include <utility>

namespace rsyncfs {

namespace {

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace

PushReplaceJob::PushReplaceJob(const Surroundings& around, PushBatch batch, bool again, Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)), again_(again) {}

PushReplaceJob::PushReplaceJob(const Surroundings& around, PushBatch batch, const NodeAttributes& attr,
                               std::string beside, Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)),
      again_(false),
      attr_(attr),
      beside_(std::move(beside)) {}

void PushReplaceJob::start() {
  gather([this] {
    if (facts().empty() && again_) return clear_spare([this] { finish(); });
    if (facts().empty()) return finish();
    if (again_) return clear_spare([this] { look_first(); });
    if (!attr_) return look_first();
    going_ = facts();
    next_directory();
  });
}

void PushReplaceJob::look_first() {
  std::vector<std::string> paths;
  for (const StepFacts& facts : facts()) {
    paths.push_back(facts.step.path);
    paths.push_back(facts.step.from_path);
  }
  look_before(
      std::move(paths), [this](const Findings& found) { return all_as_expected(found); }, {},
      [this](const Findings& found) { judge(found); });
}

bool PushReplaceJob::all_as_expected(const Findings& found) const {
  for (size_t i = 0; i < facts().size(); ++i) {
    const StepFacts& facts = this->facts()[i];
    const RemoteFinding& at = found[2 * i];
    const RemoteFinding& from = found[2 * i + 1];
    const bool from_fits = from.entry && facts.at_source && facts.at_source->matches(*from.entry);
    if (!from_fits || !at.entry || !facts.occupant || !facts.occupant->matches(*at.entry)) return false;
  }
  return true;
}

void PushReplaceJob::judge(const Findings& found) {
  for (size_t i = 0; i < facts().size(); ++i) {
    const StepFacts& facts = this->facts()[i];
    const RemoteFinding& at = found[2 * i];
    const RemoteFinding& from = found[2 * i + 1];
    if (at.unknown || from.unknown) {
      fail(facts.step, at.unknown ? *at.unknown : *from.unknown);
    } else if (!facts.at_source || !from.entry || !facts.at_source->matches(*from.entry)) {
      outcome().collisions.push_back(
          {facts.step.from_parent, facts.step.from_name, facts.step.from_path, from.entry});
    } else if (!at.entry || (facts.occupant && facts.occupant->matches(*at.entry)) ||
               (again_ && facts.at_source->matches(*at.entry))) {
      going_.push_back(facts);
    } else {
      collide(facts.step, at);
    }
  }
  next_directory();
}

std::string PushReplaceJob::spare_path() const {
  const std::string directory = directory_of(beside_.empty() ? batch().steps.front().path : beside_);
  return directory.empty() ? batch().spare : directory + "/" + batch().spare;
}

void PushReplaceJob::next_directory() {
  if (going_.empty()) return record();
  const NodeId directory = going_.front().step.parent;
  const auto others = std::stable_partition(
      going_.begin(), going_.end(), [&](const StepFacts& facts) { return facts.step.parent == directory; });
  together_.assign(std::make_move_iterator(going_.begin()), std::make_move_iterator(others));
  going_.erase(going_.begin(), others);
  try_moving(directory_of(together_.front().step.path), [this] { link(); });
}

// False: the job has ended.
bool PushReplaceJob::went_on(const PushRunResult& result) {
  if (result.end) return true;
  // A server that refuses an option has done nothing.
  if (result.end.error().code() == Errc::kUnsupported) outcome().unfinished = false;
  break_off(result.end.error());
  return false;
}

void PushReplaceJob::clear_spare(Task then) {
  PushConfig config;
  config.kind = PushKind::kDelete;
  config.force = true;
  config.entries.emplace_back().path = spare_path();
  push(std::move(config), [this, then = std::move(then)](const PushRunResult& result) mutable {
    if (!went_on(result)) return;
    outcome().unfinished = !was_removed(result, {spare_path()});
    then();
  });
}

void PushReplaceJob::link() {
  PushConfig config;
  config.kind = PushKind::kLink;
  std::map<std::string, uint32_t> groups;
  for (const StepFacts& facts : together_) {
    const NodeAttributes& attr = attr_ ? *attr_ : facts.base.attr;
    const auto group = static_cast<uint32_t>(groups.size() + 1);
    const auto [known, is_new] = groups.emplace(facts.step.from_path, group);
    if (is_new) config.entries.push_back(link_entry(attr, facts.step.from_path, group));
    config.entries.push_back(link_entry(attr, spare_path() + "/" + facts.step.name, known->second));
  }
  outcome().unfinished = true;
  push(std::move(config), [this](const PushRunResult& result) { linked(result); });
}

void PushReplaceJob::linked(const PushRunResult& result) {
  if (!went_on(result)) return;
  std::map<std::string, uint32_t> groups;
  size_t entry = 0;
  linked_.clear();
  for (const StepFacts& facts : together_) {
    if (groups.emplace(facts.step.from_path, 0).second) ++entry;
    const size_t at = entry++;
    const auto why = result.errors.about(spare_path() + "/" + facts.step.name);
    if (why || result.declined[at] || !(result.succeeded[at] || result.mentioned[at])) {
      fail(facts.step, why ? *why : result.errors.last("the source did not link it"));
    } else {
      linked_.push_back(facts);
    }
  }
  if (linked_.empty()) return clear_spare([this] { next_directory(); });
  move_over();
}

void PushReplaceJob::move_over() {
  PushConfig config;
  config.kind = PushKind::kMove;
  config.root = spare_path();
  config.backup_dir = relative_path(spare_path(), directory_of(linked_.front().step.path));
  for (const StepFacts& facts : linked_) config.entries.emplace_back().path = facts.step.name;
  push(std::move(config), [this](const PushRunResult& result) { moved(result); });
}

void PushReplaceJob::moved(const PushRunResult& result) {
  if (!went_on(result)) return;
  for (const StepFacts& facts : linked_) {
    if (result.deleted.contains(facts.step.name)) {
      done_.push_back(facts);
    } else {
      const auto why = result.errors.about(facts.step.name);
      fail(facts.step, why ? *why : result.errors.last("the source did not move it"));
    }
  }
  clear_spare([this] { next_directory(); });
}

void PushReplaceJob::record() {
  if (done_.empty()) return finish();
  outcome().done += done_.size();
  for (const StepFacts& facts : done_) outcome().pushed.push_back(facts.step.node);
  if (attr_) return finish();
  Acknowledged news;
  for (const StepFacts& facts : done_)
    news.names.push_back({facts.step.parent, facts.step.name, facts.step.node});
  acknowledge(std::move(news), [this] { finish(); });
}

}  // namespace rsyncfs
