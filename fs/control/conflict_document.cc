// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/conflict_document.h"

#include <utility>

#include "fs/control/byte_text.h"
#include "fs/control/push_json.h"
#include "fs/control/text_lines.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

std::string below(std::string_view mountpoint, const std::string& path) {
  std::string whole(mountpoint);
  if (whole.empty() || whole.back() != '/') whole += '/';
  return escape_control(whole + path);
}

}  // namespace

ConflictList make_conflict_list(std::vector<ConflictRecord> records) {
  ConflictList list;
  size_t bytes = 0;
  for (ConflictRecord& record : records) {
    bytes += record.path.size() + record.copy_path.size() + record.what.size();
    if (bytes > kMaxConflictBytes) break;
    list.conflicts.push_back(std::move(record));
  }
  list.more = records.size() - list.conflicts.size();
  return list;
}

Json conflict_json(const ConflictRecord& record) {
  return {{"id", record.id},
          {"at", record.at_s},
          {"path", bytes_to_text(record.path)},
          {"copy", bytes_to_text(record.copy_path)},
          {"what", bytes_to_text(record.what)}};
}

ConflictRecord read_conflict(const Json& json) {
  ConflictRecord record;
  record.id = number_field(json, "id");
  record.at_s = signed_field(json, "at");
  record.path = shown_field(json, "path");
  record.copy_path = shown_field(json, "copy");
  record.what = shown_field(json, "what");
  return record;
}

std::string conflicts_json(const ConflictList& list) {
  Json conflicts = Json::array();
  for (const ConflictRecord& record : list.conflicts) conflicts.push_back(conflict_json(record));
  Json json;
  json["conflicts"] = std::move(conflicts);
  json["more"] = list.more;
  return dump_json(json);
}

Result<ConflictList> parse_conflicts(std::string_view text) {
  const Result<Json> json = parse_json_object(text);
  if (!json) return json.error();
  ConflictList list;
  for (const Json& item : array_field(*json, "conflicts")) {
    if (item.is_object()) list.conflicts.push_back(read_conflict(item));
  }
  list.more = number_field(*json, "more");
  return list;
}

std::string conflict_line(const ConflictRecord& record) {
  if (record.copy_path.empty()) return record.what;
  return record.what + (record.what.empty() ? "" : "; ") + "the other version is " + record.copy_path;
}

std::string conflicts_text(const ConflictList& list, std::string_view mountpoint) {
  std::string out;
  for (const ConflictRecord& record : list.conflicts) {
    out += local_time(record.at_s) + "  " + below(mountpoint, record.path) + "\n";
    if (!record.what.empty()) out += "    " + escape_control(record.what) + "\n";
    if (!record.copy_path.empty())
      out += "    the other version: " + below(mountpoint, record.copy_path) + "\n";
  }
  if (list.more > 0) out += "and " + number(list.more) + " older ones, to be told when these are cleared\n";
  return out;
}

}  // namespace rsyncfs
