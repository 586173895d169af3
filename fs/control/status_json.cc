// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/byte_text.h"
#include "fs/control/json_fields.h"
#include "fs/control/status_document.h"

namespace rsyncfs {
namespace {

using Counters = std::vector<std::pair<std::string, uint64_t>>;

LinkState parse_link_state(std::string_view name) {
  for (const LinkState state : {LinkState::kUp, LinkState::kDown}) {
    if (name == link_state_name(state)) return state;
  }
  return LinkState::kConnecting;
}

// What is not of the form that we write is kept as it stands: it is only shown.
std::string shown_path(const Json& object, const char* key) {
  Result<std::string> path = path_field(object, key);
  return path ? std::move(path.value()) : text_field(object, key);
}

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

Json transfers_json(const std::vector<TransferStatus>& transfers) {
  Json json = Json::array();
  for (const TransferStatus& transfer : transfers) {
    json.push_back({{"path", bytes_to_text(transfer.path)},
                    {"done_bytes", transfer.done_bytes},
                    {"total_bytes", transfer.total_bytes}});
  }
  return json;
}

Json failing_json(const std::vector<std::string>& failing) {
  Json json = Json::array();
  for (const std::string& line : failing) json.push_back(bytes_to_text(line));
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
  for (const Json& item : array_field(json, "transfers")) {
    if (!item.is_object()) continue;
    TransferStatus transfer;
    transfer.path = shown_path(item, "path");
    transfer.done_bytes = number_field(item, "done_bytes");
    transfer.total_bytes = number_field(item, "total_bytes");
    syncer.transfers.push_back(std::move(transfer));
  }
  for (const Json& item : array_field(json, "failing")) {
    if (!item.is_string()) continue;
    Result<std::string> line = text_to_bytes(item.get_ref<const std::string&>());
    syncer.failing_paths.push_back(line ? std::move(line.value()) : item.get<std::string>());
  }
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
  const Json& tree = object_field(json, "tree");
  syncer.tree_listed = flag_field(tree, "listed");
  syncer.tree_entries = number_field(tree, "entries");
  syncer.tree_listed_at_s = signed_field(tree, "listed_at");
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
  return syncer;
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

std::string_view link_state_name(LinkState state) {
  switch (state) {
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kUp:
      return "up";
    case LinkState::kDown:
      return "down";
  }
  return "?";
}

std::string status_json(const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  Json json;
  json["version"] = status.version;
  json["pid"] = status.pid;
  json["source"] = bytes_to_text(status.source);
  json["mountpoint"] = bytes_to_text(status.mountpoint);
  json["state_directory"] = bytes_to_text(status.state_directory);
  json["started_at"] = status.started_at_s;
  json["link"] = {{"state", link_state_name(syncer.link)}, {"text", syncer.link_text},
                  {"last_error", syncer.last_error},       {"protocol", syncer.protocol},
                  {"checksum", syncer.checksum},           {"compression", syncer.compression}};
  json["io"] = {{"engine", status.io_engine},
                {"reason", status.io_reason},
                {"wakeups", status.io_wakeups},
                {"submits", status.io_submits},
                {"operations", counters_json(status.io_operations)}};
  json["tree"] = {{"listed", syncer.tree_listed},
                  {"entries", syncer.tree_entries},
                  {"listed_at", syncer.tree_listed_at_s}};
  json["totals"] = totals_json(syncer);
  json["cache"] = {{"bytes", status.cached_bytes},
                   {"files", status.cached_files},
                   {"partial_files", status.partial_files},
                   {"nodes", status.nodes}};
  json["requests"] = counters_json(status.requests);
  json["fuse"] = {{"description", status.front_description}, {"errors", status.front_errors},
                  {"waiting", status.front_waiting},         {"waited_total", status.front_parked_total},
                  {"known_nodes", status.front_known_nodes}, {"notifications", status.notifications_sent}};
  json["memory"] = {{"rss_bytes", status.rss_bytes}};
  json["sessions"] = sessions_json(syncer.sessions);
  json["transfers"] = transfers_json(syncer.transfers);
  json["failing"] = failing_json(syncer.failing_paths);
  return dump_json(json);
}

Result<MountStatus> parse_status(std::string_view text) {
  const Result<Json> json = parse_json_object(text);
  if (!json) return json.error();
  MountStatus status;
  status.version = text_field(*json, "version");
  status.pid = number_field(*json, "pid");
  status.source = shown_path(*json, "source");
  status.mountpoint = shown_path(*json, "mountpoint");
  status.state_directory = shown_path(*json, "state_directory");
  status.started_at_s = signed_field(*json, "started_at");
  status.syncer = read_syncer(*json);
  const Json& io = object_field(*json, "io");
  status.io_engine = text_field(io, "engine");
  status.io_reason = text_field(io, "reason");
  status.io_wakeups = number_field(io, "wakeups");
  status.io_submits = number_field(io, "submits");
  status.io_operations = read_counters(object_field(io, "operations"));
  const Json& cache = object_field(*json, "cache");
  status.cached_bytes = number_field(cache, "bytes");
  status.cached_files = number_field(cache, "files");
  status.partial_files = number_field(cache, "partial_files");
  status.nodes = number_field(cache, "nodes");
  status.requests = read_counters(object_field(*json, "requests"));
  const Json& fuse = object_field(*json, "fuse");
  status.front_description = text_field(fuse, "description");
  status.front_errors = number_field(fuse, "errors");
  status.front_waiting = number_field(fuse, "waiting");
  status.front_parked_total = number_field(fuse, "waited_total");
  status.front_known_nodes = number_field(fuse, "known_nodes");
  status.notifications_sent = number_field(fuse, "notifications");
  status.rss_bytes = number_field(object_field(*json, "memory"), "rss_bytes");
  return status;
}

std::string info_json(const PathInfo& info) {
  Json json;
  json["path"] = bytes_to_text(info.path);
  json["type"] = info.type;
  json["state"] = info.state;
  json["source_path"] = bytes_to_text(info.source_path);
  json["node"] = info.node;
  json["inode"] = info.inode;
  json["size"] = info.size_bytes;
  json["cached_bytes"] = info.cached_bytes;
  json["version"] = {{"size", info.size_bytes}, {"mtime", info.mtime_s}, {"mtime_ns", info.mtime_ns}};
  json["listed_at"] = info.listed_at_s;
  json["link"] = {{"state", link_state_name(info.link)}, {"text", info.link_text}};
  json["why"] = bytes_to_text(info.why);
  return dump_json(json);
}

Result<PathInfo> parse_info(std::string_view text) {
  const Result<Json> json = parse_json_object(text);
  if (!json) return json.error();
  PathInfo info;
  info.path = shown_path(*json, "path");
  info.type = text_field(*json, "type");
  info.state = text_field(*json, "state");
  info.source_path = shown_path(*json, "source_path");
  info.node = number_field(*json, "node");
  info.inode = number_field(*json, "inode");
  info.size_bytes = number_field(*json, "size");
  info.cached_bytes = number_field(*json, "cached_bytes");
  const Json& version = object_field(*json, "version");
  info.mtime_s = signed_field(version, "mtime");
  info.mtime_ns = static_cast<uint32_t>(number_field(version, "mtime_ns"));
  info.listed_at_s = signed_field(*json, "listed_at");
  const Json& link = object_field(*json, "link");
  info.link = parse_link_state(text_field(link, "state"));
  info.link_text = text_field(link, "text");
  info.why = shown_path(*json, "why");
  return info;
}

}  // namespace rsyncfs
