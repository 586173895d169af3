// SPDX-License-Identifier: GPL-3.0-or-later
// A tree that is too large for one list.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/lister.h"

namespace rsyncfs {

namespace {

constexpr std::chrono::seconds kTreeMadeRoom{1};  // after it made room for another session
// A page that is on its way may be older than a list of its directory by so much.
constexpr std::chrono::seconds kFreshForPages{60};
// Where the size of the tree is kept: Replica::set_meta().
constexpr std::string_view kTreeEntriesMeta = "tree_entries";

}  // namespace

void Lister::session_page(RemoteSession& session, TreePage page) {
  if (&session != tree_session_) return;
  if (!tree_pages_) {
    tree_ingesting_ = true;
    tree_wanted_anew_ = false;
    paging_since_s_.store(session.opened_at_s(), std::memory_order_release);
    tree_pages_ = make_tree_ingest(pool_.share(session),
                                   [](const ListIngest::Outcome& outcome) { return outcome.entries; });
  }
  tree_pages_->add_page(std::move(page));
}

void Lister::session_drained(RemoteSession& session) {
  if (&session == tree_session_ && tree_pages_) tree_pages_->bring_in_pages();
}

// There is nothing to fetch by it.
void Lister::session_pages_end(RemoteSession& session) {
  if (&session != tree_session_ || !tree_pages_) return;
  ++lists_received_;
  note_cost(session);
  replace_session(session);
  std::exchange(tree_pages_, nullptr)->end_pages(false);
  tree_session_ = nullptr;
  tree_wanted_ = false;
  pool_.close(session, Error(Errc::kCanceled, "all pages of the tree are here"));
}

bool Lister::wants_pages() const {
  if (!pool_.features().pages) return false;
  if (!known_entries_) {
    const auto kept = context_.replica.meta(kTreeEntriesMeta);
    known_entries_ = kept && kept->has_value() ? std::strtoull((*kept)->c_str(), nullptr, 10) : 0;
  }
  return *known_entries_ > context_.options.max_whole_tree;
}

// The next mount need not find it out again.
void Lister::remember_size(uint64_t entries) {
  const bool pages = wants_pages();
  known_entries_ = entries;
  if (pages == wants_pages()) return;
  context_.store.post([&replica = context_.replica, entries] {
    if (const auto kept = replica.set_meta(kTreeEntriesMeta, std::to_string(entries)); !kept)
      log_warn("the size of the tree is not kept: " + kept.error().message());
  });
}

void Lister::tree_session_ended(const RemoteSession& session, const Error& why) {
  if (session.outgrown()) {
    log_info("the tree has more than " + std::to_string(context_.options.max_whole_tree) +
             " entries: it is listed in pages");
    remember_size(context_.options.max_whole_tree + 1);
    return try_tree_again_in(std::chrono::milliseconds(0));
  }
  if (session.spec().paged && why.code() == Errc::kProtocol) {
    log_warn("the tree cannot be listed in pages, so it is as a whole: " + why.message());
    pool_.features().pages = false;
  } else if (session.spec().paged && why.code() == Errc::kLimit && paged_attributes_) {
    log_info("extended attributes and ACLs are listed with their directories: " + why.message());
    paged_attributes_ = false;
  }
  // What has come of its pages counts.
  const bool paging = tree_pages_ != nullptr;
  if (paging) std::exchange(tree_pages_, nullptr)->end_pages(true);
  if (why.code() != Errc::kCanceled) last_failure_ = why.message();
  if (!paging && !tree_ingesting_ && tree_wanted_anew_) {
    // The list that was to come did not.
    return retry_tree_later();
  }
  if (why.code() == Errc::kCanceled && !paging && (tree_fresh() || tree_ingesting_)) {
    // It made room for another after its list came: that is true as long as the link holds.
    tree_wanted_ = false;
  }
  why.code() == Errc::kCanceled ? try_tree_again_in(kTreeMadeRoom) : retry_tree_later();
}

void Lister::set_fresh(NodeId node) {
  const auto now = Clock::now();
  const std::unique_lock lock(fresh_mutex_);
  fresh_[node] = now;
  if (fresh_.size() <= fresh_limit_) return;
  std::vector<Clock::time_point> times;
  times.reserve(fresh_.size());
  for (const auto& [directory, at] : fresh_) times.push_back(at);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  auto oldest = std::min(*middle, now - kFreshForPages);
  if (tree_session_ != nullptr && !tree_session_->paged())
    oldest = std::min(oldest, tree_session_->opened_at());
  std::erase_if(fresh_, [oldest](const auto& each) { return each.second < oldest; });
  fresh_limit_ = std::max(kMaxFresh, fresh_.size() * 2);
}

}  // namespace rsyncfs
