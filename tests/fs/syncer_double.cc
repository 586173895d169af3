// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fs/syncer_double.h"

#include <algorithm>
#include <utility>

namespace rsyncfs::testing {

SyncerDouble::SyncerDouble() : thread_([this] { run(); }) {}

SyncerDouble::~SyncerDouble() {
  fail_all(Errc::kCanceled);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void SyncerDouble::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
}

void SyncerDouble::post(Task task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.notify_all();
}

void SyncerDouble::unlist(NodeId directory) {
  const std::lock_guard lock(mutex_);
  unlisted_.insert(directory);
}

bool SyncerDouble::may_answer_listing(const Node& directory) const {
  const std::lock_guard lock(mutex_);
  return !unlisted_.contains(directory.id);
}

RequestId SyncerDouble::hold(UniqueFunction<void(Error)> fail) {
  const std::lock_guard lock(mutex_);
  const RequestId id = next_++;
  waiting_.emplace(id, std::move(fail));
  changed_.notify_all();
  return id;
}

void SyncerDouble::fail(RequestId request, Error error) {
  post([this, request, error = std::move(error)]() mutable {
    UniqueFunction<void(Error)> fail;
    {
      const std::lock_guard lock(mutex_);
      auto taken = waiting_.extract(request);
      if (taken.empty()) return;
      fail = std::move(taken.mapped());
      changed_.notify_all();
    }
    fail(std::move(error));
  });
}

void SyncerDouble::fail_all(Errc code) {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, unused] : waiting_) ids.push_back(id);
  }
  for (const RequestId id : ids) fail(id, Error(code, "the test says so"));
}

void SyncerDouble::cancel(RequestId request) {
  ++cancels_;
  fail(request, Error(Errc::kCanceled, "canceled"));
}

size_t SyncerDouble::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

bool SyncerDouble::wait_for_waiting(size_t count, std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return waiting_.size() == count; });
}

RequestId SyncerDouble::list_directory(NodeId directory, Done<void> done) {
  ++lists_;
  auto hook = get(on_list_);
  if (!hook) return hold([done = std::move(done)](Error error) mutable { done(std::move(error)); });
  post([this, hook = std::move(hook), directory, done = std::move(done)]() mutable {
    Result<void> listed = hook(directory);
    if (listed) {
      const std::lock_guard lock(mutex_);
      unlisted_.erase(directory);
    }
    done(std::move(listed));
  });
  const std::lock_guard lock(mutex_);
  return next_++;
}

RequestId SyncerDouble::read(NodeId file, uint64_t offset, uint32_t length, Done<ReadBytes> done) {
  ++reads_;
  if (const int answers = answers_per_read.load(); answers != 1) {
    for (int i = 0; i < answers; ++i) done(Error(Errc::kTimedOut, "again"));
    return 0;
  }
  const auto hook = get(on_read_);
  std::optional<std::string> content = hook ? hook(file) : std::nullopt;
  if (!content) return hold([done = std::move(done)](Error error) mutable { done(std::move(error)); });
  post([content = std::make_shared<const std::string>(std::move(*content)), offset, length,
        done = std::move(done)]() mutable {
    const std::string_view all(*content);
    const std::string_view part = offset < all.size() ? all.substr(offset, length) : std::string_view();
    done(ReadBytes{content, std::as_bytes(std::span(part))});
  });
  const std::lock_guard lock(mutex_);
  return next_++;
}

RequestId SyncerDouble::fetch_xattrs(NodeId node, Done<void> done) {
  auto hook = get(on_fetch_xattrs_);
  if (!hook) return hold([done = std::move(done)](Error error) mutable { done(std::move(error)); });
  post([hook = std::move(hook), node, done = std::move(done)]() mutable { done(hook(node)); });
  const std::lock_guard lock(mutex_);
  return next_++;
}

RequestId SyncerDouble::hydrate(NodeId /*file*/, Done<void> done) {
  return hold([done = std::move(done)](Error error) mutable { done(std::move(error)); });
}

RequestId SyncerDouble::compare(NodeId /*file*/, Done<Comparison> done) {
  return hold([done = std::move(done)](Error error) mutable { done(std::move(error)); });
}

void SyncerDouble::start(Done<void> done) {
  post([done = std::move(done)]() mutable {
    Result<void> reached;
    done(std::move(reached));
  });
}

void SyncerDouble::shut_down(Task done) {
  fail_all(Errc::kCanceled);
  post(std::move(done));
}

RequestId SyncerDouble::flush(std::optional<NodeId> /*below*/, Done<void> done) {
  return hold([done = std::move(done)](Error error) mutable { done(std::move(error)); });
}

void SyncerDouble::resume(Done<void> done) {
  post([done = std::move(done)]() mutable {
    Result<void> resumed;
    done(std::move(resumed));
  });
}

void SyncerDouble::status(UniqueFunction<void(SyncerStatus)> done) {
  post([done = std::move(done)]() mutable { done(SyncerStatus()); });
}

}  // namespace rsyncfs::testing
