// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/lister.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"

namespace rsyncfs {

namespace {

constexpr size_t kDirectoriesPerSession = 64;
constexpr unsigned kMaxAttempts = 3;
constexpr unsigned kMaxStaleLists = 3;
constexpr std::chrono::milliseconds kStaleRetry{100};  // and longer and longer, while nobody waits
// A listing of an earlier mount is good enough when no younger one comes within this time.
constexpr std::chrono::milliseconds kStoredPatience{2'000};
constexpr std::chrono::seconds kTreeRetry{5};
constexpr std::chrono::milliseconds kDemandedTreeRetry{200};  // while somebody waits for it
constexpr std::chrono::seconds kLongestTreeRetry{300};
constexpr unsigned kMaxDoublings = 6;

// What says something about the connection rather than about the directory.
bool connection_failure(const Error& why) {
  switch (why.code()) {
    case Errc::kUnreachable:
    case Errc::kTimedOut:
    case Errc::kDisconnected:
    case Errc::kCanceled:
    case Errc::kUnsupported:
    case Errc::kRefused:
      return true;
    default:
      return false;
  }
}

}  // namespace

Lister::Lister(const EngineContext& context, SessionPool& pool, const PushFences& fences)
    : context_(context), pool_(pool), fences_(fences) {}

void Lister::want(RequestId id, NodeId node, std::string path, bool stored, Done<void> done) {
  const auto now = Clock::now();
  Job& job = jobs_[node];
  job.node = node;
  if (job.session == nullptr) job.path = std::move(path);
  job.demanded = true;
  const auto limit = stored ? std::min<std::chrono::milliseconds>(kStoredPatience, context_.options.timeout)
                            : context_.options.timeout;
  job.waiters.push_back({{id, now, now + limit, std::move(done)}, stored});
}

void Lister::refresh(NodeId node, std::string path) {
  Job& job = jobs_[node];
  job.node = node;
  if (job.session == nullptr) job.path = std::move(path);
}

void Lister::want_tree() {
  tree_wanted_ = true;
  next_tree_attempt_ = Clock::now();
}

void Lister::sweep() {
  if (closing_ || !tree_fresh()) return;
  if (!tree_waiters_.empty() && tree_session_ == nullptr) next_tree_attempt_ = Clock::now();
  if (sweeping()) return pump();
  tree_wanted_anew_ = true;
  tree_wanted_ = true;
  next_tree_attempt_ = Clock::now();
  former_tree_session_ = std::exchange(tree_session_, nullptr);
  // With one session at a time there is no room for two.
  if (former_tree_session_ != nullptr && context_.options.max_sessions <= 1)
    pool_.close(*former_tree_session_, Error(Errc::kCanceled, "the tree is listed again"));
  pump();
}

void Lister::pump() {
  start_directories();
  start_tree();
}

void Lister::start_directories() {
  SessionSpec spec;
  std::vector<Job*> chosen;
  for (auto& [node, job] : jobs_) {
    if (job.session != nullptr || job.ingesting) continue;
    if (job.waiters.empty() && Clock::now() < job.not_before) continue;
    // After a list of several that did not come, each is tried by itself: one may be what stopped them all.
    if (job.attempts > 1 && !chosen.empty()) continue;
    chosen.push_back(&job);
    spec.paths.push_back(job.path.empty() ? "./" : job.path + "/");
    spec.demanded = spec.demanded || job.demanded;
    if (chosen.size() >= kDirectoriesPerSession || job.attempts > 1) break;
  }
  if (chosen.empty()) return;
  spec.polls = !spec.demanded;
  const auto session = pool_.open(std::move(spec), *this);
  if (!session) return;
  for (Job* job : chosen) {
    job->session = session.get();
    ++job->attempts;
  }
}

void Lister::start_tree() {
  if (!tree_wanted_ || tree_session_ != nullptr || tree_ingesting_) return;
  if (Clock::now() < next_tree_attempt_) return;
  SessionSpec spec;
  spec.purpose = SessionSpec::Purpose::kTree;
  spec.paged = wants_pages();
  spec.attributes = !spec.paged || paged_attributes_;
  spec.polls = tree_fresh();
  if (const auto session = pool_.open(std::move(spec), *this)) tree_session_ = session.get();
}

void Lister::session_listed(RemoteSession& session) {
  ++lists_received_;
  auto shared = pool_.share(session);
  RSYNCFS_CHECK(shared != nullptr);
  note_cost(session);
  replace_session(session);
  if (&session == tree_session_) {
    ingest_tree(std::move(shared));
  } else {
    ingest_directories(std::move(shared));
  }
}

void Lister::note_cost(const RemoteSession& session) {
  const uint64_t entries = session.paged() ? session.entries_paged() : session.list().size();
  const ListCost cost{entries, session.bytes_in() + session.bytes_out()};
  if (&session == tree_session_) {
    tree_cost_ = cost;
  } else if (!session.spec().demanded) {
    directories_cost_ = cost;
  }
}

// One that has a younger list of the same serves as well.
void Lister::replace_session(RemoteSession& session) {
  RemoteSession* former = nullptr;
  if (&session == tree_session_) {
    former = std::exchange(former_tree_session_, nullptr);
  } else if (!session.spec().demanded) {
    former = std::exchange(poll_session_, &session);
  }
  if (former != nullptr && former->outstanding() == 0)
    pool_.close(*former, Error(Errc::kCanceled, "there is a younger list"));
}

ListIngest::Changes Lister::changes() {
  return [this](std::vector<NameChange> list) { context_.events.on_changes(std::move(list)); };
}

void Lister::ingest_tree(std::shared_ptr<RemoteSession> session) {
  tree_ingesting_ = true;
  tree_wanted_anew_ = false;
  const uint64_t entries = session->list().size();
  make_tree_ingest(std::move(session), [entries](const auto&) { return entries; })->start();
}

std::shared_ptr<ListIngest> Lister::make_tree_ingest(
    std::shared_ptr<RemoteSession> session, std::function<uint64_t(const ListIngest::Outcome&)> entries) {
  const auto opened = session->opened_at();
  const auto opened_at_s = session->opened_at_s();
  auto outdated = [this](NodeId node, Clock::time_point began) {
    const std::shared_lock lock(fresh_mutex_);
    const auto found = fresh_.find(node);
    return found != fresh_.end() && found->second >= began;
  };
  const auto& features = pool_.features();
  const bool attributes = (features.xattrs || features.acls) && session->spec().attributes;
  auto ingest = std::make_shared<ListIngest>(
      context_.loop, context_.store, context_.replica, context_.ids, std::move(session), attributes,
      std::vector<WantedDirectory>{}, std::move(outdated), fences_, changes(),
      [this, entries = std::move(entries), opened, opened_at_s](ListIngest::Outcome outcome) {
        if (!outcome.failure && !outcome.cut_short) tree_opened_at_ = opened;
        const uint64_t count = entries(outcome);
        tree_done(std::move(outcome), count, opened_at_s);
      });
  if (believe_emptied_) ingest->believe_emptied();
  ingest->hold_growths(growth_user_);
  return ingest;
}

void Lister::tree_done(ListIngest::Outcome outcome, uint64_t entries, int64_t opened_at_s) {
  tree_ingesting_ = false;
  paging_since_s_.store(INT64_MAX, std::memory_order_release);
  if (outcome.failure) {
    last_failure_ = "the tree's list could not be stored: " + outcome.failure->message();
    log_error(last_failure_);
    // What did not get in does not come again by this session.
    RemoteSession* const session = std::exchange(tree_session_, nullptr);
    tree_pages_.reset();
    if (session != nullptr) pool_.close(*session, *outcome.failure);
    tree_wanted_ = !closing_;
    retry_tree_later();
    return;
  }
  for (WantedDirectory& directory : outcome.unsettled) refresh(directory.node, std::move(directory.path));
  note_outcome(outcome);
  if (outcome.cut_short) {
    // It counts for the directories that came.
    if (listed_) listed_();
    return pump();
  }
  last_failure_.clear();
  remember_size(entries);
  const bool first = !tree_fresh();
  tree_done_at_ = Clock::now();
  tree_entries_ = entries;
  tree_listed_at_s_ = opened_at_s;
  tree_fresh_.store(true, std::memory_order_release);
  outcome.partial ? list_tree_again() : void(tree_failures_ = 0);
  answer_tree(outcome.partial);
  if (listed_) listed_();
  pump();
  const std::string line = "whole tree listed: " + std::to_string(entries) + " entries" +
                           (outcome.partial ? ", a part of them before what was pushed" : "");
  first ? log_info(line) : log_debug(line);
}

void Lister::ingest_directories(std::shared_ptr<RemoteSession> session) {
  std::vector<WantedDirectory> wanted;
  for (auto& [node, job] : jobs_) {
    if (job.session != session.get()) continue;
    job.ingesting = true;
    wanted.push_back({node, job.path, std::nullopt});
  }
  if (wanted.empty()) return;  // all were canceled; the session stays as a fetcher
  const bool alone = wanted.size() == 1;
  const auto& features = pool_.features();
  auto ingest = std::make_shared<ListIngest>(
      context_.loop, context_.store, context_.replica, context_.ids, std::move(session),
      features.xattrs || features.acls, std::move(wanted), [](NodeId, Clock::time_point) { return false; },
      fences_, changes(),
      [this, alone](ListIngest::Outcome outcome) { directories_done(std::move(outcome), alone); });
  if (believe_emptied_) ingest->believe_emptied();
  ingest->hold_growths(growth_user_);
  ingest->start();
}

void Lister::directories_done(ListIngest::Outcome outcome, bool alone) {
  note_outcome(outcome);
  if (listed_) listed_();
  for (const WantedDirectory& wanted : outcome.wanted)
    log_debug("listed: /" + escape_control(wanted.path) + (wanted.stale ? ", before what was pushed" : ""));
  for (const WantedDirectory& wanted : outcome.wanted) {
    const auto found = jobs_.find(wanted.node);
    if (found == jobs_.end()) continue;
    found->second.session = nullptr;
    found->second.ingesting = false;
    if (wanted.stale && !outcome.failure) {
      list_again(found->second);
    } else if (outcome.failure) {
      could_not_store(wanted.node, *outcome.failure);
    } else if (wanted.failure && !alone && wanted.failure->code() != Errc::kVanished) {
      found->second.attempts = std::max(found->second.attempts, 2U);  // again, by itself
    } else if (wanted.failure) {
      if (wanted.failure->code() == Errc::kVanished && !wanted.path.empty()) {
        const size_t slash = wanted.path.rfind('/');
        const std::string parent = slash == std::string::npos ? std::string() : wanted.path.substr(0, slash);
        const auto place = context_.replica.pending().remote_place(wanted.node);
        if (place) refresh(place->parent, parent);
      }
      finish(wanted.node, *wanted.failure);
    } else {
      set_fresh(wanted.node);
      finish(wanted.node, {});
    }
  }
  pump();
}

void Lister::note_outcome(ListIngest::Outcome& outcome) {
  if (collisions_ && !outcome.collisions.empty()) collisions_(std::move(outcome.collisions));
  if (outcome.emptied && brake_) brake_("the source shows no files at all any more; they are kept here");
}

void Lister::resume() {
  if (believe_emptied_) return;
  believe_emptied_ = true;
  refresh(kRootNode, "");
  pump();
}

// Something was pushed there meanwhile: what the list says of it is not known to be before or after.
void Lister::list_again(Job& job) {
  auto place = context_.replica.pending().remote_place(job.node);
  if (!place) {
    finish(job.node, {});  // only here by now: what is stored is all there is
  } else if (++job.stale_lists > kMaxStaleLists && !job.waiters.empty()) {
    // A push without an end: the names that were stored are younger than the list in any case.
    finish(job.node, {});
    refresh(place->base.node, std::move(place->path));
  } else {
    job.path = std::move(place->path);
    job.attempts = 0;
    const auto pause = kStaleRetry * (1U << std::min(job.stale_lists, kMaxDoublings));
    job.not_before = Clock::now() + pause;
    context_.loop.run_after(pause, [this] { pump(); });
  }
}

void Lister::session_ended(RemoteSession& session, const Error& why) {
  if (&session == poll_session_) poll_session_ = nullptr;
  if (&session == former_tree_session_) {
    former_tree_session_ = nullptr;
    return;
  }
  if (&session == tree_session_) {
    tree_session_ = nullptr;
    return tree_session_ended(session, why);
  }
  std::vector<NodeId> failed;
  for (auto& [node, job] : jobs_) {
    if (job.session != &session || job.ingesting) continue;
    note_progress(job);
    job.session = nullptr;
    if (why.code() == Errc::kCanceled || why.code() == Errc::kUnsupported) job.attempts = 0;
    if (!connection_failure(why) || (job.waiters.empty() && job.attempts >= kMaxAttempts))
      failed.push_back(node);
  }
  for (const NodeId node : failed) {
    last_failure_ = why.message();
    finish(node, why);
  }
}

// Below what was pushed meanwhile it may have shown nothing.
void Lister::list_tree_again() {
  RemoteSession* const session = std::exchange(tree_session_, nullptr);
  if (session != nullptr) pool_.close(*session, Error(Errc::kCanceled, "the tree is listed again"));
  tree_wanted_ = !closing_;
  retry_tree_later();
}

// Soon, then less often.
void Lister::retry_tree_later() {
  if (!tree_wanted_) return;
  const auto pause = std::min<std::chrono::seconds>(
      kTreeRetry * (1U << std::min(tree_failures_, kMaxDoublings)), kLongestTreeRetry);
  ++tree_failures_;
  // The link has a patience of its own.
  tree_waiters_.empty() ? try_tree_again_in(pause) : try_tree_again_in(kDemandedTreeRetry);
}

void Lister::try_tree_again_in(std::chrono::milliseconds pause) {
  next_tree_attempt_ = Clock::now() + pause;
  context_.loop.run_after(pause, [this] { pump(); });
}

void Lister::finish(NodeId node, const Result<void>& result) {
  const auto found = jobs_.find(node);
  if (found == jobs_.end()) return;
  Job job = std::move(found->second);
  jobs_.erase(found);
  for (auto& waiter : job.waiters) waiter.done(result);
}

// A full disk: names of an earlier list are still better than none.
void Lister::could_not_store(NodeId node, const Error& why) {
  const auto found = jobs_.find(node);
  if (found == jobs_.end()) return;
  Job job = std::move(found->second);
  jobs_.erase(found);
  last_failure_ = escape_control("the names of /" + job.path + " could not be stored: " + why.message());
  log_error(last_failure_);
  for (auto& listener : job.waiters) listener.give_up(why);
}

void Lister::note_progress(Job& job) const {
  // A list that begins again and again never comes.
  if (job.session == nullptr || job.attempts > kMaxAttempts) return;
  if (const auto heard_at = job.session->list_heard_at()) job.heard_at = std::max(job.heard_at, *heard_at);
}

Clock::time_point Lister::deadline(const Job& job, const Listener& listener) const {
  if (listener.stored) return listener.deadline;
  return std::max(listener.deadline, job.heard_at + context_.options.timeout);
}

Clock::time_point Lister::listed_at(NodeId directory) const {
  const std::shared_lock lock(fresh_mutex_);
  const auto found = fresh_.find(directory);
  return found == fresh_.end() ? tree_opened_at_ : std::max(found->second, tree_opened_at_);
}

bool Lister::fresh(const Node& directory) const {
  if (directory.listed_at_s > paging_since_s_.load(std::memory_order_acquire)) return true;
  const std::shared_lock lock(fresh_mutex_);
  return fresh_.contains(directory.id);
}

void Lister::expire(Clock::time_point now) {
  std::vector<Listener> late;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    Job& job = it->second;
    note_progress(job);
    auto taken = take_if(job.waiters, [&](const Listener& l) { return now >= deadline(job, l); });
    std::move(taken.begin(), taken.end(), std::back_inserter(late));
    const bool abandoned = job.waiters.empty() && job.demanded && job.session == nullptr && !job.ingesting;
    it = abandoned ? jobs_.erase(it) : std::next(it);
  }
  auto late_trees = take_if(tree_waiters_, [&](const Listener& l) {
    const auto heard = tree_session_ != nullptr ? tree_session_->list_heard_at() : std::nullopt;
    return !tree_ingesting_ &&
           now >= std::max(l.deadline, heard.value_or(l.since) + context_.options.timeout);
  });
  std::move(late_trees.begin(), late_trees.end(), std::back_inserter(late));
  give_up_all(std::move(late));
}

void Lister::give_up_all(std::vector<Listener> listeners) {
  for (auto& listener : listeners) listener.give_up(pool_.link().failure(context_.patience()));
}

bool Lister::cancel(RequestId id) {
  auto tree = take_if(tree_waiters_, [id](const Listener& l) { return l.id == id; });
  for (Listener& listener : tree) listener.done(Error(Errc::kCanceled, "interrupted"));
  if (!tree.empty()) return true;
  for (auto& [node, job] : jobs_) {
    auto found = take_if(job.waiters, [id](const auto& waiter) { return waiter.id == id; });
    if (found.empty()) continue;
    found.front().done(Error(Errc::kCanceled, "interrupted"));
    return true;
  }
  return false;
}

void Lister::link_failed(const Error& /*why*/, bool hopeless) {
  if (tree_fresh() && !tree_wanted_ && !closing_) want_tree();
  std::vector<Listener> answered;
  for (auto& [node, job] : jobs_) {
    auto taken = take_if(job.waiters, [hopeless](const Listener& l) { return l.stored || hopeless; });
    std::move(taken.begin(), taken.end(), std::back_inserter(answered));
  }
  if (hopeless) std::move(tree_waiters_.begin(), tree_waiters_.end(), std::back_inserter(answered));
  if (hopeless) tree_waiters_.clear();
  give_up_all(std::move(answered));
}

void Lister::fail_everything(const Error& why) {
  closing_ = true;
  tree_wanted_ = false;
  std::vector<NodeId> nodes;
  for (const auto& [node, job] : jobs_) nodes.push_back(node);
  for (const NodeId node : nodes) finish(node, why);
  for (Listener& listener : std::exchange(tree_waiters_, {})) listener.done(why);
}

bool Lister::waiting() const {
  return !jobs_.empty() || !tree_waiters_.empty();
}

size_t Lister::waiting_count() const {
  size_t count = 0;
  for (const auto& [node, job] : jobs_) count += job.waiters.size();
  return count;
}

}  // namespace rsyncfs
