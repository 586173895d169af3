// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/notifier.h"

#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <iterator>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {
namespace {

// Sent after one wait for answers under way.
constexpr size_t kBatch = 256;
// The kernel may be busy giving up the very inode, which waits for the answer that waits here.
constexpr std::chrono::milliseconds kLongestSettling{500};

void begin_thread(const char* name) {
  ::pthread_setname_np(::pthread_self(), name);
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

size_t Notifier::ItemHash::operator()(const Item& item) const {
  const size_t h = std::hash<std::string>()(item.name);
  return (h ^ (item.node * 0x9e3779b97f4a7c15)) + static_cast<size_t>(item.kind);
}

Notifier::~Notifier() {
  detach();
}

void Notifier::attach(KernelCaches& kernel, Tree& tree, EventRaiser* events) {
  const std::lock_guard lock(mutex_);
  RSYNCFS_CHECK(kernel_ == nullptr && !thread_.joinable());
  kernel_ = &kernel;
  tree_ = &tree;
  events_ = events;
  stopping_ = false;
  thread_ = std::thread([this] { run(); });
  attributes_thread_ = std::thread([this] { run_attributes(); });
}

bool Notifier::stop_sending(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
  awaited_wake_.notify_all();
  told_.notify_all();
  return idle_.wait_for(lock, limit, [this] { return !sending_ && !telling_; });
}

void Notifier::detach() {
  stop_sending(std::chrono::milliseconds(0));
  {
    const std::lock_guard lock(mutex_);
    if (kernel_ == nullptr) return;
  }
  thread_.join();
  attributes_thread_.join();
  const std::lock_guard lock(mutex_);
  kernel_ = nullptr;
  tree_ = nullptr;
  events_ = nullptr;
  removed_.clear();
  renamed_.clear();
  changed_.clear();
  order_.clear();
  waiting_.clear();
  stale_.clear();
  grown_.clear();
  any_stale_ = false;
  awaited_.clear();
  idle_.notify_all();
}

void Notifier::on_changes(std::vector<NameChange> changes) {
  const std::lock_guard lock(mutex_);
  if (kernel_ == nullptr || stopping_) return;
  tree_->note_change();
  push_events(changes);
  for (const NameChange& change : changes) push_change(change);
  wake_.notify_one();
}

void Notifier::on_content_changed(NodeId node) {
  const std::lock_guard lock(mutex_);
  if (kernel_ == nullptr || stopping_) return;
  push(Kind::kAll, node);
  note_stale(node);
  if (events_ != nullptr && events_->anybody()) {
    if (auto name = tree_->replica().name_of(node))
      push_event({NameChange::Kind::kAttributes, name->first, std::move(name->second), node, 0});
  }
  wake_.notify_one();
}

void Notifier::on_growth(NodeId node, UniqueFunction<void()> told) {
  {
    const std::lock_guard lock(mutex_);
    if (kernel_ != nullptr && !stopping_ && tree_->is_known(node)) {
      push(Kind::kAll, node);
      grown_.push_back(std::move(told));
      wake_.notify_one();
      return;
    }
  }
  told();
}

bool Notifier::is_in_use(NodeId node) {
  const std::lock_guard lock(mutex_);
  return kernel_ != nullptr && !stopping_ && tree_->is_known(node);
}

void Notifier::settle_attributes(NodeId file) {
  if (!any_stale_.load()) return;
  std::unique_lock lock(mutex_);
  if (!stale_.contains(file)) return;
  awaited_.push_back(file);
  awaited_wake_.notify_one();
  const bool told =
      told_.wait_for(lock, kLongestSettling, [&] { return stopping_ || !stale_.contains(file); });
  if (!told)
    log_debug("bytes of " + std::to_string(file) + " are answered before the kernel knows their size");
}

void Notifier::note_stale(NodeId node) {
  if (!tree_->is_known(node)) return;
  stale_[node].change = ++changes_;
  any_stale_ = true;
}

// What was changed again since stays.
void Notifier::note_told(const std::vector<Item>& batch, uint64_t until) {
  for (const Item& item : batch) {
    if (item.kind == Kind::kEntry) continue;
    const auto found = stale_.find(item.node);
    if (found != stale_.end() && found->second.change <= until) stale_.erase(found);
  }
  any_stale_ = !stale_.empty();
  told_.notify_all();
}

void Notifier::push_events(const std::vector<NameChange>& changes) {
  if (events_ == nullptr) return;
  const Renamings renamings(changes);
  for (const auto& [gone, there] : renamings.pairs()) {
    Renaming renaming{changes[gone], changes[there]};
    if (events_->concerns(renaming) && renamed_.size() < limits_.events)
      renamed_.push_back(std::move(renaming));
  }
  for (size_t i = 0; i < changes.size(); ++i) {
    if (!renamings.has(i)) push_event(changes[i]);
  }
}

void Notifier::push_event(const NameChange& change) {
  if (events_ == nullptr || !events_->concerns(change)) return;
  auto& queue = change.kind == NameChange::Kind::kRemoved ? removed_ : changed_;
  if (queue.size() < limits_.events) queue.push_back(change);
}

void Notifier::push_change(const NameChange& change) {
  switch (change.kind) {
    case NameChange::Kind::kCreated:
      // Known by another name: its link count is stale.
      if (tree_->is_known(change.node)) push(Kind::kAttributes, change.node);
      // The kernel holds neither the absence of the name nor a list without it if it never got an answer from
      // this directory: so the first listing of a tree costs nothing here.
      if (tree_->names_were_answered(change.parent)) push_name(change);
      return;
    case NameChange::Kind::kRemoved:
      push_name(change);
      push(Kind::kAttributes, change.node);
      return;
    case NameChange::Kind::kReplaced:
      push_name(change);
      push(Kind::kAttributes, change.old_node);
      return;
    case NameChange::Kind::kAttributes:
      push(Kind::kChanged, change.node);
      note_stale(change.node);
      return;
  }
}

void Notifier::push_name(const NameChange& change) {
  if (waiting_.size() >= limits_.names && change.parent != kRootNode) {
    ++statistics_.overflows;
    push(Kind::kDirectory, change.parent);
    return;
  }
  push(Kind::kEntry, change.parent, change.name);
  push(Kind::kAll, change.parent);
}

void Notifier::push(Kind kind, NodeId node, std::string_view name) {
  if (node == 0) return;
  if (waiting_.size() >= limits_.everything) return lose();
  const auto [at, fresh] = waiting_.insert(Item{kind, node, std::string(name)});
  if (!fresh) {
    ++statistics_.coalesced;
    return;
  }
  order_.push_back(&*at);
}

void Notifier::lose() {
  ++statistics_.lost;
  if (std::exchange(losing_, true)) return;
  log_warn(
      "more changes at once than the kernel can be told of: some names may stay stale until they leave its "
      "cache");
}

std::vector<Notifier::Item> Notifier::next_batch(std::unique_lock<std::mutex>& lock) {
  wake_.wait(lock, [this] { return stopping_ || !order_.empty() || has_events(); });
  std::vector<Item> batch;
  if (stopping_) return batch;
  for (size_t i = 0; i < kBatch && !order_.empty(); ++i) {
    auto taken = waiting_.extract(*order_.front());
    order_.pop_front();
    batch.push_back(std::move(taken.value()));
  }
  if (order_.empty()) losing_ = false;
  return batch;
}

// With mutex_. Others than removals come when all that is stale was told.
std::vector<NameChange> Notifier::next_events(bool removals) {
  std::vector<NameChange> out;
  if (stopping_ || (!removals && !order_.empty())) return out;
  auto& queue = removals ? removed_ : changed_;
  out.assign(std::make_move_iterator(queue.begin()), std::make_move_iterator(queue.end()));
  queue.clear();
  return out;
}

// The kernel has moved the same node there itself, and what it knows below it.
void Notifier::erase_name_of(std::vector<Item>& batch, const NameChange& change) {
  std::erase_if(batch, [&](const Item& item) {
    return item.kind == Kind::kEntry && item.node == change.parent && item.name == change.name;
  });
}

void Notifier::raise(const std::vector<NameChange>& events) {
  for (const NameChange& event : events) {
    if (stopping_) return;
    events_->raise(event);
  }
}

std::vector<NameChange> Notifier::raise_renamings(const std::vector<Renaming>& renamings,
                                                  std::vector<Item>& batch) {
  std::vector<NameChange> left;
  // An answer that says what was before must not come after it.
  if (!renamings.empty()) tree_->wait_for_answers();
  for (const Renaming& renaming : renamings) {
    if (stopping_) break;
    if (events_->raise(renaming, *kernel_)) {
      if (renaming.gone.node == renaming.there.node) erase_name_of(batch, renaming.there);
      continue;
    }
    if (events_->concerns(renaming.gone)) events_->raise(renaming.gone);
    if (events_->concerns(renaming.there)) left.push_back(renaming.there);
  }
  return left;
}

void Notifier::run() {
  begin_thread("fuse-notifier");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    std::vector<Item> batch = next_batch(lock);
    const std::vector<NameChange> removed = next_events(true);
    const std::vector<Renaming> renamed(renamed_.begin(), renamed_.end());
    renamed_.clear();
    const std::vector<NameChange> changed = next_events(false);
    std::vector<UniqueFunction<void()>> grown;
    if (order_.empty()) grown = std::exchange(grown_, {});
    const uint64_t until = changes_;
    sending_ = true;
    lock.unlock();
    uint64_t sent = 0;
    raise(removed);
    const std::vector<NameChange> not_renamed = raise_renamings(renamed, batch);
    if (!batch.empty()) tree_->wait_for_answers();
    for (const Item& item : batch) {
      if (stopping_) break;
      sent += send(item);
    }
    raise(not_renamed);
    raise(changed);
    for (auto& told : grown) told();
    lock.lock();
    statistics_.events += removed.size() + renamed.size() + changed.size();
    sending_ = false;
    statistics_.sent += sent;
    if (!stopping_) note_told(batch, until);
    if ((order_.empty() && !has_events()) || stopping_) idle_.notify_all();
  }
}

// What was answered before the change is not waited for: the kernel knows that its question is older. What it
// should not know is told in the ordinary way all the same.
void Notifier::run_attributes() {
  begin_thread("fuse-attributes");
  std::unique_lock lock(mutex_);
  for (;;) {
    awaited_wake_.wait(lock, [this] { return stopping_ || !awaited_.empty(); });
    if (stopping_) return;
    const NodeId node = awaited_.front();
    awaited_.pop_front();
    telling_ = true;
    tell(lock, node);
    telling_ = false;
    if (awaited_.empty() || stopping_) idle_.notify_all();
  }
}

// Once more if the node was changed meanwhile.
void Notifier::tell(std::unique_lock<std::mutex>& lock, NodeId node) {
  const auto found = stale_.find(node);
  if (found == stale_.end() || found->second.telling) return;
  found->second.telling = true;
  const uint64_t change = found->second.change;
  lock.unlock();
  kernel_->drop_attributes(node);
  lock.lock();
  ++statistics_.sent;
  const auto now = stale_.find(node);
  if (now != stale_.end() && now->second.change > change) {
    now->second.telling = false;
    awaited_.push_back(node);
    awaited_wake_.notify_one();
    return;
  }
  stale_.erase(node);
  any_stale_ = !stale_.empty();
  told_.notify_all();
}

// What the kernel does not know it need not forget; that is decided here, after the answers under way were
// given.
uint64_t Notifier::send(const Item& item) {
  if (!tree_->is_known(item.node)) return 0;
  switch (item.kind) {
    case Kind::kEntry:
      kernel_->drop_entry(item.node, item.name);
      return 1;
    case Kind::kAttributes:
      kernel_->drop_attributes(item.node);
      return 1;
    case Kind::kChanged:
      return send_change(item.node);
    case Kind::kAll:
      kernel_->drop_all(item.node);
      return 1;
    case Kind::kDirectory:
      return send_directory(item.node);
  }
  return 0;
}

// A directory's names have their own changes, and a file goes on with another version only if the kernel was
// given no byte of the one before. But a link's target changes with its attributes.
uint64_t Notifier::send_change(NodeId changed) {
  const Result<Node> node = tree_->replica().node(changed);
  if (node && S_ISLNK(node->attr.mode)) {
    kernel_->drop_all(changed);
    return 1;
  }
  std::unique_lock lock(mutex_);
  tell(lock, changed);
  return 0;
}

uint64_t Notifier::send_directory(NodeId directory) {
  uint64_t sent = 0;
  if (const auto name = tree_->replica().name_of(directory)) {
    kernel_->drop_entry(name->first, name->second);
    ++sent;
  }
  kernel_->drop_all(directory);
  return sent + 1;
}

bool Notifier::wait_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [this] {
    return order_.empty() && !has_events() && awaited_.empty() && !sending_ && !telling_;
  });
}

NotifierStatistics Notifier::statistics() const {
  const std::lock_guard lock(mutex_);
  NotifierStatistics now = statistics_;
  now.queued = order_.size();
  return now;
}

}  // namespace rsyncfs
