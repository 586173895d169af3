// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/info_document.h"

#include <array>
#include <cinttypes>
#include <cstdio>

#include "fs/control/byte_text.h"
#include "fs/control/conflict_document.h"
#include "fs/control/json_fields.h"
#include "fs/control/push_json.h"
#include "fs/control/text_lines.h"
#include "io/base/text.h"

namespace rsyncfs {

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
  json["pinned"] = info.pinned;
  json["version"] = {{"size", info.size_bytes}, {"mtime", info.mtime_s}, {"mtime_ns", info.mtime_ns}};
  json["listed_at"] = info.listed_at_s;
  json["link"] = {{"state", link_state_name(info.link)}, {"text", info.link_text}};
  json["why"] = bytes_to_text(info.why);
  json["differences"] = texts_json(info.differences);
  json["changed_at"] = info.changed_at_s;
  json["conflict"] = info.conflict ? conflict_json(*info.conflict) : Json();
  json["reasons"] = texts_json(info.reasons);
  return dump_json(json);
}

Result<PathInfo> parse_info(std::string_view text) {
  const Result<Json> json = parse_json_object(text);
  if (!json) return json.error();
  PathInfo info;
  info.path = shown_field(*json, "path");
  info.type = text_field(*json, "type");
  info.state = text_field(*json, "state");
  info.source_path = shown_field(*json, "source_path");
  info.node = number_field(*json, "node");
  info.inode = number_field(*json, "inode");
  info.size_bytes = number_field(*json, "size");
  info.cached_bytes = number_field(*json, "cached_bytes");
  info.pinned = flag_field(*json, "pinned");
  const Json& version = object_field(*json, "version");
  info.mtime_s = signed_field(version, "mtime");
  info.mtime_ns = static_cast<uint32_t>(number_field(version, "mtime_ns"));
  info.listed_at_s = signed_field(*json, "listed_at");
  const Json& link = object_field(*json, "link");
  info.link = parse_link_state(text_field(link, "state"));
  info.link_text = text_field(link, "text");
  info.why = shown_field(*json, "why");
  info.reasons = read_texts(array_field(*json, "reasons"));
  info.differences = read_texts(array_field(*json, "differences"));
  info.changed_at_s = signed_field(*json, "changed_at");
  if (const Json& conflict = object_field(*json, "conflict"); !conflict.empty()) {
    info.conflict = read_conflict(conflict);
  }
  return info;
}

std::string info_text(const PathInfo& info) {
  std::string out = (info.path.empty() ? "." : escape_control(info.path)) + "\n";
  add_line(out, "type", info.type);
  add_line(out, "state", info.state);
  add_line(out, "source", info.source_path.empty() ? "does not have it yet" : info.source_path);
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
  if (info.pinned) add_line(out, "pinned", "stays here, and is kept current");
  if (!info.differences.empty()) {
    std::string words;
    for (const std::string& word : info.differences) words += (words.empty() ? "" : ", ") + word;
    add_line(out, "unsent",
             words + (info.changed_at_s == 0 ? "" : ", since " + local_time(info.changed_at_s)));
  }
  if (info.conflict) {
    add_line(out, "conflict", local_time(info.conflict->at_s) + ": " + conflict_line(*info.conflict));
  }
  add_line(out, "link", link_words(info.link, info.link_text));
  if (info.reasons.empty() && !info.why.empty()) add_line(out, "why", info.why);
  for (const std::string& reason : info.reasons) add_line(out, "why", reason);
  return out;
}

}  // namespace rsyncfs
