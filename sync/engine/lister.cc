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
constexpr std::chrono::seconds kTreeMadeRoom{1};  // after it made room for another session
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

void Lister::revalidate(const FileTarget& target, Done<FileTarget> done) {
  const auto found = jobs_.find(target.parent);
  if (found == jobs_.end() || (found->second.session == nullptr && !found->second.ingesting)) {
    look_up_listed(target, std::move(done));
    return;
  }
  // A list that is under way may be older than the question.
  auto afterwards = [this, target = FileTarget(target),
                     done = std::move(done)](const Result<void>& listed) mutable {
    if (listed) {
      look_up_listed(target, std::move(done));
    } else {
      done(listed.error());
    }
  };
  want(0, target.parent, target.directory(), false, std::move(afterwards));
}

void Lister::look_up_listed(const FileTarget& target, Done<FileTarget> done) {
  auto answer = [this, target = FileTarget(target),
                 done = std::move(done)](const Result<void>& listed) mutable {
    if (!listed) {
      done(listed.error());
      return;
    }
    const auto found = context_.replica.pending().base_binding(target.parent, target.name);
    if (!found || *found == 0) {
      done(Error(Errc::kVanished, "the file is gone from the source"));
      return;
    }
    const auto base = context_.replica.pending().base_of(*found);
    if (*found != target.node || !base) {
      done(Error(Errc::kChanged, "the file was replaced on the source"));
    } else {
      target.size = base->attr.size;
      target.mtime_s = base->attr.mtime_s;
      target.mtime_ns = base->attr.mtime_ns;
      done(std::move(target));
    }
  };
  want(0, target.parent, target.directory(), false, std::move(answer));
  pump();
}

void Lister::want_tree() {
  tree_wanted_ = true;
  next_tree_attempt_ = Clock::now();
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
  if (const auto session = pool_.open(std::move(spec), *this)) tree_session_ = session.get();
}

void Lister::session_listed(RemoteSession& session) {
  ++lists_received_;
  auto shared = pool_.share(session);
  RSYNCFS_CHECK(shared != nullptr);
  if (&session == tree_session_) {
    ingest_tree(std::move(shared));
  } else {
    ingest_directories(std::move(shared));
  }
}

ListIngest::Changes Lister::changes() {
  return [this](std::vector<NameChange> list) { context_.events.on_changes(std::move(list)); };
}

void Lister::ingest_tree(std::shared_ptr<RemoteSession> session) {
  tree_ingesting_ = true;
  const auto opened = session->opened_at();
  const auto entries = session->list().size();
  const auto opened_at_s = session->opened_at_s();
  auto outdated = [this, opened](NodeId node) {
    const std::shared_lock lock(fresh_mutex_);
    const auto found = fresh_.find(node);
    return found != fresh_.end() && found->second >= opened;
  };
  const auto& features = pool_.features();
  auto ingest = std::make_shared<ListIngest>(
      context_.loop, context_.store, context_.replica, context_.ids, std::move(session),
      features.xattrs || features.acls, std::vector<WantedDirectory>{}, std::move(outdated), fences_,
      changes(), [this, entries, opened_at_s](ListIngest::Outcome outcome) {
        tree_done(std::move(outcome), entries, opened_at_s);
      });
  if (believe_emptied_) ingest->believe_emptied();
  ingest->hold_growths(growth_user_);
  ingest->start();
}

void Lister::tree_done(ListIngest::Outcome outcome, uint64_t entries, int64_t opened_at_s) {
  tree_ingesting_ = false;
  if (outcome.failure) {
    last_failure_ = "the tree's list could not be stored: " + outcome.failure->message();
    log_error(last_failure_);
    // What did not get in does not come again by this session.
    RemoteSession* const session = std::exchange(tree_session_, nullptr);
    if (session != nullptr) pool_.close(*session, *outcome.failure);
    tree_wanted_ = !closing_;
    retry_tree_later();
    return;
  }
  last_failure_.clear();
  tree_entries_ = entries;
  tree_listed_at_s_ = opened_at_s;
  tree_fresh_.store(true, std::memory_order_release);
  for (WantedDirectory& directory : outcome.unsettled) refresh(directory.node, std::move(directory.path));
  outcome.partial ? list_tree_again() : void(tree_failures_ = 0);
  note_outcome(outcome);
  pump();
  log_info("whole tree listed: " + std::to_string(entries) + " entries" +
           (outcome.partial ? ", a part of them before what was pushed" : ""));
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
      features.xattrs || features.acls, std::move(wanted), [](NodeId) { return false; }, fences_, changes(),
      [this, alone](ListIngest::Outcome outcome) { directories_done(std::move(outcome), alone); });
  if (believe_emptied_) ingest->believe_emptied();
  ingest->hold_growths(growth_user_);
  ingest->start();
}

void Lister::directories_done(ListIngest::Outcome outcome, bool alone) {
  note_outcome(outcome);
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
  if (&session == tree_session_) {
    tree_session_ = nullptr;
    if (why.code() != Errc::kCanceled) {
      last_failure_ = why.message();
    } else if (tree_fresh() || tree_ingesting_) {
      // It made room for another after its list came: that is true as long as the link holds.
      tree_wanted_ = false;
    }
    if (why.code() == Errc::kCanceled) {
      try_tree_again_in(kTreeMadeRoom);
    } else {
      retry_tree_later();
    }
    return;
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
  try_tree_again_in(pause);
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

void Lister::set_fresh(NodeId node) {
  const std::unique_lock lock(fresh_mutex_);
  fresh_[node] = Clock::now();
}

bool Lister::fresh(NodeId directory) const {
  const std::shared_lock lock(fresh_mutex_);
  return fresh_.contains(directory);
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
  give_up_all(std::move(late));
}

void Lister::give_up_all(std::vector<Listener> listeners) {
  for (auto& listener : listeners) listener.give_up(pool_.link().failure(context_.patience()));
}

bool Lister::cancel(RequestId id) {
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
  give_up_all(std::move(answered));
}

void Lister::fail_everything(const Error& why) {
  closing_ = true;
  tree_wanted_ = false;
  std::vector<NodeId> nodes;
  for (const auto& [node, job] : jobs_) nodes.push_back(node);
  for (const NodeId node : nodes) finish(node, why);
}

bool Lister::waiting() const {
  return !jobs_.empty();
}

size_t Lister::waiting_count() const {
  size_t count = 0;
  for (const auto& [node, job] : jobs_) count += job.waiters.size();
  return count;
}

}  // namespace rsyncfs
