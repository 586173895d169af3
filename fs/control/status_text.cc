// SPDX-License-Identifier: GPL-3.0-or-later
#include <ctime>

#include "fs/control/status_document.h"
#include "fs/control/text_lines.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

using Counters = std::vector<std::pair<std::string, uint64_t>>;

std::string joined(const Counters& counters) {
  std::string out;
  for (const auto& [name, value] : counters) {
    out.append(out.empty() ? "" : ", ").append(name).append(" ").append(number(value));
  }
  return out.empty() ? "none" : out;
}

std::string poll_text(const SyncerStatus& syncer) {
  constexpr uint64_t kMsPerSecond = 1'000;
  if (syncer.tree_every_ms == 0) return "";
  const auto every = [](uint64_t ms) { return duration_text(static_cast<int64_t>(ms / kMsPerSecond)); };
  return ", again every " + every(syncer.tree_every_ms) +
         (syncer.directories_in_use == 0 ? ""
                                         : "; " + number(syncer.directories_in_use) + " in use, every " +
                                               every(syncer.directories_every_ms));
}

std::string tree_line(const SyncerStatus& syncer) {
  if (syncer.tree_listed) {
    return "listed " + local_time(syncer.tree_listed_at_s) + ": " + number(syncer.tree_entries) + " entries" +
           poll_text(syncer);
  }
  if (syncer.link == LinkState::kUp)
    return "being listed: " + number(syncer.tree_entries) + " entries so far";
  return "not listed by this mount yet; stored names are shown";
}

std::string disk_line(const CacheStatus& cache) {
  return human_bytes(cache.disk_bytes) +
         (cache.limit_bytes == 0 ? " taken" : " taken of " + human_bytes(cache.limit_bytes)) + ", " +
         human_bytes(cache.free_bytes) + " free" +
         (cache.min_free_bytes == 0 ? "" : " of at least " + human_bytes(cache.min_free_bytes)) + "; " +
         counted(cache.evicted_files, "file") + " let go (" + human_bytes(cache.evicted_bytes) + "), " +
         counted(cache.pins, "pin");
}

std::string traffic_line(const SyncerStatus& syncer) {
  const std::string limit =
      syncer.bytes_per_second == 0 ? "" : "at most " + human_bytes(syncer.bytes_per_second) + "/s each way; ";
  return limit + human_bytes(syncer.bytes_in) + " in, " + human_bytes(syncer.bytes_out) + " out; " +
         counted(syncer.sessions_opened, "session") + " opened, " + counted(syncer.lists_received, "list") +
         " received; " + counted(syncer.files_fetched, "file") + " fetched (" +
         human_bytes(syncer.bytes_fetched) + "), " + number(syncer.files_failed) + " failed; " +
         counted(syncer.waiting_requests, "request") + " waiting, " + number(syncer.requests_timed_out) +
         " timed out";
}

std::string transfer_line(const TransferStatus& transfer) {
  const uint64_t percent = transfer.total_bytes == 0 ? 100 : transfer.done_bytes * 100 / transfer.total_bytes;
  return transfer.path + ": " + human_bytes(transfer.done_bytes) + " of " +
         human_bytes(transfer.total_bytes) + " (" + number(percent) + " %)";
}

std::string push_line(const PushStatus& push) {
  if (pending_changes(push) == 0) return "none; all is on the source";
  const int64_t age_s = push.oldest_s == 0 ? 0 : time(nullptr) - push.oldest_s;
  return changes_text(pending_changes(push), push.pending_bytes) + " not on the source yet" +
         (push.oldest_s == 0 ? "" : ", the oldest for " + duration_text(age_s));
}

std::string pushed_line(const PushStatus& push) {
  return counted(push.pushed_files, "file") + " sent (" + human_bytes(push.pushed_bytes) + ", " +
         human_bytes(push.bytes_saved) + " saved), " + counted(push.moves, "move") + ", " +
         counted(push.deletes, "deletion");
}

// What is to be known of writing. Of a read-only mount only what an earlier one has left.
void add_push(std::string& out, const MountStatus& status) {
  const PushStatus& push = status.syncer.push;
  if (!status.read_only_reason.empty())
    add_line(out, "read-only", "the source refuses changes: " + status.read_only_reason);
  if (!status.writable && pending_changes(push) == 0) return;
  add_line(out, "changes",
           push_line(push) + (status.writable ? "" : "; this mount is read-only and keeps them"));
  if (push.local_only > 0)
    add_line(out, "", counted(push.local_only, "name") + " left out by a filter rule, which stay here");
  if (!push.stopped.empty()) {
    add_line(out, "stopped", push.stopped);
    add_line(out, "", "to go on all the same: rsyncfs resume " + status.mountpoint);
  }
  if (status.writable) add_line(out, "pushed", pushed_line(push));
  if (push.conflicts > 0) {
    add_line(out, "conflicts",
             number(push.conflicts) + "; rsyncfs conflicts " + status.mountpoint + " tells them");
  }
}

std::string loop_line(const MountStatus& status) {
  return joined(status.io_operations) + "; " + number(status.io_wakeups) + " wakeups, " +
         counted(status.io_submits, "call") + " to the kernel";
}

std::string batch_line(const MountStatus& status) {
  return "files of the store (" + status.batch_engine + "): " + counted(status.batch_reads, "read") + " (" +
         human_bytes(status.batch_read_bytes) + "), " + counted(status.batch_syncs, "sync") + ", " +
         counted(status.batch_removals, "removal") + "; " + counted(status.batches, "time") +
         " several at once";
}

std::string session_line(const SessionStatus& session) {
  return session.purpose + ": " + session.state + ", " + number(session.entries) + " entries, " +
         number(session.unanswered) + " unanswered, " + human_bytes(session.bytes_in) + " in, " +
         human_bytes(session.bytes_out) + " out";
}

}  // namespace

std::string status_text(const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  std::string out = escape_control(status.source) + " on " + escape_control(status.mountpoint) +
                    (status.is_draining ? " (unmounted, sending what is left)" : "") + "\n";
  add_line(out, "link", link_words(syncer.link, syncer.link_text));
  if (syncer.link != LinkState::kUp && !syncer.last_error.empty()) add_line(out, "error", syncer.last_error);
  add_push(out, status);
  add_line(out, "tree", tree_line(syncer));
  add_line(out, "cache",
           human_bytes(status.cached_bytes) + " in " + counted(status.cached_files, "complete file") +
               " and " + counted(status.partial_files, "partial one") + "; " + counted(status.nodes, "node") +
               " known");
  add_line(out, "disk", disk_line(syncer.cache));
  add_line(out, "traffic", traffic_line(syncer));
  add_line(out, "io",
           status.io_reason.starts_with(status.io_engine) ? status.io_reason
                                                          : status.io_engine + ": " + status.io_reason);
  add_line(out, "", loop_line(status));
  add_line(out, "", batch_line(status));
  add_line(out, "fuse", status.front_description);
  add_line(out, "requests",
           joined(status.requests) + "; " + number(status.front_errors) + " failed, " +
               number(status.front_parked_total) + " had to wait, " + number(status.front_waiting) +
               " waiting now");
  add_line(out, "daemon",
           "pid " + number(status.pid) + ", version " + status.version + ", since " +
               local_time(status.started_at_s) + ", " + human_bytes(status.rss_bytes) + " resident");
  add_line(out, "store", status.state_directory);
  for (const SessionStatus& session : syncer.sessions) add_line(out, "session", session_line(session));
  for (const TransferStatus& transfer : syncer.transfers) add_line(out, "transfer", transfer_line(transfer));
  for (const std::string& failing : syncer.failing_paths) add_line(out, "failing", failing);
  for (const TransferStatus& transfer : syncer.push.sending)
    add_line(out, "sending", transfer_line(transfer));
  for (const std::string& failing : syncer.push.failing) add_line(out, "unsent", failing);
  return out;
}

}  // namespace rsyncfs
