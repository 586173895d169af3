// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/control_service.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "fs/daemon/fetch_job.h"
#include "fs/daemon/version.h"

namespace rsyncfs {
namespace {

using Kind = ControlAnswer::Kind;

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total_pages = 0;
  uint64_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return statm ? resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

std::string_view type_name(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "char-device";
    case S_IFBLK:
      return "block-device";
    default:
      return "unknown";
  }
}

ControlAnswer failed(const Error& error) {
  ControlFailure failure = ControlFailure::kOther;
  if (error.code() == Errc::kNotFound || error.code() == Errc::kNotDirectory)
    failure = ControlFailure::kNotFound;
  if (error.code() == Errc::kUsage) failure = ControlFailure::kUsage;
  if (error.os_errno() == EBUSY) failure = ControlFailure::kBusy;
  return {.kind = Kind::kFailed, .reason = error.message(), .failure = failure};
}

// Why a path is slow or refused now, from what the syncer knows.
std::string explain(const PathInfo& info, const SyncerStatus& syncer) {
  for (const std::string& failing : syncer.failing_paths) {
    if (failing.rfind(info.path + ": ", 0) == 0)
      return "the source refused it: " + failing.substr(info.path.size() + 2);
  }
  for (const TransferStatus& transfer : syncer.transfers) {
    if (transfer.path != info.path) continue;
    return "being fetched: " + std::to_string(transfer.done_bytes) + " of " +
           std::to_string(transfer.total_bytes) + " bytes";
  }
  if (info.state == "cached") return "";
  if (syncer.link == LinkState::kDown) {
    return "the source cannot be reached, and not all of it is here" +
           (syncer.last_error.empty() ? "" : ": " + syncer.last_error);
  }
  if (syncer.link == LinkState::kConnecting) return "the connection is being made";
  return "";
}

}  // namespace

ControlService::ControlService(Loop& loop, Executor& executor, Replica& replica, Syncer& syncer, Tree& tree,
                               MountFacts facts, Unmount unmount)
    : loop_(loop),
      replica_(replica),
      tree_(tree),
      facts_(std::move(facts)),
      unmount_(std::move(unmount)),
      offload_(loop, executor),
      context_{replica, syncer, offload_} {}

ControlService::~ControlService() = default;

void ControlService::set_front(Front* front) {
  const std::lock_guard lock(front_mutex_);
  front_ = front;
}

void ControlService::handle(ControlRequest request, std::shared_ptr<ControlReply> reply) {
  switch (request.verb) {
    case ControlVerb::kStatus:
      return answer_status(reply);
    case ControlVerb::kInfo:
      return answer_info(std::move(request.paths.front()), reply);
    case ControlVerb::kFetch:
      return std::make_shared<FetchJob>(loop_, context_, std::move(request.paths), std::move(reply))->start();
    case ControlVerb::kUnmount:
      return answer_unmount(request.lazy, std::move(reply));
  }
}

// Not through the executor, whose work may be what the user wonders about: the store's totals are in memory.
void ControlService::answer_status(const std::shared_ptr<ControlReply>& reply) {
  context_.syncer.status([this, reply](SyncerStatus syncer) {
    const Result<ReplicaStatistics> cache = replica_.statistics();
    if (!cache) return reply->finish(failed(cache.error()));
    reply->finish({.kind = Kind::kDone, .document = status_json(describe(std::move(syncer), *cache))});
  });
}

MountStatus ControlService::describe(SyncerStatus syncer, const ReplicaStatistics& cache) {
  MountStatus status;
  status.version = version();
  status.pid = static_cast<uint64_t>(getpid());
  status.source = facts_.source;
  status.mountpoint = facts_.mountpoint;
  status.state_directory = facts_.state_directory;
  status.started_at_s = facts_.started_at_s;
  status.syncer = std::move(syncer);
  status.io_engine = loop_.engine();
  status.io_reason = facts_.io_reason;
  const LoopCounters& counters = loop_.counters();
  status.io_wakeups = counters.wakeups.load();
  status.io_submits = counters.submits.load();
  for (size_t i = 0; i < counters.ops.size(); ++i) {
    const uint64_t count = counters.ops[i].load();
    if (count != 0) status.io_operations.emplace_back(io_op_name(static_cast<IoOp>(i)), count);
  }
  status.cached_bytes = cache.cached_bytes;
  status.cached_files = cache.cached_files;
  status.partial_files = cache.partial_files;
  status.nodes = cache.nodes;
  status.rss_bytes = resident_bytes();
  describe_front(status);
  return status;
}

void ControlService::describe_front(MountStatus& status) {
  const std::lock_guard lock(front_mutex_);
  if (front_ == nullptr) return;
  const FrontStatistics statistics = front_->statistics();
  for (size_t i = 0; i < statistics.requests.size(); ++i) {
    if (statistics.requests[i] == 0) continue;
    status.requests.emplace_back(front_op_name(static_cast<FrontOp>(i)), statistics.requests[i]);
  }
  status.front_description = front_->description();
  status.front_errors = statistics.errors;
  status.front_waiting = statistics.waiting;
  status.front_parked_total = statistics.parked_total;
  status.front_known_nodes = statistics.known_nodes;
  status.notifications_sent = statistics.notifier.sent;
}

void ControlService::answer_info(std::string path, const std::shared_ptr<ControlReply>& reply) {
  auto found = [this, path, reply](Result<Node> node) {
    if (!node) return reply->finish(failed(node.error()));
    offload_.run(
        [this, node = *node, path] { return info_of(node, path); },
        [this, reply](Result<PathInfo> info) {
          if (!info) return reply->finish(failed(info.error()));
          context_.syncer.status([reply, info = std::move(info.value())](const SyncerStatus& syncer) mutable {
            info.link = syncer.link;
            info.link_text = syncer.link_text;
            info.why = explain(info, syncer);
            reply->finish({.kind = Kind::kDone, .document = info_json(info)});
          });
        });
  };
  const auto walk =
      std::make_shared<PathWalk>(context_, std::move(path), /*follow_last=*/false, std::move(found));
  reply->on_gone([weak = std::weak_ptr(walk)] {
    if (const auto alive = weak.lock()) alive->cancel();
  });
  walk->start();
}

Result<PathInfo> ControlService::info_of(const Node& node, const std::string& path) const {
  const Result<std::string> state = tree_.state(node.id);
  if (!state) return state.error();
  const Result<ContentState> content = replica_.content_state(node.id);
  if (!content) return content.error();
  // The path by which the source knows it: where symbolic links led to, not what was typed.
  const Result<std::string> stored = replica_.path_of(node.id);
  PathInfo info;
  info.path = stored ? *stored : path;
  info.type = type_name(node.attr.mode);
  info.state = *state;
  info.source_path = facts_.source_path;
  if (!info.path.empty()) info.source_path += (info.source_path.back() == '/' ? "" : "/") + info.path;
  info.node = node.id;
  info.inode = node.ino;
  info.size_bytes = node.attr.size;
  info.cached_bytes = content->present_bytes;
  info.mtime_s = node.attr.mtime_s;
  info.mtime_ns = node.attr.mtime_ns;
  info.listed_at_s = node.listed_at_s;
  return info;
}

void ControlService::answer_unmount(bool lazy, std::shared_ptr<ControlReply> reply) {
  unmount_(lazy, [this, reply = std::move(reply)](Result<void> outcome) mutable {
    loop_.post([reply = std::move(reply), outcome = std::move(outcome)] {
      reply->finish(outcome ? ControlAnswer{.kind = Kind::kDone} : failed(outcome.error()));
    });
  });
}

}  // namespace rsyncfs
