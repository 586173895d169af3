// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/byte_text.h"
#include "fs/control/json_fields.h"
#include "fs/control/push_json.h"
#include "fs/control/status_document.h"
#include "fs/control/status_measures.h"
#include "fs/control/text_lines.h"

namespace rsyncfs {
namespace {

using Counters = std::vector<std::pair<std::string, uint64_t>>;

Json counters_json(const Counters& counters) {
  Json json = Json::object();
  for (const auto& [name, value] : counters) json[name] = value;
  return json;
}

Counters read_counters(const Json& json) {
  Counters counters;
  for (const auto& [name, value] : json.items()) {
    if (value.is_number_unsigned()) counters.emplace_back(name, value.get<uint64_t>());
  }
  return counters;
}

Json sessions_json(const std::vector<SessionStatus>& sessions) {
  Json json = Json::array();
  for (const SessionStatus& session : sessions) {
    json.push_back({{"purpose", session.purpose},
                    {"state", session.state},
                    {"entries", session.entries},
                    {"unanswered", session.unanswered},
                    {"bytes_in", session.bytes_in},
                    {"bytes_out", session.bytes_out}});
  }
  return json;
}

void read_lists(const Json& json, SyncerStatus& syncer) {
  for (const Json& item : array_field(json, "sessions")) {
    if (!item.is_object()) continue;
    SessionStatus session;
    session.purpose = text_field(item, "purpose");
    session.state = text_field(item, "state");
    session.entries = number_field(item, "entries");
    session.unanswered = number_field(item, "unanswered");
    session.bytes_in = number_field(item, "bytes_in");
    session.bytes_out = number_field(item, "bytes_out");
    syncer.sessions.push_back(std::move(session));
  }
  syncer.transfers = read_transfers(array_field(json, "transfers"));
  syncer.failing_paths = read_texts(array_field(json, "failing"));
}

SyncerStatus read_syncer(const Json& json) {
  SyncerStatus syncer;
  const Json& link = object_field(json, "link");
  syncer.link = parse_link_state(text_field(link, "state"));
  syncer.link_text = text_field(link, "text");
  syncer.last_error = text_field(link, "last_error");
  syncer.protocol = static_cast<int>(number_field(link, "protocol") & 0xff);
  syncer.checksum = text_field(link, "checksum");
  syncer.compression = text_field(link, "compression");
  syncer.bytes_per_second = number_field(link, "bytes_per_second");
  const Json& tree = object_field(json, "tree");
  syncer.tree_listed = flag_field(tree, "listed");
  syncer.tree_entries = number_field(tree, "entries");
  syncer.tree_listed_at_s = signed_field(tree, "listed_at");
  const Json& poll = object_field(json, "poll");
  syncer.directories_in_use = number_field(poll, "directories_in_use");
  syncer.directories_every_ms = number_field(poll, "directories_every_ms");
  syncer.tree_every_ms = number_field(poll, "tree_every_ms");
  const Json& totals = object_field(json, "totals");
  syncer.bytes_in = number_field(totals, "bytes_in");
  syncer.bytes_out = number_field(totals, "bytes_out");
  syncer.sessions_opened = number_field(totals, "sessions_opened");
  syncer.lists_received = number_field(totals, "lists_received");
  syncer.files_fetched = number_field(totals, "files_fetched");
  syncer.bytes_fetched = number_field(totals, "bytes_fetched");
  syncer.files_failed = number_field(totals, "files_failed");
  syncer.requests_timed_out = number_field(totals, "requests_timed_out");
  syncer.waiting_requests = number_field(totals, "waiting_requests");
  read_lists(json, syncer);
  syncer.push = read_push(object_field(json, "push"));
  return syncer;
}

CacheStatus read_cache(const Json& json) {
  CacheStatus cache;
  cache.disk_bytes = number_field(json, "disk_bytes");
  cache.limit_bytes = number_field(json, "limit_bytes");
  cache.min_free_bytes = number_field(json, "min_free_bytes");
  cache.free_bytes = number_field(json, "free_bytes");
  cache.evicted_files = number_field(json, "evicted_files");
  cache.evicted_bytes = number_field(json, "evicted_bytes");
  cache.pins = number_field(json, "pins");
  return cache;
}

Json totals_json(const SyncerStatus& syncer) {
  return {{"bytes_in", syncer.bytes_in},
          {"bytes_out", syncer.bytes_out},
          {"sessions_opened", syncer.sessions_opened},
          {"lists_received", syncer.lists_received},
          {"files_fetched", syncer.files_fetched},
          {"bytes_fetched", syncer.bytes_fetched},
          {"files_failed", syncer.files_failed},
          {"requests_timed_out", syncer.requests_timed_out},
          {"waiting_requests", syncer.waiting_requests}};
}

}  // namespace

std::string status_json(const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  Json json;
  json["version"] = status.version;
  json["pid"] = status.pid;
  json["source"] = bytes_to_text(status.source);
  json["mountpoint"] = bytes_to_text(status.mountpoint);
  json["state_directory"] = bytes_to_text(status.state_directory);
  json["started_at"] = status.started_at_s;
  json["phase"] = status.is_draining ? "draining" : "mounted";
  json["writable"] = status.writable;
  json["read_only_reason"] = status.read_only_reason;
  json["link"] = {{"state", link_state_name(syncer.link)},
                  {"text", syncer.link_text},
                  {"last_error", syncer.last_error},
                  {"protocol", syncer.protocol},
                  {"checksum", syncer.checksum},
                  {"compression", syncer.compression},
                  {"bytes_per_second", syncer.bytes_per_second}};
  json["io"] = {{"engine", status.io_engine},
                {"reason", status.io_reason},
                {"wakeups", status.io_wakeups},
                {"submits", status.io_submits},
                {"operations", counters_json(status.io_operations)},
                {"batch",
                 {{"engine", status.batch_engine},
                  {"batches", status.batches},
                  {"reads", status.batch_reads},
                  {"read_bytes", status.batch_read_bytes},
                  {"syncs", status.batch_syncs},
                  {"removals", status.batch_removals}}}};
  json["tree"] = {{"listed", syncer.tree_listed},
                  {"entries", syncer.tree_entries},
                  {"listed_at", syncer.tree_listed_at_s}};
  json["poll"] = {{"directories_in_use", syncer.directories_in_use},
                  {"directories_every_ms", syncer.directories_every_ms},
                  {"tree_every_ms", syncer.tree_every_ms}};
  json["totals"] = totals_json(syncer);
  json["cache"] = {{"bytes", status.cached_bytes},
                   {"files", status.cached_files},
                   {"partial_files", status.partial_files},
                   {"nodes", status.nodes},
                   {"disk_bytes", syncer.cache.disk_bytes},
                   {"limit_bytes", syncer.cache.limit_bytes},
                   {"min_free_bytes", syncer.cache.min_free_bytes},
                   {"free_bytes", syncer.cache.free_bytes},
                   {"evicted_files", syncer.cache.evicted_files},
                   {"evicted_bytes", syncer.cache.evicted_bytes},
                   {"pins", syncer.cache.pins}};
  json["requests"] = counters_json(status.requests);
  json["fuse"] = {{"description", status.front_description}, {"errors", status.front_errors},
                  {"waiting", status.front_waiting},         {"waited_total", status.front_parked_total},
                  {"known_nodes", status.front_known_nodes}, {"notifications", status.notifications_sent},
                  {"events", status.events_raised}};
  json["memory"] = {{"rss_bytes", status.rss_bytes}};
  json["sessions"] = sessions_json(syncer.sessions);
  json["transfers"] = transfers_json(syncer.transfers);
  json["failing"] = texts_json(syncer.failing_paths);
  json["push"] = push_json(syncer.push);
  add_measures(json, status);
  return dump_json(json);
}

Result<MountStatus> parse_status(std::string_view text) {
  const Result<Json> json = parse_json_object(text);
  if (!json) return json.error();
  MountStatus status;
  status.version = text_field(*json, "version");
  status.pid = number_field(*json, "pid");
  status.source = shown_field(*json, "source");
  status.mountpoint = shown_field(*json, "mountpoint");
  status.state_directory = shown_field(*json, "state_directory");
  status.started_at_s = signed_field(*json, "started_at");
  status.is_draining = text_field(*json, "phase") == "draining";
  status.writable = flag_field(*json, "writable");
  status.read_only_reason = text_field(*json, "read_only_reason");
  status.syncer = read_syncer(*json);
  const Json& io = object_field(*json, "io");
  status.io_engine = text_field(io, "engine");
  status.io_reason = text_field(io, "reason");
  status.io_wakeups = number_field(io, "wakeups");
  status.io_submits = number_field(io, "submits");
  status.io_operations = read_counters(object_field(io, "operations"));
  const Json& batch = object_field(io, "batch");
  status.batch_engine = text_field(batch, "engine");
  status.batches = number_field(batch, "batches");
  status.batch_reads = number_field(batch, "reads");
  status.batch_read_bytes = number_field(batch, "read_bytes");
  status.batch_syncs = number_field(batch, "syncs");
  status.batch_removals = number_field(batch, "removals");
  const Json& cache = object_field(*json, "cache");
  status.cached_bytes = number_field(cache, "bytes");
  status.cached_files = number_field(cache, "files");
  status.partial_files = number_field(cache, "partial_files");
  status.nodes = number_field(cache, "nodes");
  status.syncer.cache = read_cache(cache);
  status.requests = read_counters(object_field(*json, "requests"));
  const Json& fuse = object_field(*json, "fuse");
  status.front_description = text_field(fuse, "description");
  status.front_errors = number_field(fuse, "errors");
  status.front_waiting = number_field(fuse, "waiting");
  status.front_parked_total = number_field(fuse, "waited_total");
  status.front_known_nodes = number_field(fuse, "known_nodes");
  status.notifications_sent = number_field(fuse, "notifications");
  status.events_raised = number_field(fuse, "events");
  status.rss_bytes = number_field(object_field(*json, "memory"), "rss_bytes");
  read_measures(*json, status);
  return status;
}

}  // namespace rsyncfs
