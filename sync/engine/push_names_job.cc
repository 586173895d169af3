// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_names_job.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "sync/engine/push_journal.h"

namespace rsyncfs {

namespace {

// Of the removal of a directory that turns out not to be empty. Then it comes back, with what it holds.
constexpr unsigned kMaxFilledAttempts = 2;
constexpr size_t kLevelsAhead = 2;  // sessions that are opened before their turn

PushKind kind_of(PushAction action) {
  switch (action) {
    case PushAction::kCreate:
      return PushKind::kCreate;
    case PushAction::kMove:
      return PushKind::kMove;
    case PushAction::kLink:
      return PushKind::kLink;
    case PushAction::kDelete:
      return PushKind::kDelete;
    default:
      return PushKind::kAttributes;
  }
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// A directory with something that is in it; as far as the server takes the rules for that.
bool goes_as_tree(const PushBatch& batch, const ServerFeatures& features) {
  constexpr size_t kLongestPath = 2'000;  // escaped, it is twice as long at most
  if (!features.trees) return false;
  std::unordered_set<NodeId> going;
  for (const PushStep& step : batch.steps) {
    if (step.path.size() > kLongestPath) return false;
    going.insert(step.node);
  }
  return std::any_of(batch.steps.begin(), batch.steps.end(),
                     [&](const PushStep& step) { return going.contains(step.parent); });
}

}  // namespace

void PushNamesJob::start() {
  gather([this] { look_first(); });
}

// A link compares for itself; what is new, and attributes of directories, are left alone where there is
// something else. Everything else would not be asked.
bool PushNamesJob::checks_by_itself() const {
  switch (action()) {
    case PushAction::kLink:
      return true;
    case PushAction::kCreate:
      return std::none_of(facts().begin(), facts().end(),
                          [](const StepFacts& facts) { return facts.occupant.has_value(); });
    case PushAction::kAttributes:
      return std::all_of(facts().begin(), facts().end(), [](const StepFacts& facts) {
        return facts.at_source && S_ISDIR(facts.entry.mode) && S_ISDIR(facts.at_source->attr.mode);
      });
    default:
      return false;
  }
}

// What is at the place, and for a move what is where it comes from.
void PushNamesJob::look_first() {
  if (facts().empty()) return finish();
  exact_ = action() == PushAction::kDelete && goes_as_tree(batch(), pool().features());
  unlooked_ = checks_by_itself();
  if (unlooked_) {
    for (size_t i = 0; i < facts().size(); ++i) going_.push_back(i);
    return run();
  }
  std::vector<std::string> paths;
  for (const StepFacts& facts : facts()) {
    paths.push_back(facts.step.path.empty() ? "." : facts.step.path);
    if (action() == PushAction::kMove) paths.push_back(facts.step.from_path);
  }
  look_before(
      std::move(paths), [this](const Findings& found) { return all_go(found); }, {{session_config()}},
      [this](const Findings& found) { judge(found); });
}

bool PushNamesJob::all_go(const Findings& found) const {
  const size_t stride = action() == PushAction::kMove ? 2 : 1;
  for (size_t i = 0; i < facts().size(); ++i) {
    if (judge_step(facts()[i], found[i * stride], found[i * stride + stride - 1]) != Verdict::kGo)
      return false;
  }
  return true;
}

void PushNamesJob::judge(const Findings& found) {
  const size_t stride = action() == PushAction::kMove ? 2 : 1;
  for (size_t i = 0; i < facts().size(); ++i) {
    const RemoteFinding& at = found[i * stride];
    const RemoteFinding& from = found[i * stride + stride - 1];
    const StepFacts& facts = this->facts()[i];
    const Verdict verdict = judge_step(facts, at, from);
    if (verdict == Verdict::kCollides || verdict == Verdict::kUnknown)
      staying_.insert(directory_of(facts.step.path));
    switch (verdict) {
      case Verdict::kGo:
        going_.push_back(i);
        break;
      case Verdict::kDone:
        note_done(facts, at.entry ? &*at.entry : nullptr);
        break;
      case Verdict::kCollides:
        note_collision(facts, at, from);
        break;
      case Verdict::kUnknown:
        fail(facts.step, at.unknown ? *at.unknown : *from.unknown);
        break;
    }
  }
  if (action() == PushAction::kDelete) {
    sort_deepest_first();
    exact_ ? leave_out_what_stays() : sort_into_levels();
  }
  going_.empty() ? record() : remember();
}

void PushNamesJob::sort_deepest_first() {
  const auto depth = [this](size_t place) {
    const std::string& path = facts()[place].step.path;
    return std::count(path.begin(), path.end(), '/');
  };
  std::stable_sort(going_.begin(), going_.end(), [&](size_t a, size_t b) { return depth(a) > depth(b); });
}

// Into going_ what has nothing below it that goes, too; into later_ the directories, the deepest first.
void PushNamesJob::sort_into_levels() {
  std::map<std::string, size_t, std::less<>> levels;  // of directories, by what was found below them
  for (const size_t place : std::exchange(going_, {})) {
    const std::string& path = facts()[place].step.path;
    const auto own = levels.find(path);
    const size_t level = own == levels.end() ? 0 : own->second;
    size_t& above = levels[directory_of(path)];
    above = std::max(above, level + 1);
    if (level > later_.size()) later_.resize(level);
    (level == 0 ? going_ : later_[level - 1]).push_back(place);
  }
}

// What has something in it that was to go before it and has not, and what is above that.
void PushNamesJob::leave_out_what_stays() {
  std::erase_if(going_, [this](size_t place) {
    const std::string& path = facts()[place].step.path;
    if (!staying_.contains(path)) return false;
    staying_.insert(directory_of(path));
    return true;
  });
}

// A file whose time is set is another version of it.
bool PushNamesJob::gives_new_time(size_t going) const {
  const StepFacts& facts = facts_of(going);
  if (action() != PushAction::kAttributes || !S_ISREG(facts.local.attr.mode)) return false;
  return !facts.at_source || facts.at_source->attr.mtime_s != facts.local.attr.mtime_s ||
         facts.at_source->attr.mtime_ns != facts.local.attr.mtime_ns;
}

// Before it is there: which versions the source may have from now on.
void PushNamesJob::remember() {
  bool any = false;
  for (size_t i = 0; i < going_.size(); ++i) {
    if (!gives_new_time(i)) continue;
    any = true;
    sent_.put(facts_of(i).step.node, {facts_of(i).local.version(), std::nullopt});
  }
  if (!any) return run();
  on_store<void>(
      [&replica = context().replica, text = sent_.serialize()] { return replica.set_meta(kSentMeta, text); },
      [this](const Result<void>& kept) { kept ? run() : break_off(kept.error()); });
}

// Of a move, the place that is not as it should be.
void PushNamesJob::note_collision(const StepFacts& facts, const RemoteFinding& at,
                                  const RemoteFinding& from) {
  const PushStep& step = facts.step;
  const bool from_fits = from.entry && facts.at_source && facts.at_source->same_type(*from.entry);
  if (action() == PushAction::kMove && !from_fits) {
    outcome().collisions.push_back({step.from_parent, step.from_name, step.from_path, from.entry});
  } else {
    collide(step, at);
  }
}

PushNamesJob::Verdict PushNamesJob::judge_step(const StepFacts& facts, const RemoteFinding& at,
                                               const RemoteFinding& from) const {
  if (at.unknown || from.unknown) return Verdict::kUnknown;
  switch (action()) {
    case PushAction::kCreate:
      return judge_creation(facts, at);
    case PushAction::kMove:
      return judge_move(facts, at, from);
    case PushAction::kDelete:
      if (!at.entry) return Verdict::kDone;
      // What was sent and not acknowledged is ours, too.
      if (!facts.at_source || facts.at_source->matches(*at.entry) ||
          sent_.may_be(facts.step.node, at.entry->attr))
        return Verdict::kGo;
      return Verdict::kCollides;
    default:
      // A regular file of another size is declined by the session.
      return at.entry && facts.at_source && facts.at_source->same_type(*at.entry) ? Verdict::kGo
                                                                                  : Verdict::kCollides;
  }
}

PushNamesJob::Verdict PushNamesJob::judge_creation(const StepFacts& facts, const RemoteFinding& at) {
  if (!at.entry) return Verdict::kGo;
  const ExpectedEntry wanted{facts.local.attr, facts.entry.link_target};
  if (wanted.matches(*at.entry)) return Verdict::kDone;
  return facts.occupant && facts.occupant->matches(*at.entry) ? Verdict::kGo : Verdict::kCollides;
}

PushNamesJob::Verdict PushNamesJob::judge_move(const StepFacts& facts, const RemoteFinding& at,
                                               const RemoteFinding& from) const {
  if (!facts.at_source) return Verdict::kCollides;
  if (!from.entry && at.entry && facts.at_source->matches(*at.entry)) return Verdict::kDone;
  if (!from.entry || !facts.at_source->same_type(*from.entry)) return Verdict::kCollides;
  if (!at.entry) return Verdict::kGo;
  if ((again_ || facts.step.halfway) && S_ISDIR(at.entry->attr.mode) && facts.at_source->same_type(*at.entry))
    return Verdict::kGo;
  return facts.occupant && facts.occupant->matches(*at.entry) ? Verdict::kGo : Verdict::kCollides;
}

void PushNamesJob::run() {
  outcome().unfinished = leaves_traces(batch());
  began_ = Clock::now();
  run_level();
}

void PushNamesJob::run_level() {
  push(make_config(), [this](const PushRunResult& result) { ran(result); });
  if (!later_.empty()) around().sessions.prepare(session_config(), std::min(later_.size(), kLevelsAhead));
}

PushConfig PushNamesJob::deletion(const PushBatch& batch, const ServerFeatures& features) {
  PushConfig config;
  config.kind = PushKind::kDelete;
  config.exact = goes_as_tree(batch, features);
  return config;
}

// All of a batch of moves go from one directory to another.
PushConfig PushNamesJob::session_config() const {
  PushConfig config;
  config.exact = exact_;
  config.kind = kind_of(action());
  if (action() == PushAction::kLink) return config;
  config.only_missing = unlooked_;
  config.only_existing = unlooked_ && action() == PushAction::kAttributes;
  if (action() == PushAction::kMove) {
    const PushStep& first = facts().front().step;
    config.root = directory_of(first.from_path);
    config.backup_dir = relative_path(config.root, directory_of(first.path));
    config.force = true;
  }
  return config;
}

PushConfig PushNamesJob::make_config() {
  PushConfig config = session_config();
  entries_.clear();
  std::unordered_set<std::string> trees;  // what is in them goes with them
  for (const size_t place : going_) {
    if (exact_) trees.insert(facts()[place].step.path);
  }
  if (action() == PushAction::kLink) {
    add_link_entries(config);
    return config;
  }
  for (const size_t place : going_) {
    StepFacts& facts = this->facts()[place];
    entries_.push_back(config.entries.size());
    switch (action()) {
      case PushAction::kMove:
        config.entries.emplace_back().path = facts.step.from_name;
        break;
      case PushAction::kDelete:
        config.entries.emplace_back().path = facts.step.path;
        config.entries.back().within = trees.contains(directory_of(facts.step.path));
        break;
      default:
        config.entries.push_back(facts.entry);
    }
  }
  return config;
}

// The old name of each file once, then its new ones. Both as the source has them: nothing else changes.
void PushNamesJob::add_link_entries(PushConfig& config) {
  std::map<std::string, uint32_t> groups;
  const auto add = [&](const StepFacts& facts, const std::string& path, uint32_t group) {
    config.entries.push_back(link_entry(facts.base.attr, path, group));
  };
  for (const size_t place : going_) {
    const StepFacts& facts = this->facts()[place];
    const auto group = static_cast<uint32_t>(groups.size() + 1);
    const auto [known, is_new] = groups.emplace(facts.step.from_path, group);
    if (is_new) add(facts, facts.step.from_path, group);
    entries_.push_back(config.entries.size());
    add(facts, facts.step.path, known->second);
  }
}

// Directories are not acknowledged one by one: what the source did not complain of by the orderly end is
// done, unless it was free to leave it alone.
bool PushNamesJob::took(const PushRunResult& result, size_t place) const {
  const size_t entry = entries_[place];
  const PushStep& step = facts_of(place).step;
  switch (action()) {
    case PushAction::kMove:
      return result.deleted.contains(step.from_name);
    case PushAction::kDelete:
      return went(result, step.path);
    case PushAction::kCreate:
    case PushAction::kAttributes:
      if (S_ISDIR(facts_of(place).entry.mode))
        return result.end.ok() && !result.errors.about(step.path) && (!unlooked_ || result.mentioned[entry]);
      if (!pool().features().acknowledgements)
        return result.end.ok() && !result.declined[entry] && !result.errors.about(step.path) &&
               (!unlooked_ || result.mentioned[entry]);
      return result.succeeded[entry] && !result.errors.about(step.path);
    default:
      return (result.succeeded[entry] || result.mentioned[entry]) && !result.declined[entry] &&
             !result.errors.about(step.path);
  }
}

// With what it was in, at the latest, if somebody else was faster.
bool PushNamesJob::went(const PushRunResult& result, std::string path) const {
  while (!path.empty()) {
    if (result.deleted.contains(path)) return true;
    if (!exact_) break;
    path = directory_of(path);
  }
  return false;
}

void PushNamesJob::ran(const PushRunResult& result) {
  settle(result);
  // Somebody may have put something else in the place of a directory that was emptied: what takes long is
  // planned, and looked at, again.
  if (Clock::now() - began_ > RecentFindings::kRecent) later_.clear();
  if (result.end && !later_.empty()) {
    going_ = std::move(later_.front());
    later_.erase(later_.begin());
    leave_out_what_stays();
    if (!going_.empty()) return run_level();
    later_.clear();  // what is above them holds them
  }
  if (result.end) {
    outcome().unfinished = false;
  } else {
    ended_ = result.end.error();
    if (ended_->code() == Errc::kUnsupported) outcome().unfinished = false;  // nothing was done
  }
  record();
}

void PushNamesJob::settle(const PushRunResult& result) {
  unexplained_ = result.errors.last("the source did not do it and does not say why");
  for (size_t i = 0; i < going_.size(); ++i) {
    const StepFacts& facts = facts_of(i);
    if (took(result, i)) {
      note_done(facts, nullptr);
      continue;
    }
    if (action() == PushAction::kDelete) staying_.insert(directory_of(facts.step.path));
    if (exact_ && staying_.contains(facts.step.path)) continue;  // for what is in it
    if (const auto why = result.errors.about(facts.step.path)) {
      holds_something_new(*why) ? keep_filled(facts, *why)
                                : fail(facts.step, *why, action() == PushAction::kMove);
    } else if (result.declined[entries_[i]] || (unlooked_ && result.end)) {
      declined_.push_back(facts);
    } else if (result.end) {
      fail(facts.step, unexplained_, action() == PushAction::kMove);
    }
  }
}

// delete.c. Perhaps a server whose connection broke is still about to remove its temporary file.
bool PushNamesJob::holds_something_new(const Error& why) const {
  return action() == PushAction::kDelete && why.message().find("non-empty directory") != std::string::npos;
}

void PushNamesJob::keep_filled(const StepFacts& directory, const Error& why) {
  if (directory.step.failures < kMaxFilledAttempts)
    return fail(directory.step, Error(Errc::kChanged, why.message()));
  RemoteFinding as_known = seen_unchanged(directory.base);
  as_known.entry->xattrs_known = false;
  collide(directory.step, as_known);
  outcome().collisions.back().comes_back = true;
}

void PushNamesJob::note_done(const StepFacts& facts, const KeptListedName* found_done) {
  const PushStep& step = facts.step;
  ++done_;
  outcome().pushed.push_back(step.node);
  if (action() == PushAction::kDelete) {
    news_.names.push_back({step.parent, step.name, 0});
    return;
  }
  if (action() == PushAction::kLink) around().recent.put(step.from_path, seen_unchanged(facts.base), began_);
  if (action() == PushAction::kMove) {
    news_.names.push_back({step.from_parent, step.from_name, 0});
    if (S_ISDIR(facts.local.attr.mode)) news_.remade.push_back({{step.parent, step.name, step.node}, false});
  }
  if (action() != PushAction::kAttributes) news_.names.push_back({step.parent, step.name, step.node});
  if (action() != PushAction::kCreate && action() != PushAction::kAttributes) return;
  if (action() == PushAction::kAttributes) sent_.erase(step.node, facts.local.version());
  const bool exact = pool().features().protocol >= 31;
  if (found_done != nullptr) {
    news_.found.emplace_back(step.node, *found_done);
    return;
  }
  BaseNode base = pushed_base(facts.local, facts.local.attr, exact);
  // What is put into a new directory changes its time at the source: that is set when all is there.
  if (action() == PushAction::kCreate && facts.has_children) base.attr.mtime_s = kUnknownTime;
  news_.nodes.push_back(base);
}

void PushNamesJob::record() {
  acknowledge(std::exchange(news_, {}), [this] {
    outcome().done += std::exchange(done_, 0);
    if (ended_) return break_off(*ended_);
    declined_.empty() ? finish() : look_at_declined();
  });
}

// What was declined is not as it should be, or is done already: a look tells.
void PushNamesJob::look_at_declined() {
  std::vector<std::string> paths;
  for (const StepFacts& facts : declined_) paths.push_back(facts.step.path.empty() ? "." : facts.step.path);
  if (action() == PushAction::kLink) {
    for (const StepFacts& facts : declined_) paths.push_back(facts.step.from_path);
  }
  look(std::move(paths), [this](const Findings& found) { judge_declined(found); });
}

void PushNamesJob::judge_declined(const Findings& found) {
  const std::vector<StepFacts> declined = std::exchange(declined_, {});
  const bool leaves_alone = unlooked_ && action() != PushAction::kLink;
  for (size_t i = 0; i < declined.size(); ++i) {
    const StepFacts& facts = declined[i];
    const RemoteFinding& at = found[i];
    if (at.unknown) {
      fail(facts.step, *at.unknown);
      continue;
    }
    if (action() == PushAction::kLink && !at.entry) {
      const PushStep& step = facts.step;
      const RemoteFinding& from = found[declined.size() + i];
      if (from.unknown) {
        fail(step, *from.unknown);
      } else {
        outcome().collisions.push_back({step.from_parent, step.from_name, step.from_path, from.entry});
      }
      continue;
    }
    const Verdict verdict = leaves_alone ? judge_step(facts, at, at) : Verdict::kCollides;
    if (verdict == Verdict::kDone) {
      note_done(facts, &*at.entry);
    } else if (verdict == Verdict::kGo && at.entry) {
      note_done(facts, nullptr);  // a directory that was so before
    } else if (verdict == Verdict::kGo) {
      fail(facts.step, unexplained_);
    } else {
      collide(facts.step, at);
    }
  }
  record();
}

}  // namespace rsyncfs
