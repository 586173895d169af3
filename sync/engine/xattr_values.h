// SPDX-License-Identifier: GPL-3.0-or-later
// Long extended attributes: a list carries only their digests, the values are asked for here.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread only.
class XattrValues final : public SessionUser {
 public:
  XattrValues(const EngineContext& context, SessionPool& pool);

  void want(RequestId id, NodeId node, std::string path, Done<void> done);
  void pump();
  void expire(Clock::time_point now);
  bool cancel(RequestId id);
  void link_failed(bool hopeless);
  void fail_everything(const Error& why);
  bool waiting() const { return !jobs_.empty(); }
  size_t waiting_count() const;

  void session_listed(RemoteSession& session) override;
  // From any session, whoever its user is.
  void session_xattrs(RemoteSession& session, uint32_t ndx,
                      std::vector<std::pair<std::string, std::string>> values) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  struct Job {
    NodeId node = 0;
    std::string path;
    std::vector<Waiter<void>> waiters;
    std::shared_ptr<RemoteSession> session;  // asked there
    uint32_t ndx = 0;
    const RemoteSession* opening = nullptr;
    unsigned attempts = 0;
  };
  void finish(NodeId node, const Result<void>& result);

  EngineContext context_;
  SessionPool& pool_;
  std::unordered_map<NodeId, Job> jobs_;
};

}  // namespace rsyncfs
