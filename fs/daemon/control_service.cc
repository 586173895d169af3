// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/control_service.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <utility>

#include "fs/control/byte_text.h"
#include "fs/control/conflict_document.h"
#include "fs/control/info_document.h"
#include "fs/control/json_fields.h"
#include "fs/control/push_json.h"
#include "fs/daemon/fetch_job.h"
#include "fs/daemon/free_work.h"
#include "fs/daemon/path_info.h"
#include "fs/daemon/path_reasons.h"
#include "fs/daemon/path_refresh.h"
#include "fs/daemon/paths_job.h"
#include "fs/daemon/verify_job.h"
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

ControlAnswer failed(const Error& error) {
  ControlFailure failure = ControlFailure::kOther;
  if (error.code() == Errc::kNotFound || error.code() == Errc::kNotDirectory)
    failure = ControlFailure::kNotFound;
  if (error.code() == Errc::kUsage) failure = ControlFailure::kUsage;
  if (error.os_errno() == EBUSY) failure = ControlFailure::kBusy;
  return {.kind = Kind::kFailed, .reason = error.message(), .failure = failure};
}

}  // namespace

ControlService::ControlService(Loop& loop, Executor& executor, Replica& replica, Syncer& syncer, Tree& tree,
                               MountEvents& events, MappedFiles& mapped, MountFacts facts, Unmount unmount)
    : loop_(loop),
      replica_(replica),
      tree_(tree),
      events_(events),
      mapped_(mapped),
      facts_(std::move(facts)),
      unmount_(std::move(unmount)),
      offload_(loop, executor),
      context_{replica, syncer, offload_, tree.local_only()},
      drain_(loop, context_),
      pins_(loop, context_) {}

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
    case ControlVerb::kFree:
      return answer_free(request, std::move(reply));
    case ControlVerb::kPin:
      return answer_pin(request, std::move(reply));
    case ControlVerb::kUnpin:
      return answer_unpin(request, std::move(reply));
    case ControlVerb::kFlush:
      return answer_flush(std::move(request), reply);
    case ControlVerb::kRefresh:
      return answer_refresh(std::move(request.paths.front()), reply);
    case ControlVerb::kVerify:
      return std::make_shared<VerifyJob>(loop_, context_, events_, request, std::move(reply))->start();
    case ControlVerb::kConflicts:
      return answer_conflicts(request.clear, reply);
    case ControlVerb::kResume:
      return answer_resume(reply);
    case ControlVerb::kUnmount:
      return answer_unmount(request, std::move(reply));
    case ControlVerb::kHandOver:
      return reply->finish(drain_.hand_over() ? ControlAnswer{.kind = Kind::kDone}
                                              : failed(Error(Errc::kRefused, "it is not unmounted")));
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

void ControlService::tell_metrics(MetricsServer::Answer answer) {
  context_.syncer.status([this, answer = std::move(answer)](SyncerStatus syncer) mutable {
    const Result<ReplicaStatistics> cache = replica_.statistics();
    if (!cache) return answer(cache.error());
    answer(metrics_text(describe(std::move(syncer), *cache), time(nullptr)));
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
  status.is_draining = drain_.is_running() || drain_.is_over();
  status.read_only_reason = events_.read_only_reason();
  status.writable = facts_.writable && (facts_.keeps_changes || status.read_only_reason.empty());
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
  const FileBatch& batch = replica_.file_batch();
  status.batch_engine = batch.engine();
  status.batches = batch.counters().batches.load();
  status.batch_reads = batch.counters().reads.load();
  status.batch_read_bytes = batch.counters().read_bytes.load();
  status.batch_syncs = batch.counters().syncs.load();
  status.batch_removals = batch.counters().removals.load();
  status.cached_bytes = cache.cached_bytes;
  status.cached_files = cache.cached_files;
  status.partial_files = cache.partial_files;
  status.nodes = cache.nodes;
  status.rss_bytes = resident_bytes();
  const ReadCounters& reads = tree_.reads();
  status.reads = {reads.hits.load(), reads.hit_bytes.load(), reads.misses.load(), reads.missed_bytes.load(),
                  reads.miss_latency.now()};
  describe_front(status);
  return status;
}

void ControlService::describe_front(MountStatus& status) {
  const std::lock_guard lock(front_mutex_);
  if (front_ == nullptr) return;
  const FrontStatistics statistics = front_->statistics();
  for (size_t i = 0; i < statistics.requests.size(); ++i) {
    if (statistics.requests[i] == 0) continue;
    const std::string name(front_op_name(static_cast<FrontOp>(i)));
    status.requests.emplace_back(name, statistics.requests[i]);
    if (statistics.latencies[i].total() != 0)
      status.request_latencies.emplace_back(name, statistics.latencies[i]);
  }
  for (const auto& [number, count] : statistics.errors_by_number) {
    const char* name = strerrorname_np(number);
    status.reply_errors.emplace_back(name != nullptr ? name : std::to_string(number), count);
  }
  status.front_description = front_->description();
  status.front_errors = statistics.errors;
  status.front_waiting = statistics.waiting;
  status.front_parked_total = statistics.parked_total;
  status.front_known_nodes = statistics.known_nodes;
  status.notifications_sent = statistics.notifier.sent;
  status.events_raised = statistics.notifier.events;
}

void ControlService::answer_info(std::string path, const std::shared_ptr<ControlReply>& reply) {
  auto found = [this, path, reply](Result<Node> node) {
    if (!node) return reply->finish(failed(node.error()));
    offload_.run(
        [this, node = *node, path] { return path_info(replica_, tree_, facts_.source_path, node, path); },
        [this, reply](Result<PathInfo> info) {
          if (!info) return reply->finish(failed(info.error()));
          context_.syncer.status(
              [this, reply, info = std::move(info.value())](const SyncerStatus& syncer) mutable {
                info.link = syncer.link;
                info.link_text = syncer.link_text;
                const std::string refusal = events_.read_only_reason();
                const bool writable = facts_.writable && (facts_.keeps_changes || refusal.empty());
                info.reasons = path_reasons(info, {syncer, writable, refusal, time(nullptr)});
                info.why = info.reasons.empty() ? "" : info.reasons.front();
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

void ControlService::answer_free(const ControlRequest& request, std::shared_ptr<ControlReply> reply) {
  const auto work = std::make_shared<FreeWork>(replica_, mapped_);
  const auto over = [work](const std::shared_ptr<ControlReply>& answer) {
    const FreedTotals& totals = work->totals();
    const Json document = {{"freed_files", totals.files},
                           {"freed_bytes", totals.bytes},
                           {"kept_dirty", totals.dirty},
                           {"kept_pinned", totals.pinned},
                           {"kept_in_use", totals.in_use}};
    answer->finish({.kind = Kind::kDone, .document = dump_json(document)});
  };
  std::make_shared<PathsJob>(
      context_, request.paths, std::move(reply), [work](const Node& node) { return work->free_below(node); },
      over)
      ->start();
}

// First all are pinned, so that nothing goes while the rest is fetched.
void ControlService::answer_pin(const ControlRequest& request, std::shared_ptr<ControlReply> reply) {
  std::make_shared<PathsJob>(
      context_, request.paths, std::move(reply),
      [this](const Node& node) { return replica_.cache().pin(node.id); },
      [this, paths = request.paths](std::shared_ptr<ControlReply> answer) {
        std::make_shared<FetchJob>(loop_, context_, paths, std::move(answer))->start();
      })
      ->start();
}

void ControlService::answer_unpin(const ControlRequest& request, std::shared_ptr<ControlReply> reply) {
  const auto taken = std::make_shared<size_t>(0);
  const auto work = [this, taken](const Node& node) -> Result<void> {
    const Result<size_t> unpinned = replica_.cache().unpin(node.id);
    if (!unpinned) return unpinned.error();
    *taken += *unpinned;
    const Result<bool> still = replica_.cache().is_pinned(node.id);
    if (!still) return still.error();
    if (*still) return Error(Errc::kUsage, "a directory above it is pinned");
    return *unpinned > 0 ? Result<void>() : Error(Errc::kUsage, "it is not pinned");
  };
  std::make_shared<PathsJob>(context_, request.paths, std::move(reply), work,
                             [taken](const std::shared_ptr<ControlReply>& answer) {
                               const Json document = {{"pins", *taken}};
                               answer->finish({.kind = Kind::kDone, .document = dump_json(document)});
                             })
      ->start();
}

void ControlService::answer_flush(ControlRequest request, const std::shared_ptr<ControlReply>& reply) {
  const std::string path = request.paths.front();
  std::optional<std::chrono::milliseconds> limit;
  if (request.limit_s) limit = std::chrono::seconds(*request.limit_s);
  if (path.empty()) return flush(FlushWait::Scope{}, limit, reply);
  const auto walk = std::make_shared<PathWalk>(
      context_, path, /*follow_last=*/true, [this, limit, reply](const Result<Node>& node) {
        if (!node) return reply->finish(failed(node.error()));
        // By the name that leads to it: symbolic links may have been typed.
        offload_.run([this, id = node->id] { return replica_.path_of(id); },
                     [this, id = node->id, limit, reply](Result<std::string> stored) {
                       if (!stored) return reply->finish(failed(stored.error()));
                       flush({id, std::move(stored.value())}, limit, reply);
                     });
      });
  reply->on_gone([weak = std::weak_ptr(walk)] {
    if (const auto alive = weak.lock()) alive->cancel();
  });
  walk->start();
}

void ControlService::flush(FlushWait::Scope scope, std::optional<std::chrono::milliseconds> limit,
                           const std::shared_ptr<ControlReply>& reply) {
  const auto wait =
      std::make_shared<FlushWait>(loop_, context_, std::move(scope), FlushWait::Limits{limit, std::nullopt});
  reply->on_gone([weak = std::weak_ptr(wait)] {
    if (const auto alive = weak.lock()) alive->cancel();
  });
  wait->start(
      [reply](const JobProgress& progress) { reply->send({.kind = Kind::kProgress, .progress = progress}); },
      [reply](const FlushOutcome& outcome) {
        if (outcome.all_sent) return reply->finish({.kind = Kind::kDone});
        tell_what_is_left(*reply, outcome);
      });
}

void ControlService::answer_refresh(std::string path, const std::shared_ptr<ControlReply>& reply) {
  const auto refresh =
      std::make_shared<PathRefresh>(context_, std::move(path), [reply](const Result<void>& listed) {
        reply->finish(listed ? ControlAnswer{.kind = Kind::kDone} : failed(listed.error()));
      });
  reply->on_gone([weak = std::weak_ptr(refresh)] {
    if (const auto alive = weak.lock()) alive->cancel();
  });
  refresh->start();
}

void ControlService::answer_conflicts(bool clear, const std::shared_ptr<ControlReply>& reply) {
  offload_.run(
      [this, clear]() -> Result<std::string> {
        auto records = replica_.pending().conflicts(kMaxConflictRecords);
        if (!records) return records.error();
        const ConflictList list = make_conflict_list(std::move(records.value()));
        if (clear) {
          std::vector<uint64_t> ids;
          for (const ConflictRecord& record : list.conflicts) ids.push_back(record.id);
          if (const Result<void> cleared = replica_.pending().clear_conflicts(ids); !cleared)
            return cleared.error();
        }
        return conflicts_json(list);
      },
      [reply](Result<std::string> document) {
        if (!document) return reply->finish(failed(document.error()));
        reply->finish({.kind = Kind::kDone, .document = std::move(document.value())});
      });
}

void ControlService::answer_resume(const std::shared_ptr<ControlReply>& reply) {
  context_.syncer.status([this, reply](const SyncerStatus& before) {
    context_.syncer.resume([reply, stopped = before.push.stopped](const Result<void>& resumed) {
      if (!resumed) return reply->finish(failed(resumed.error()));
      Json document;
      document["was_stopped"] = bytes_to_text(stopped);
      reply->finish({.kind = Kind::kDone, .document = dump_json(document)});
    });
  });
}

void ControlService::answer_unmount(const ControlRequest& request, std::shared_ptr<ControlReply> reply) {
  const bool lazy = request.lazy;
  std::optional<std::chrono::seconds> limit;
  if (request.limit_s) limit = std::chrono::seconds(*request.limit_s);
  if (drain_.is_running() && !lazy) return drain_.watch(std::move(reply), limit);
  unmount_(lazy, [this, lazy, limit, reply = std::move(reply)](Result<void> outcome) mutable {
    loop_.post([this, lazy, limit, reply = std::move(reply), outcome = std::move(outcome)]() mutable {
      if (!outcome) return reply->finish(failed(outcome.error()));
      if (!lazy) return drain_.watch(std::move(reply), limit);
      context_.syncer.status([reply](const SyncerStatus& status) {
        Json document;
        document["push"] = push_json(status.push);
        reply->finish({.kind = Kind::kDone, .document = dump_json(document)});
      });
    });
  });
}

}  // namespace rsyncfs
