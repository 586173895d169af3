// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps the Replica's names what the source shows: the whole tree in the background, directories that are
// asked for at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sync/engine/file_target.h"
#include "sync/engine/list_ingest.h"
#include "sync/engine/poll_pace.h"
#include "sync/engine/push_fences.h"
#include "sync/engine/push_job.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread, but for the methods marked otherwise.
class Lister final : public SessionUser {
 public:
  Lister(const EngineContext& context, SessionPool& pool, const PushFences& fences);
  // Who is told of names that were changed both here and at the source. Once, before the first list.
  void set_collisions(std::function<void(std::vector<StepCollision>)> told) { collisions_ = std::move(told); }

  // Who is told that the source shows nothing any more; until resume() that is not believed.
  // Who is told that a list is in.
  void set_listed(std::function<void()> told) { listed_ = std::move(told); }
  void set_brake(std::function<void(const std::string&)> told) { brake_ = std::move(told); }
  void resume();

  // Who is asked whether files that got longer grew. Once, before the first list.
  void set_growth_user(GrowthUser user) { growth_user_ = std::move(user); }

  // Lists `path` (the node's own) and answers. `stored`: the Replica has names from an earlier list, good
  // enough when the source does not answer soon.
  void want(RequestId id, NodeId node, std::string path, bool stored, Done<void> done);
  // The directory and all known ones below it, each listed from now on; the root: the whole tree. An answer
  // when all are, or with the first failure of the directory itself.
  void refresh_below(RequestId id, NodeId directory, Done<void> done);
  // As want(), with nobody waiting: what is stored is known to be out of date.
  void refresh(NodeId node, std::string path);
  // The source has another version of this file than the target says: lists its directory, and answers with
  // the target as it is now if the node lives on; kChanged when another node has taken its name, kVanished
  // when it is gone.
  void revalidate(const FileTarget& target, Done<FileTarget> done);
  // The whole tree, now and whenever its session is lost.
  void want_tree();
  // The tree once more. The session of the last time serves until the list has come.
  void sweep();
  bool sweeping() const { return tree_ingesting_ || tree_wanted_anew_; }
  void pump();
  void expire(Clock::time_point now);
  bool cancel(RequestId id);
  // The source was not reached: those who waited long enough, or have stored names, are answered. What
  // happens there meanwhile is not known, so the tree is listed again when it is back.
  void link_failed(const Error& why, bool hopeless);
  void fail_everything(const Error& why);
  bool waiting() const;
  size_t waiting_count() const;

  // Any thread.
  bool fresh(const Node& directory) const;
  bool tree_fresh() const { return tree_fresh_.load(std::memory_order_acquire); }

  // When it was last listed, by itself or with the tree; long ago if never.
  Clock::time_point listed_at(NodeId directory) const;
  Clock::time_point tree_done_at() const { return tree_done_at_; }
  // Of the last lists that came because directories are in use, and of the tree.
  const ListCost& directories_cost() const { return directories_cost_; }
  const ListCost& tree_cost() const { return tree_cost_; }

  uint64_t lists_received() const { return lists_received_; }
  // Those of the last list; until there is one, those that have come of its pages.
  uint64_t tree_entries() const {
    const bool coming = tree_session_ != nullptr && tree_pages_ != nullptr && !tree_fresh();
    return coming ? tree_session_->entries_paged() : tree_entries_;
  }
  int64_t tree_listed_at_s() const { return tree_listed_at_s_; }
  const std::string& last_failure() const { return last_failure_; }

  void session_listed(RemoteSession& session) override;
  void session_page(RemoteSession& session, TreePage page) override;
  void session_pages_end(RemoteSession& session) override;
  void session_drained(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  // Lists the file's directory and answers with what it has become.
  void look_up_listed(const FileTarget& target, Done<FileTarget> done);
  struct Listener : Waiter<void> {
    bool stored = false;  // names of an earlier list are good enough for it
    void give_up(const Error& why) { done(stored ? Result<void>() : Result<void>(why)); }
  };
  struct Job {
    NodeId node = 0;
    std::string path;
    bool demanded = false;
    std::vector<Listener> waiters;
    const RemoteSession* session = nullptr;  // where it is being listed; null: queued
    bool ingesting = false;
    unsigned attempts = 0;
    unsigned stale_lists = 0;
    Clock::time_point not_before{};  // unless somebody waits
    Clock::time_point heard_at{};    // when something of the list last came
  };

  void start_directories();
  void start_tree();
  void answer_tree(bool partial);
  std::vector<DirectoryToList> directories_below(NodeId directory) const;
  void want_younger(RequestId id, NodeId node, std::string path, Done<void> done);
  void note_cost(const RemoteSession& session);
  void replace_session(RemoteSession& session);
  void ingest_tree(std::shared_ptr<RemoteSession> session);
  std::shared_ptr<ListIngest> make_tree_ingest(std::shared_ptr<RemoteSession> session,
                                               std::function<uint64_t(const ListIngest::Outcome&)> entries);
  bool wants_pages() const;
  void remember_size(uint64_t entries);
  void tree_session_ended(const RemoteSession& session, const Error& why);
  void ingest_directories(std::shared_ptr<RemoteSession> session);
  void directories_done(ListIngest::Outcome outcome, bool alone);
  void list_again(Job& job);
  void note_outcome(ListIngest::Outcome& outcome);
  void tree_done(ListIngest::Outcome outcome, uint64_t entries, int64_t opened_at_s);
  void list_tree_again();
  void retry_tree_later();
  void try_tree_again_in(std::chrono::milliseconds pause);
  void finish(NodeId node, const Result<void>& result);
  void could_not_store(NodeId node, const Error& why);
  void give_up_all(std::vector<Listener> listeners);
  void note_progress(Job& job) const;
  Clock::time_point deadline(const Job& job, const Listener& listener) const;
  void set_fresh(NodeId node);
  ListIngest::Changes changes();

  EngineContext context_;
  SessionPool& pool_;
  const PushFences& fences_;
  std::function<void(std::vector<StepCollision>)> collisions_;
  std::function<void(const std::string&)> brake_;
  std::function<void()> listed_;
  GrowthUser growth_user_;
  bool believe_emptied_ = false;
  std::unordered_map<NodeId, Job> jobs_;
  bool tree_wanted_ = false;
  bool tree_ingesting_ = false;
  RemoteSession* tree_session_ = nullptr;
  RemoteSession* former_tree_session_ = nullptr;  // until a younger list has come
  bool tree_wanted_anew_ = false;
  std::vector<Listener> tree_waiters_;
  std::shared_ptr<ListIngest> tree_pages_;  // of tree_session_, as long as they come
  // As of the last list of the tree, or more than it was found to have; nullopt: it is not known yet.
  mutable std::optional<uint64_t> known_entries_;
  bool paged_attributes_ = true;  // they are few enough to come with the pages; else with directories
  // Of directories that nobody waited for: the next one takes its place as a fetcher.
  RemoteSession* poll_session_ = nullptr;
  Clock::time_point next_tree_attempt_{};
  unsigned tree_failures_ = 0;
  bool closing_ = false;

  std::atomic<bool> tree_fresh_{false};
  std::atomic<int64_t> paging_since_s_{INT64_MAX};  // directories that were listed later were so by pages
  mutable std::shared_mutex fresh_mutex_;           // guards fresh_
  // Directories listed by themselves in this mount, and when. Of more than fresh_limit_ the older half is
  // forgotten: it is listed again when it is used before the whole tree is in.
  std::unordered_map<NodeId, Clock::time_point> fresh_;
  static constexpr size_t kMaxFresh = 65'536;
  size_t fresh_limit_ = kMaxFresh;

  Clock::time_point tree_opened_at_{};
  Clock::time_point tree_done_at_{};
  ListCost directories_cost_;
  ListCost tree_cost_;
  uint64_t lists_received_ = 0;
  uint64_t tree_entries_ = 0;
  int64_t tree_listed_at_s_ = 0;
  std::string last_failure_;
};

}  // namespace rsyncfs
