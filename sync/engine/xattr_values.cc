// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/xattr_values.h"

#include <algorithm>
#include <utility>

#include "sync/engine/stored_xattr.h"

namespace rsyncfs {

namespace {
constexpr unsigned kMaxAttempts = 3;

struct Value {
  std::string digest;
  std::string bytes;
};
}  // namespace

XattrValues::XattrValues(const EngineContext& context, SessionPool& pool) : context_(context), pool_(pool) {}

void XattrValues::want(RequestId id, NodeId node, std::string path, Done<void> done) {
  const auto now = Clock::now();
  Job& job = jobs_[node];
  job.node = node;
  job.path = std::move(path);
  job.waiters.push_back({id, now, now + context_.options.timeout, std::move(done)});
}

void XattrValues::pump() {
  std::vector<NodeId> hopeless;
  for (auto& [node, job] : jobs_) {
    if (job.session && job.session->ended()) job.session.reset();
    if (job.session || job.opening != nullptr) continue;
    if (job.attempts >= kMaxAttempts) {
      hopeless.push_back(node);
      continue;
    }
    // A value is given once per session: one that was asked before is no use.
    for (auto& found : pool_.find_entry(job.path)) {
      job.session = found.session;  // the answer may come from inside the request
      job.ndx = found.ndx;
      if (found.session->request_xattrs(found.ndx)) break;
      job.session.reset();
    }
    if (job.session) ++job.attempts;
    if (job.session) continue;
    SessionSpec spec;
    spec.paths.push_back(job.path.empty() ? "./" : job.path);
    spec.demanded = true;
    if (const auto session = pool_.open(std::move(spec), *this)) job.opening = session.get();
  }
  for (const NodeId node : hopeless) {
    finish(node, Error(Errc::kProtocol, "the server does not give the value of an extended attribute"));
  }
}

void XattrValues::session_listed(RemoteSession& session) {
  for (auto& [node, job] : jobs_) {
    if (job.opening == &session) job.opening = nullptr;
  }
  pump();
}

void XattrValues::session_xattrs(RemoteSession& session, uint32_t ndx,
                                 std::vector<std::pair<std::string, std::string>> values) {
  const auto found = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& item) {
    return item.second.session.get() == &session && item.second.ndx == ndx;
  });
  if (found == jobs_.end()) return;
  std::vector<Value> stored;
  for (auto& [name, bytes] : values) {
    if (bytes.size() <= kMaxFullXattrBytes) continue;
    std::string digest = xattr_digest(bytes);
    stored.push_back({std::move(digest), std::move(bytes)});
  }
  const NodeId node = found->first;
  context_.store.post([this, node, stored = std::move(stored)] {
    Result<void> result;
    for (const Value& value : stored) {
      result = context_.replica.store_xattr_value(value.digest, value.bytes.size(), value.bytes);
      if (!result) break;
    }
    context_.loop.post([this, node, result = std::move(result)] { finish(node, result); });
  });
}

void XattrValues::session_ended(RemoteSession& session, const Error& why) {
  std::vector<NodeId> failed;
  for (auto& [node, job] : jobs_) {
    if (job.opening != &session) continue;
    job.opening = nullptr;
    ++job.attempts;
    if (why.code() == Errc::kNotFound || why.code() == Errc::kPermission) failed.push_back(node);
  }
  for (const NodeId node : failed) finish(node, why);
}

void XattrValues::finish(NodeId node, const Result<void>& result) {
  const auto found = jobs_.find(node);
  if (found == jobs_.end()) return;
  Job job = std::move(found->second);
  jobs_.erase(found);
  for (auto& waiter : job.waiters) waiter.done(result);
}

void XattrValues::expire(Clock::time_point now) {
  std::vector<Waiter<void>> late;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    auto waiters = take_if(it->second.waiters, [now](const auto& w) { return now >= w.deadline; });
    std::move(waiters.begin(), waiters.end(), std::back_inserter(late));
    it = it->second.waiters.empty() ? jobs_.erase(it) : std::next(it);
  }
  fail_all(late, pool_.link().failure(context_.patience()));
}

bool XattrValues::cancel(RequestId id) {
  for (auto& [node, job] : jobs_) {
    auto waiters = take_if(job.waiters, [id](const auto& w) { return w.id == id; });
    if (waiters.empty()) continue;
    fail_all(waiters, Error(Errc::kCanceled, "interrupted"));
    return true;
  }
  return false;
}

void XattrValues::link_failed(bool hopeless) {
  if (!hopeless) return;
  fail_everything(pool_.link().failure(context_.patience()));
}

void XattrValues::fail_everything(const Error& why) {
  std::vector<NodeId> all;
  for (const auto& [node, job] : jobs_) all.push_back(node);
  for (const NodeId node : all) finish(node, why);
}

size_t XattrValues::waiting_count() const {
  size_t count = 0;
  for (const auto& [node, job] : jobs_) count += job.waiters.size();
  return count;
}

}  // namespace rsyncfs
