// SPDX-License-Identifier: GPL-3.0-or-later
#include <array>
#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "fs/control/status_document.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

using Counters = std::vector<std::pair<std::string, uint64_t>>;

// "  LABEL     TEXT\n"; what came from names or servers cannot forge a line.
void add_line(std::string& out, std::string_view label, std::string_view text) {
  constexpr size_t kLabelWidth = 10;
  out.append("  ").append(label);
  out.append(label.size() < kLabelWidth ? kLabelWidth - label.size() : 1, ' ');
  out.append(escape_control(text)).append("\n");
}

std::string local_time(int64_t unix_s) {
  const time_t when = unix_s;
  struct tm parts {};
  std::array<char, 40> text{};
  if (localtime_r(&when, &parts) == nullptr) return std::to_string(unix_s);
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

std::string number(uint64_t value) {
  return std::to_string(value);
}

std::string counted(uint64_t value, std::string_view noun) {
  return number(value) + " " + std::string(noun) + (value == 1 ? "" : "s");
}

std::string joined(const Counters& counters) {
  std::string out;
  for (const auto& [name, value] : counters) {
    out.append(out.empty() ? "" : ", ").append(name).append(" ").append(number(value));
  }
  return out.empty() ? "none" : out;
}

std::string tree_line(const SyncerStatus& syncer) {
  if (syncer.tree_listed) {
    return "listed " + local_time(syncer.tree_listed_at_s) + ": " + number(syncer.tree_entries) + " entries";
  }
  if (syncer.link == LinkState::kUp)
    return "being listed: " + number(syncer.tree_entries) + " entries so far";
  return "not listed by this mount yet; stored names are shown";
}

std::string traffic_line(const SyncerStatus& syncer) {
  return human_bytes(syncer.bytes_in) + " in, " + human_bytes(syncer.bytes_out) + " out; " +
         counted(syncer.sessions_opened, "session") + " opened, " + counted(syncer.lists_received, "list") +
         " received; " + counted(syncer.files_fetched, "file") + " fetched (" +
         human_bytes(syncer.bytes_fetched) + "), " + number(syncer.files_failed) + " failed; " +
         counted(syncer.waiting_requests, "request") + " waiting, " + number(syncer.requests_timed_out) +
         " timed out";
}

std::string link_words(LinkState state, std::string_view text) {
  const std::string name(link_state_name(state));
  return text.empty() ? name : name + ": " + std::string(text);
}

std::string transfer_line(const TransferStatus& transfer) {
  const uint64_t percent = transfer.total_bytes == 0 ? 100 : transfer.done_bytes * 100 / transfer.total_bytes;
  return transfer.path + ": " + human_bytes(transfer.done_bytes) + " of " +
         human_bytes(transfer.total_bytes) + " (" + number(percent) + " %)";
}

std::string session_line(const SessionStatus& session) {
  return session.purpose + ": " + session.state + ", " + number(session.entries) + " entries, " +
         number(session.unanswered) + " unanswered, " + human_bytes(session.bytes_in) + " in, " +
         human_bytes(session.bytes_out) + " out";
}

}  // namespace

std::string status_text(const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  std::string out = escape_control(status.source) + " on " + escape_control(status.mountpoint) + "\n";
  add_line(out, "link", link_words(syncer.link, syncer.link_text));
  if (syncer.link != LinkState::kUp && !syncer.last_error.empty()) add_line(out, "error", syncer.last_error);
  add_line(out, "tree", tree_line(syncer));
  add_line(out, "cache",
           human_bytes(status.cached_bytes) + " in " + counted(status.cached_files, "complete file") +
               " and " + counted(status.partial_files, "partial one") + "; " + counted(status.nodes, "node") +
               " known");
  add_line(out, "traffic", traffic_line(syncer));
  add_line(out, "io",
           status.io_reason.starts_with(status.io_engine) ? status.io_reason
                                                          : status.io_engine + ": " + status.io_reason);
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
  return out;
}

std::string info_text(const PathInfo& info) {
  std::string out = (info.path.empty() ? "." : escape_control(info.path)) + "\n";
  add_line(out, "type", info.type);
  add_line(out, "state", info.state);
  add_line(out, "source", info.source_path);
  add_line(out, "node", number(info.node) + ", inode " + number(info.inode));
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%09" PRIu32, info.mtime_ns);
  add_line(out, "version",
           number(info.size_bytes) + " bytes of " + local_time(info.mtime_s) + fraction.data());
  if (info.type == "file") {
    add_line(out, "cached", human_bytes(info.cached_bytes) + " of " + human_bytes(info.size_bytes));
  } else if (info.type == "directory") {
    add_line(out, "listed", info.listed_at_s == 0 ? "never" : local_time(info.listed_at_s));
  }
  add_line(out, "link", link_words(info.link, info.link_text));
  if (!info.why.empty()) add_line(out, "why", info.why);
  return out;
}

}  // namespace rsyncfs
