// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/notifier.h"

#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {
namespace {

// Sent after one wait for answers under way.
constexpr size_t kBatch = 256;

}  // namespace

size_t Notifier::ItemHash::operator()(const Item& item) const {
  const size_t h = std::hash<std::string>()(item.name);
  return (h ^ (item.node * 0x9e3779b97f4a7c15)) + static_cast<size_t>(item.kind);
}

Notifier::~Notifier() {
  detach();
}

void Notifier::attach(KernelCaches& kernel, Tree& tree) {
  const std::lock_guard lock(mutex_);
  RSYNCFS_CHECK(kernel_ == nullptr && !thread_.joinable());
  kernel_ = &kernel;
  tree_ = &tree;
  stopping_ = false;
  thread_ = std::thread([this] { run(); });
}

bool Notifier::stop_sending(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
  return idle_.wait_for(lock, limit, [this] { return !sending_; });
}

void Notifier::detach() {
  stop_sending(std::chrono::milliseconds(0));
  {
    const std::lock_guard lock(mutex_);
    if (kernel_ == nullptr) return;
  }
  thread_.join();
  const std::lock_guard lock(mutex_);
  kernel_ = nullptr;
  tree_ = nullptr;
  order_.clear();
  waiting_.clear();
  idle_.notify_all();
}

void Notifier::on_changes(std::vector<NameChange> changes) {
  const std::lock_guard lock(mutex_);
  if (kernel_ == nullptr || stopping_) return;
  tree_->note_change();
  for (const NameChange& change : changes) push_change(change);
  wake_.notify_one();
}

void Notifier::on_content_changed(NodeId node) {
  const std::lock_guard lock(mutex_);
  if (kernel_ == nullptr || stopping_) return;
  push(Kind::kAll, node);
  wake_.notify_one();
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
      // A file of which nothing was stored yet keeps its node in a new version, and the kernel may have pages
      // of the old one; a link's target changes with its attributes.
      push(Kind::kAll, change.node);
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
  wake_.wait(lock, [this] { return stopping_ || !order_.empty(); });
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

void Notifier::run() {
  ::pthread_setname_np(::pthread_self(), "fuse-notifier");
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::vector<Item> batch = next_batch(lock);
    sending_ = true;
    lock.unlock();
    uint64_t sent = 0;
    if (!batch.empty()) tree_->wait_for_answers();
    for (const Item& item : batch) {
      if (stopping_) break;
      sent += send(item);
    }
    lock.lock();
    sending_ = false;
    statistics_.sent += sent;
    if (order_.empty() || stopping_) idle_.notify_all();
  }
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
    case Kind::kAll:
      kernel_->drop_all(item.node);
      return 1;
    case Kind::kChanged: {
      // A directory's names have their own changes. But a file of which nothing was stored keeps its node in
      // a new version, and the kernel may have pages of the old one; a link's target changes with its
      // attributes.
      const Result<Node> node = tree_->replica().node(item.node);
      const bool directory = node && S_ISDIR(node->attr.mode);
      directory ? kernel_->drop_attributes(item.node) : kernel_->drop_all(item.node);
      return 1;
    }
    case Kind::kDirectory:
      return send_directory(item.node);
  }
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
  return idle_.wait_for(lock, limit, [this] { return order_.empty() && !sending_; });
}

NotifierStatistics Notifier::statistics() const {
  const std::lock_guard lock(mutex_);
  NotifierStatistics now = statistics_;
  now.queued = order_.size();
  return now;
}

}  // namespace rsyncfs
