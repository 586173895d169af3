// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/syncer.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/eager_refresh.h"
#include "sync/engine/grown_files.h"
#include "sync/engine/large_files.h"
#include "sync/engine/lister.h"
#include "sync/engine/local_work.h"
#include "sync/engine/moving_files.h"
#include "sync/engine/poller.h"
#include "sync/engine/push_fences.h"
#include "sync/engine/pusher.h"
#include "sync/engine/server_memory.h"
#include "sync/engine/session_pool.h"
#include "sync/engine/source_comparison.h"
#include "sync/engine/whole_files.h"
#include "sync/engine/xattr_values.h"

namespace rsyncfs {

namespace {
// Of those for bytes on their way that nobody uses.
constexpr size_t kPooledBytes = 8 << 20;

constexpr std::chrono::milliseconds kBusyTick{200};    // while somebody waits
constexpr std::chrono::milliseconds kCalmTick{5'000};  // while sessions beside the tree's are open
// A directory's session serves fetches from its list; unused this long it is closed.
constexpr std::chrono::seconds kIdleSession{30};
// The pusher is told of changes at once, and then no more often than this.
constexpr std::chrono::milliseconds kNotesApart{20};
constexpr std::chrono::milliseconds kGrowthLookedAt{20};  // while somebody waits for it
// The cache's limits are looked at beside the stores of the engine, too: users write, and others on the disk.
constexpr std::chrono::seconds kBudgetEvery{1};

class SyncerImpl final : public Syncer {
 public:
  SyncerImpl(Loop& loop, Executor& executor, Replica& replica, SyncerOptions options, SyncerEvents& events)
      : options_(std::move(options)),
        store_(executor),
        ids_(options_.numeric_ids, options_.user_rules, options_.group_rules),
        local_only_(replica, options_.filter_rules),
        budget_(replica, options_.cache),
        eager_(events, replica, [this](NodeId file, Done<void> done) { hydrate(file, std::move(done)); }),
        context_{loop, executor, store_, replica, options_, eager_, ids_, budget_, buffers_, local_only_},
        memory_(recall_server(replica)),
        pool_(
            loop, options_, memory_.stored(), [this] { changed(); },
            [this](const Error& why) { link_failed(why); }),
        fences_(replica.pending()),
        moving_(context_, fences_),
        lister_(context_, pool_, fences_),
        poller_(context_, pool_, lister_),
        large_(context_, pool_, lister_, totals_),
        whole_(context_, pool_, lister_, large_, totals_),
        grown_(context_, pool_, lister_, fences_),
        xattrs_(context_, pool_),
        comparison_(context_, pool_, lister_),
        pusher_(context_, pool_, lister_, fences_,
                [this](NodeId file, Done<void> done) { hydrate(file, std::move(done)); }) {
    lister_.set_collisions(
        [this](std::vector<StepCollision> collisions) { pusher_.decide(std::move(collisions)); });
    lister_.set_listed([this] { poller_.listed(); });
    lister_.set_brake([this](const std::string& why) { pusher_.stop(why); });
    lister_.set_growth_user({[this](NodeId node) { return grown_.may_hold(node) && !is_worked_on(node); },
                             [this](std::vector<ListedGrowth> growths) {
                               grown_.listed(std::move(growths));
                               schedule_tick();
                             }});
    pool_.set_xattr_user(xattrs_);
  }

  void start(Done<void> done) override;
  void shut_down(Task done) override;
  bool may_answer_listing(const Node& directory) const override;
  bool names_are_settled() const override { return lister_.tree_fresh(); }
  RequestId list_directory(NodeId directory, Done<void> done) override;
  RequestId read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) override;
  RequestId fetch_xattrs(NodeId node, Done<void> done) override;
  RequestId hydrate(NodeId file, Done<void> done) override;
  RequestId compare(NodeId file, Done<Comparison> done) override;
  void cancel(RequestId request) override;
  void note_read(NodeId file) override { whole_.note_read(file); }
  void note_use(NodeId directory) override { poller_.touch(directory); }
  std::chrono::milliseconds use_holds_for() const override { return poller_.use_holds_for(); }
  RequestId refresh(NodeId directory, Done<void> done) override;
  void note_change(NodeId node) override;
  RequestId flush(std::optional<NodeId> below, Done<void> done) override;
  void resume(Done<void> done) override;
  bool relieve_disk(uint64_t bytes) override { return budget_.relieve(bytes); }
  void status(UniqueFunction<void(SyncerStatus)> done) override;
  const IdMap& ids() const override { return ids_; }

 private:
  std::string shown_source() const;
  void pump();
  void changed();
  void tick();
  void schedule_tick();
  void watch_budget();
  void link_failed(const Error& why);
  void note_link();
  void note_server();
  void close_idle_sessions(Clock::time_point now);
  Result<FileTarget> target_of(NodeId file) const;
  bool waiting() const;
  bool is_worked_on(NodeId file) const;
  void when_grown(Clock::time_point latest, Done<void> done);
  SyncerStatus make_status();
  template <class T, class Work>
  RequestId post(Done<T> done, Work work);
  template <class T, class Ask>
  void ask(RequestId id, Result<FileTarget> target, Clock::time_point began, Ask ask_for, Done<T> done);

  const SyncerOptions options_;
  Strand store_;
  IdMap ids_;
  const LocalOnly local_only_;
  CacheBudget budget_;
  BufferPool buffers_{kPooledBytes};
  EagerRefresh eager_;
  EngineContext context_;
  LocalWork work_;
  FetchTotals totals_;
  ServerMemory memory_;
  SessionPool pool_;
  PushFences fences_;
  MovingFiles moving_;
  Lister lister_;
  Poller poller_;
  LargeFiles large_;
  WholeFiles whole_;
  GrownFiles grown_;
  XattrValues xattrs_;
  SourceComparison comparison_;
  Pusher pusher_;
  Done<void> first_contact_;
  std::atomic<RequestId> next_request_{1};
  std::atomic<bool> link_down_{false};
  std::atomic<bool> change_noted_{false};  // and the pusher is told, now or in a moment
  TimerId note_timer_ = 0;
  TimerId budget_timer_ = 0;
  bool closing_ = false;
  TimerId tick_timer_ = 0;
  Clock::time_point tick_due_{};
};

// Hands `work` to the loop with a fresh request id; after shut_down() the answer is kCanceled.
template <class T, class Work>
RequestId SyncerImpl::post(Done<T> done, Work work) {
  const RequestId id = next_request_.fetch_add(1, std::memory_order_relaxed);
  context_.loop.post([this, id, done = std::move(done), work = std::move(work)]() mutable {
    if (closing_) {
      done(Error(Errc::kCanceled, "the mount is being unmounted"));
      return;
    }
    work(id, std::move(done));
    pump();
    schedule_tick();
  });
  return id;
}

void SyncerImpl::start(Done<void> done) {
  post<void>(std::move(done), [this](RequestId id, Done<void> first) {
    const auto names = context_.replica.id_names();
    if (names) {
      context_.store.post(
          [this, users = names->first, groups = names->second] { ids_.learn(users, groups); });
    }
    first_contact_ = std::move(first);
    watch_budget();
    pusher_.load();
    lister_.want(id, kRootNode, "", false, [this](Result<void> listed) {
      lister_.want_tree();
      poller_.start();
      pusher_.start();
      if (first_contact_) {
        Done<void> call = std::move(first_contact_);
        first_contact_ = nullptr;
        call(listed ? std::move(listed) : listed.error().with_context(shown_source()));
      }
    });
  });
}

// Without the user: a daemon's may be a default that nobody typed.
std::string SyncerImpl::shown_source() const {
  Source source = options_.source;
  source.user.clear();
  return source.canonical();
}

void SyncerImpl::shut_down(Task done) {
  context_.loop.post([this, done = std::move(done)]() mutable {
    const Error why(Errc::kCanceled, "the mount is being unmounted");
    closing_ = true;
    if (tick_timer_ != 0) context_.loop.cancel_timer(tick_timer_);
    if (note_timer_ != 0) context_.loop.cancel_timer(note_timer_);
    if (budget_timer_ != 0) context_.loop.cancel_timer(budget_timer_);
    if (first_contact_) {
      Done<void> call = std::move(first_contact_);
      first_contact_ = nullptr;
      call(why);
    }
    note_server();
    poller_.stop();
    eager_.stop();
    grown_.fail_everything();
    moving_.fail_everything(why);
    pusher_.fail_everything(why);
    whole_.fail_everything(why);
    large_.fail_everything(why);
    xattrs_.fail_everything(why);
    comparison_.fail_everything(why);
    lister_.fail_everything(why);
    pool_.close_all(why);
    // What the strand still does posts back to the loop; after that nothing refers to us. Twice, because a
    // slice of a list posts the next one.
    context_.executor.submit([this, done = std::move(done)]() mutable {
      store_.drain();
      context_.loop.post(std::move(done));
    });
  });
}

bool SyncerImpl::may_answer_listing(const Node& directory) const {
  // Listed by itself just now: no more is known of it, even if the source could not read all of its names.
  if (lister_.fresh(directory)) return true;
  if (directory.listed_at_s == 0) return false;
  return lister_.tree_fresh() || link_down_.load(std::memory_order_relaxed);
}

RequestId SyncerImpl::list_directory(NodeId directory, Done<void> done) {
  auto node = context_.replica.node(directory);
  auto place = context_.replica.pending().remote_place(directory);
  return post<void>(std::move(done), [this, node = std::move(node), place = std::move(place)](
                                         RequestId id, Done<void> answer) {
    const bool only_here = node && !node->orphan && !place && place.error().code() == Errc::kNotFound;
    if (only_here) {
      answer(Result<void>());  // what is stored is all there is
    } else if (!node || !place) {
      answer(Error(Errc::kVanished, "the directory is gone from the source"));
    } else {
      lister_.want(id, node->id, place->path, node->listed_at_s != 0, std::move(answer));
    }
  });
}

// Where and in which version the source has it.
Result<FileTarget> SyncerImpl::target_of(NodeId file) const {
  auto place = context_.replica.pending().remote_place(file);
  if (!place && place.error().code() == Errc::kNotFound)
    return Error(Errc::kChanged, "this version of the file is gone from the source");
  if (!place) return place.error();
  if (!place->base.present || !S_ISREG(place->base.attr.mode))
    return Error(Errc::kUsage, "it is not a regular file");
  FileTarget target;
  target.node = file;
  target.parent = place->parent;
  target.name = std::move(place->name);
  target.path = std::move(place->path);
  target.size = place->base.attr.size;
  target.mtime_s = place->base.attr.mtime_s;
  target.mtime_ns = place->base.attr.mtime_ns;
  return target;
}

// `ask(target, answer)` for the file, and for where it is then if it moved meanwhile. Called with the file's
// place as it was at `began`.
template <class T, class Ask>
void SyncerImpl::ask(RequestId id, Result<FileTarget> target, Clock::time_point began, Ask ask_for,
                     Done<T> done) {
  if (!target) return done(target.error());
  const NodeId file = target->node;
  const NodeId directory = target->parent;
  auto answer = [this, id, file, directory, began, ask_for,
                 done = std::move(done)](Result<T> result) mutable {
    if (result || closing_ || !moving_.may_have_moved(result.error(), directory, began))
      return done(std::move(result));
    const auto shared = std::make_shared<Done<T>>(std::move(done));
    moving_.ask_again(
        id,
        [this, id, file, began, ask_for, shared] {
          ask<T>(id, target_of(file), began, ask_for, std::move(*shared));
          pump();
          schedule_tick();
        },
        [shared](const Error& why) { (*shared)(why); });
  };
  ask_for(std::move(*target), Done<T>(std::move(answer)));
}

RequestId SyncerImpl::read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) {
  const auto began = Clock::now();
  auto target = target_of(file);
  return post<ReadBytes>(std::move(done), [this, file, offset, length, began, target = std::move(target)](
                                              RequestId id, Done<ReadBytes> answer) mutable {
    eager_.note_read(file, began);
    const auto read_from = [this, id, offset, length](FileTarget at, Done<ReadBytes> then) {
      if (context_.answer_stored(at.node, offset, length, then)) return;
      if (at.size <= kMaxWholeFileBytes) {
        whole_.read(id, std::move(at), offset, length, std::move(then));
      } else {
        large_.read(id, std::move(at), offset, length, std::move(then));
      }
    };
    ask<ReadBytes>(id, std::move(target), began, read_from, std::move(answer));
  });
}

RequestId SyncerImpl::hydrate(NodeId file, Done<void> done) {
  const auto began = Clock::now();
  auto target = target_of(file);
  const auto state = context_.replica.content_state(file);
  const bool complete = state && state->complete;
  return post<void>(std::move(done), [this, complete, began, target = std::move(target)](
                                         RequestId id, Done<void> answer) mutable {
    if (complete) return answer(Result<void>());
    const auto fetch_all = [this, id](FileTarget from, Done<void> then) {
      if (from.size <= kMaxWholeFileBytes) {
        whole_.hydrate(id, std::move(from), std::move(then));
      } else {
        large_.hydrate(id, std::move(from), std::move(then));
      }
    };
    ask<void>(id, std::move(target), began, fetch_all, std::move(answer));
  });
}

RequestId SyncerImpl::compare(NodeId file, Done<Comparison> done) {
  auto target = target_of(file);
  auto content = context_.replica.content(file);
  const bool changed_here = context_.replica.local().dirty(file) != nullptr;
  return post<Comparison>(std::move(done), [this, target = std::move(target), content = std::move(content),
                                            changed_here](RequestId id, Done<Comparison> answer) mutable {
    if (!target && target.error().code() == Errc::kChanged) return answer(Comparison::kChanged);
    if (!target) return answer(target.error());
    if (!content) return answer(content.error());
    if (changed_here) return answer(Error(Errc::kRefused, "it was changed here"));
    if (!*content || !(*content)->complete()) return answer(Error(Errc::kNotFound, "not all of it is here"));
    if ((*content)->size() != target->size) return answer(Comparison::kChanged);
    comparison_.compare(id, std::move(*target), std::move(*content), std::move(answer));
  });
}

RequestId SyncerImpl::fetch_xattrs(NodeId node, Done<void> done) {
  auto place = context_.replica.pending().remote_place(node);
  Result<std::string> path = place ? Result<std::string>(std::move(place->path)) : place.error();
  return post<void>(std::move(done), [this, node, path = std::move(path)](RequestId id, Done<void> answer) {
    if (!path) {
      answer(Error(Errc::kVanished, "it is gone from the source"));
    } else {
      xattrs_.want(id, node, *path, std::move(answer));
    }
  });
}

RequestId SyncerImpl::refresh(NodeId directory, Done<void> done) {
  return post<void>(std::move(done), [this, directory](RequestId id, Done<void> answer) {
    lister_.refresh_below(id, directory, [this, answer = std::move(answer)](Result<void> listed) mutable {
      listed ? when_grown(Clock::now() + options_.timeout, std::move(answer)) : answer(std::move(listed));
    });
  });
}

// What is listed as longer is shown when it is known how it got so.
void SyncerImpl::when_grown(Clock::time_point latest, Done<void> done) {
  if (closing_ || !grown_.waiting() || Clock::now() >= latest) return done(Result<void>());
  context_.loop.run_after(kGrowthLookedAt, [this, latest, done = std::move(done)]() mutable {
    when_grown(latest, std::move(done));
  });
}

// Any thread.
bool SyncerImpl::is_worked_on(NodeId file) const {
  const auto node = context_.replica.node(file);
  return !node || work_.has(*node, Clock::now());
}

// Changes come by the thousand: the loop is not woken for each of them.
void SyncerImpl::note_change(NodeId node) {
  work_.note(node, Clock::now());
  if (change_noted_.exchange(true, std::memory_order_acq_rel)) return;
  context_.loop.post([this] {
    if (closing_) return;
    pusher_.note_change();
    note_timer_ = context_.loop.run_after(kNotesApart, [this] {
      note_timer_ = 0;
      change_noted_.store(false, std::memory_order_release);
      pusher_.note_change();  // of those since
    });
  });
}

RequestId SyncerImpl::flush(std::optional<NodeId> below, Done<void> done) {
  return post<void>(std::move(done), [this, below](RequestId id, Done<void> answer) {
    pusher_.flush(id, below, std::move(answer));
  });
}

void SyncerImpl::resume(Done<void> done) {
  post<void>(std::move(done), [this](RequestId, Done<void> answer) {
    lister_.resume();
    pusher_.resume();
    answer(Result<void>());
  });
}

void SyncerImpl::cancel(RequestId request) {
  context_.loop.post([this, request] {
    if (closing_) return;
    (void)(moving_.cancel(request) || lister_.cancel(request) || whole_.cancel(request) ||
           large_.cancel(request) || xattrs_.cancel(request) || comparison_.cancel(request) ||
           pusher_.cancel(request));
  });
}

void SyncerImpl::pump() {
  if (closing_) return;
  lister_.pump();
  whole_.pump();
  large_.pump();
  grown_.pump();
  xattrs_.pump();
  comparison_.pump();
  pusher_.pump();
  note_link();
  note_server();
}

void SyncerImpl::changed() {
  pusher_.link_changed();
  pump();
  schedule_tick();
}

void SyncerImpl::note_link() {
  link_down_.store(pool_.link().down(), std::memory_order_relaxed);
}

void SyncerImpl::note_server() {
  std::string news = memory_.news(pool_.features());
  if (news.empty()) return;
  context_.store.post([this, news = std::move(news)] {
    const auto remembered = ServerMemory::remember(context_.replica, news);
    if (!remembered) log_warn("what the server is like is not recorded: " + remembered.error().message());
  });
}

void SyncerImpl::link_failed(const Error& why) {
  note_link();
  if (closing_) return;
  // A request is told at once when the source has been away for longer than it would have waited.
  const bool hopeless = pool_.link().down_for(Clock::now()) >= options_.timeout;
  context_.loop.post([this, why, hopeless] {
    if (closing_) return;
    if (first_contact_) {
      Done<void> call = std::move(first_contact_);
      first_contact_ = nullptr;
      call(why.with_context(shown_source()));
    }
    lister_.link_failed(why, hopeless);
    whole_.link_failed(hopeless);
    large_.link_failed(hopeless);
    xattrs_.link_failed(hopeless);
    comparison_.link_failed(hopeless);
    pusher_.link_failed(hopeless);
  });
}

bool SyncerImpl::waiting() const {
  return lister_.waiting() || whole_.waiting() || large_.waiting() || grown_.waiting() || xattrs_.waiting() ||
         comparison_.waiting() || moving_.waiting() || pusher_.waiting() || pool_.busy();
}

void SyncerImpl::schedule_tick() {
  if (closing_) return;
  const bool busy = waiting();
  const bool calm = pool_.sessions().size() > 1 || large_.active() || whole_.reads_ahead();
  if (!busy && !calm) return;
  const auto due = Clock::now() + (busy ? kBusyTick : kCalmTick);
  if (tick_timer_ != 0) {
    if (tick_due_ <= due) return;
    context_.loop.cancel_timer(tick_timer_);
  }
  tick_due_ = due;
  tick_timer_ = context_.loop.run_after(due - Clock::now(), [this] {
    tick_timer_ = 0;
    tick();
  });
}

void SyncerImpl::tick() {
  const auto now = Clock::now();
  pool_.tick(now);
  pusher_.tick(now);
  lister_.expire(now);
  whole_.expire(now);
  large_.tick(now);
  grown_.tick(now);
  xattrs_.expire(now);
  comparison_.expire(now);
  close_idle_sessions(now);
  pump();
  schedule_tick();
}

void SyncerImpl::watch_budget() {
  budget_timer_ = context_.loop.run_after(kBudgetEvery, [this] {
    budget_timer_ = 0;
    context_.store.post([this] {
      budget_.keep();
      context_.loop.post([this] {
        if (!closing_) watch_budget();
      });
    });
  });
}

void SyncerImpl::close_idle_sessions(Clock::time_point now) {
  const auto sessions = pool_.sessions();
  for (const auto& session : sessions) {
    if (session->spec().purpose != SessionSpec::Purpose::kDirectories) continue;
    if (!session->armed() || session->outstanding() > 0 || now - session->last_used() < kIdleSession)
      continue;
    session->fail(Error(Errc::kCanceled, "idle"));
  }
}

void SyncerImpl::status(UniqueFunction<void(SyncerStatus)> done) {
  context_.loop.post([this, done = std::move(done)]() mutable { done(make_status()); });
}

SyncerStatus SyncerImpl::make_status() {
  const auto now = Clock::now();
  SyncerStatus out;
  const Link& link = pool_.link();
  out.link = link.state();
  out.link_text = link.text(now);
  out.last_error = lister_.last_failure();
  if (link.last_error() && (link.down() || out.last_error.empty()))
    out.last_error = link.last_error()->message();
  for (const auto& session : pool_.sessions()) {
    if (out.sessions.size() < options_.max_sessions) out.sessions.push_back(session->status());
    if (!session->armed()) continue;
    out.protocol = session->protocol();
    out.checksum = checksum_name(session->checksum());
    const auto compression = session->compression();
    out.compression = compression == CompressionKind::kZstd    ? "zstd"
                      : compression == CompressionKind::kZlibx ? "zlibx"
                                                               : "none";
  }
  if (auto ready = pool_.ready_status()) out.sessions.push_back(std::move(*ready));
  out.tree_listed = lister_.tree_fresh();
  out.tree_entries = lister_.tree_entries();
  out.tree_listed_at_s = lister_.tree_listed_at_s();
  poller_.describe(out);
  const SessionTotals totals = pool_.totals();
  out.bytes_per_second = options_.bytes_per_second;
  const WireTotals all = totals.all();
  out.bytes_in = all.bytes_in;
  out.bytes_out = all.bytes_out;
  out.sessions_opened = all.sessions;
  out.wire = totals.wire;
  out.session_failures = totals.failures;
  out.fetch_failures = totals_.failures;
  out.lists_received = lister_.lists_received();
  out.files_fetched = totals_.files;
  out.bytes_fetched = totals_.bytes;
  out.files_failed = totals_.failed;
  out.requests_timed_out = totals_.timed_out;
  out.waiting_requests = lister_.waiting_count() + whole_.waiting_count() + large_.waiting_count() +
                         xattrs_.waiting_count() + comparison_.waiting_count();
  whole_.add_transfers(out.transfers);
  large_.add_transfers(out.transfers);
  std::sort(out.transfers.begin(), out.transfers.end(),
            [](const auto& a, const auto& b) { return a.total_bytes > b.total_bytes; });
  if (out.transfers.size() > kMaxListedTransfers) out.transfers.resize(kMaxListedTransfers);
  out.failing_paths.assign(totals_.failing.begin(), totals_.failing.end());
  out.push = pusher_.status();
  out.cache = budget_.status();
  return out;
}

}  // namespace

std::unique_ptr<Syncer> Syncer::create(Loop& loop, Executor& executor, Replica& replica,
                                       SyncerOptions options, SyncerEvents& events) {
  return std::make_unique<SyncerImpl>(loop, executor, replica, std::move(options), events);
}

}  // namespace rsyncfs
