// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>
#include <array>
#include <map>

#include "fs/control/metrics_page.h"
#include "fs/control/status_document.h"
#include "fs/control/text_lines.h"

namespace rsyncfs {
namespace {

using Type = MetricsPage::Type;
using Counters = std::vector<std::pair<std::string, uint64_t>>;

uint64_t flag(bool value) {
  return value ? 1 : 0;
}

void counter(MetricsPage& page, std::string_view name, std::string_view help, uint64_t value) {
  page.begin(name, Type::kCounter, help);
  page.sample(value);
}

void gauge(MetricsPage& page, std::string_view name, std::string_view help, uint64_t value) {
  page.begin(name, Type::kGauge, help);
  page.sample(value);
}

void sample(MetricsPage& page, std::string_view label, std::string_view text, uint64_t value) {
  page.sample(value, std::array{MetricLabel{label, text}});
}

void counters(MetricsPage& page, std::string_view name, std::string_view help, std::string_view label,
              const Counters& values) {
  page.begin(name, Type::kCounter, help);
  for (const auto& [text, value] : values) sample(page, label, text, value);
}

void failures(MetricsPage& page, std::string_view name, std::string_view help, const FailureCounts& counts) {
  page.begin(name, Type::kCounter, help);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (static_cast<Errc>(i) == Errc::kCanceled) continue;
    std::string cause(errc_name(static_cast<Errc>(i)));
    std::replace(cause.begin(), cause.end(), ' ', '_');
    sample(page, "cause", cause, counts[i]);
  }
}

void add_mount(MetricsPage& page, const MountStatus& status) {
  page.begin("rsyncfs_info", Type::kGauge, "Always 1; the labels tell which mount this is.");
  page.sample(uint64_t{1},
              std::array{MetricLabel{"version", status.version}, MetricLabel{"source", status.source},
                         MetricLabel{"mountpoint", status.mountpoint}});
  page.begin("rsyncfs_start_time_seconds", Type::kGauge, "When the daemon started, Unix time.");
  page.sample(static_cast<uint64_t>(std::max<int64_t>(0, status.started_at_s)));
  gauge(page, "rsyncfs_writable", "1 while changes are accepted.", flag(status.writable));
  gauge(page, "rsyncfs_draining", "1 while it is unmounted and sends what is left.",
        flag(status.is_draining));
  gauge(page, "rsyncfs_resident_memory_bytes", "Resident memory of the daemon.", status.rss_bytes);
}

void add_link(MetricsPage& page, const SyncerStatus& syncer) {
  page.begin("rsyncfs_link_state", Type::kGauge, "1 for the state in which the link to the source is.");
  for (const LinkState state : {LinkState::kConnecting, LinkState::kUp, LinkState::kDown})
    sample(page, "state", link_state_name(state), flag(syncer.link == state));
  std::map<std::string, uint64_t> open{{"tree", 0}, {"directory", 0}, {"stream", 0}, {"any", 0}};
  for (const SessionStatus& session : syncer.sessions) ++open[session.purpose];
  page.begin("rsyncfs_sessions", Type::kGauge, "Open rsync sessions that list or fetch, by kind.");
  for (const auto& [kind, count] : open) sample(page, "kind", kind, count);
  page.begin("rsyncfs_sessions_opened_total", Type::kCounter, "Rsync sessions opened, by purpose.");
  for (size_t i = 0; i < kWirePurposes; ++i)
    sample(page, "purpose", kWirePurposeNames[i], syncer.wire[i].sessions);
  page.begin("rsyncfs_wire_received_bytes_total", Type::kCounter, "Bytes from the source, by purpose.");
  for (size_t i = 0; i < kWirePurposes; ++i)
    sample(page, "purpose", kWirePurposeNames[i], syncer.wire[i].bytes_in);
  page.begin("rsyncfs_wire_sent_bytes_total", Type::kCounter, "Bytes to the source, by purpose.");
  for (size_t i = 0; i < kWirePurposes; ++i)
    sample(page, "purpose", kWirePurposeNames[i], syncer.wire[i].bytes_out);
  failures(page, "rsyncfs_session_failures_total", "Sessions that ended against our wish, by cause.",
           syncer.session_failures);
}

void add_lists(MetricsPage& page, const SyncerStatus& syncer) {
  counter(page, "rsyncfs_lists_received_total", "File lists received, of the tree and of directories.",
          syncer.lists_received);
  gauge(page, "rsyncfs_tree_entries", "Entries of the whole tree's list, so far while it comes.",
        syncer.tree_entries);
  page.begin("rsyncfs_tree_listed_time_seconds", Type::kGauge,
             "When the whole tree was last listed, Unix time; 0: not yet.");
  page.sample(static_cast<uint64_t>(std::max<int64_t>(0, syncer.tree_listed_at_s)));
  gauge(page, "rsyncfs_directories_in_use", "Directories that are looked at again and again.",
        syncer.directories_in_use);
}

void add_reads(MetricsPage& page, const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  page.begin("rsyncfs_reads_total", Type::kCounter,
             "Reads that reached the daemon, by whether the bytes were here.");
  sample(page, "cache", "hit", status.reads.hits);
  sample(page, "cache", "miss", status.reads.misses);
  page.begin("rsyncfs_read_bytes_total", Type::kCounter, "Bytes asked for by these reads.");
  sample(page, "cache", "hit", status.reads.hit_bytes);
  sample(page, "cache", "miss", status.reads.missed_bytes);
  page.begin("rsyncfs_read_miss_duration_seconds", Type::kHistogram,
             "Time from a read of what was not here until its bytes had come.");
  page.histogram(status.reads.miss_latency);
  counter(page, "rsyncfs_fetched_files_total", "Files whose contents came.", syncer.files_fetched);
  counter(page, "rsyncfs_fetched_bytes_total", "Bytes of contents that came.", syncer.bytes_fetched);
  failures(page, "rsyncfs_fetch_failures_total", "Files that could not be had, by cause.",
           syncer.fetch_failures);
  counter(page, "rsyncfs_requests_timed_out_total", "Requests to the source that were given up.",
          syncer.requests_timed_out);
  gauge(page, "rsyncfs_waiting_requests", "Requests that wait for the source now.", syncer.waiting_requests);
}

// 0: never. What a document says may be anything.
uint64_t seconds_since(int64_t then_s, int64_t now_s) {
  if (then_s <= 0 || then_s >= now_s) return 0;
  return static_cast<uint64_t>(now_s - then_s);
}

void add_push(MetricsPage& page, const PushStatus& push, int64_t now_s) {
  gauge(page, "rsyncfs_unsent_names", "Names that lead elsewhere than at the source.", push.pending_names);
  gauge(page, "rsyncfs_unsent_nodes", "Inodes of which the source has not all.", push.pending_nodes);
  gauge(page, "rsyncfs_unsent_bytes", "Bytes that the source does not have, at most.", push.pending_bytes);
  page.begin("rsyncfs_unsent_oldest_seconds", Type::kGauge,
             "Age of the oldest change that the source does not have; 0: it has all.");
  page.sample(seconds_since(push.oldest_s, now_s));
  gauge(page, "rsyncfs_push_stopped", "1 while sending is stopped until rsyncfs resume.",
        flag(!push.stopped.empty()));
  gauge(page, "rsyncfs_push_failing_paths", "Paths that the source did not take and that are tried again.",
        push.failing.size());
  counter(page, "rsyncfs_pushed_files_total", "Files sent.", push.pushed_files);
  counter(page, "rsyncfs_pushed_bytes_total", "Bytes of contents sent.", push.pushed_bytes);
  counter(page, "rsyncfs_push_saved_bytes_total",
          "Bytes of contents that were not sent because the source had them.", push.bytes_saved);
  counter(page, "rsyncfs_push_deletes_total", "Names removed at the source.", push.deletes);
  counter(page, "rsyncfs_push_moves_total", "Names moved at the source.", push.moves);
  failures(page, "rsyncfs_push_failures_total", "Pushes of one path that failed, by cause.", push.failures);
  page.begin("rsyncfs_push_duration_seconds", Type::kHistogram,
             "Time from the first change of a file or name until the source has acknowledged it.");
  page.histogram(push.latency);
  gauge(page, "rsyncfs_conflicts", "Conflicts recorded and not cleared.", push.conflicts);
}

void add_cache(MetricsPage& page, const MountStatus& status) {
  const CacheStatus& cache = status.syncer.cache;
  gauge(page, "rsyncfs_cache_bytes", "Bytes of contents in the store.", status.cached_bytes);
  gauge(page, "rsyncfs_cache_files", "Files that are in the store in whole.", status.cached_files);
  gauge(page, "rsyncfs_cache_partial_files", "Files of which a part is in the store.", status.partial_files);
  gauge(page, "rsyncfs_cache_nodes", "Inodes known.", status.nodes);
  gauge(page, "rsyncfs_cache_disk_bytes", "Disk space of contents and local changes.", cache.disk_bytes);
  gauge(page, "rsyncfs_cache_limit_bytes", "What cache_size= allows; 0: no limit.", cache.limit_bytes);
  gauge(page, "rsyncfs_store_free_bytes", "Free on the store's file system.", cache.free_bytes);
  gauge(page, "rsyncfs_store_min_free_bytes", "What min_free= wants to be left there.", cache.min_free_bytes);
  counter(page, "rsyncfs_cache_evicted_files_total", "Files whose contents were let go.",
          cache.evicted_files);
  counter(page, "rsyncfs_cache_evicted_bytes_total", "Bytes of contents that were let go.",
          cache.evicted_bytes);
  gauge(page, "rsyncfs_cache_pins", "Files and directories that were pinned.", cache.pins);
}

void add_fuse(MetricsPage& page, const MountStatus& status) {
  counters(page, "rsyncfs_fuse_requests_total", "Requests of the kernel, by operation.", "operation",
           status.requests);
  page.begin("rsyncfs_fuse_request_duration_seconds", Type::kHistogram,
             "Time from a request of the kernel to its answer, by operation.");
  for (const auto& [operation, latency] : status.request_latencies)
    page.histogram(latency, std::array{MetricLabel{"operation", operation}});
  counters(page, "rsyncfs_fuse_errors_total", "Answers that carried an unusual error, by errno.", "errno",
           status.reply_errors);
  gauge(page, "rsyncfs_fuse_waiting_requests", "Requests of the kernel that wait for the source now.",
        status.front_waiting);
  counter(page, "rsyncfs_fuse_waited_requests_total",
          "Requests of the kernel that had to wait for the source.", status.front_parked_total);
  gauge(page, "rsyncfs_fuse_known_nodes", "Inodes that the kernel holds.", status.front_known_nodes);
  counter(page, "rsyncfs_fuse_notifications_total", "Invalidations sent to the kernel.",
          status.notifications_sent);
  counter(page, "rsyncfs_fuse_events_total", "Changes of the source told to programs that watch.",
          status.events_raised);
}

void add_io(MetricsPage& page, const MountStatus& status) {
  counter(page, "rsyncfs_loop_wakeups_total", "Times the loop woke up.", status.io_wakeups);
  counter(page, "rsyncfs_loop_system_calls_total", "System calls by which the loop waited or submitted.",
          status.io_submits);
  counters(page, "rsyncfs_loop_operations_total", "Completed operations of the loop, by name.", "operation",
           status.io_operations);
  counter(page, "rsyncfs_store_reads_total", "Reads of files of the store.", status.batch_reads);
  counter(page, "rsyncfs_store_read_bytes_total", "Bytes that these brought.", status.batch_read_bytes);
  counter(page, "rsyncfs_store_syncs_total", "Syncs of files of the store.", status.batch_syncs);
}

}  // namespace

std::string metrics_text(const MountStatus& status, int64_t now_s) {
  MetricsPage page;
  add_mount(page, status);
  add_link(page, status.syncer);
  add_lists(page, status.syncer);
  add_reads(page, status);
  add_push(page, status.syncer.push, now_s);
  add_cache(page, status);
  add_fuse(page, status);
  add_io(page, status);
  return page.take();
}

}  // namespace rsyncfs
