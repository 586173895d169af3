// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/protocol.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fs/control/byte_text.h"
#include "fs/control/json_fields.h"

namespace rsyncfs {
namespace {

constexpr std::array<std::pair<ControlVerb, std::string_view>, 13> kVerbs{{
    {ControlVerb::kStatus, "status"},
    {ControlVerb::kInfo, "info"},
    {ControlVerb::kFetch, "fetch"},
    {ControlVerb::kFree, "free"},
    {ControlVerb::kPin, "pin"},
    {ControlVerb::kUnpin, "unpin"},
    {ControlVerb::kFlush, "flush"},
    {ControlVerb::kRefresh, "refresh"},
    {ControlVerb::kVerify, "verify"},
    {ControlVerb::kConflicts, "conflicts"},
    {ControlVerb::kResume, "resume"},
    {ControlVerb::kUnmount, "umount"},
    {ControlVerb::kHandOver, "hand-over"},
}};

constexpr std::array<std::pair<ControlFailure, std::string_view>, 5> kFailures{{
    {ControlFailure::kOther, "failed"},
    {ControlFailure::kUsage, "usage"},
    {ControlFailure::kBusy, "busy"},
    {ControlFailure::kNotFound, "not-found"},
    {ControlFailure::kUnsent, "unsent"},
}};

constexpr std::array<std::pair<ControlAnswer::Kind, std::string_view>, 5> kKinds{{
    {ControlAnswer::Kind::kProgress, "progress"},
    {ControlAnswer::Kind::kFailedPath, "failed-path"},
    {ControlAnswer::Kind::kFinding, "finding"},
    {ControlAnswer::Kind::kDone, "done"},
    {ControlAnswer::Kind::kFailed, "failed"},
}};

template <class Table, class Value>
std::string_view name_in(const Table& table, Value value) {
  for (const auto& [known, name] : table) {
    if (known == value) return name;
  }
  return "";
}

template <class Table, class Value>
bool value_in(const Table& table, std::string_view name, Value& value) {
  for (const auto& [known, known_name] : table) {
    if (known_name != name) continue;
    value = known;
    return true;
  }
  return false;
}

Error malformed(std::string_view what) {
  return Error(Errc::kProtocol, "malformed control line: " + std::string(what));
}

Json progress_json(const JobProgress& progress) {
  return {{"files_done", progress.files_done},     {"files_total", progress.files_total},
          {"bytes_done", progress.bytes_done},     {"bytes_total", progress.bytes_total},
          {"files_failed", progress.files_failed}, {"counting", progress.counting}};
}

JobProgress read_progress(const Json& json) {
  JobProgress progress;
  progress.files_done = number_field(json, "files_done");
  progress.files_total = number_field(json, "files_total");
  progress.bytes_done = number_field(json, "bytes_done");
  progress.bytes_total = number_field(json, "bytes_total");
  progress.files_failed = number_field(json, "files_failed");
  progress.counting = flag_field(json, "counting");
  return progress;
}

bool fits_number_of_paths(const ControlRequest& request) {
  switch (request.verb) {
    case ControlVerb::kInfo:
    case ControlVerb::kFlush:
    case ControlVerb::kRefresh:
      return request.paths.size() == 1;
    case ControlVerb::kFetch:
    case ControlVerb::kFree:
    case ControlVerb::kPin:
    case ControlVerb::kUnpin:
    case ControlVerb::kVerify:
      return !request.paths.empty();
    default:
      return request.paths.empty();
  }
}

// Relative, and without a component that would lead elsewhere.
bool is_inner_path(std::string_view path) {
  if (path.empty()) return true;
  if (path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string_view control_verb_name(ControlVerb verb) {
  return name_in(kVerbs, verb);
}

std::string encode(const ControlRequest& request) {
  Json json = {{"verb", control_verb_name(request.verb)}};
  if (!request.paths.empty()) {
    json["paths"] = Json::array();
    for (const std::string& path : request.paths) json["paths"].push_back(bytes_to_text(path));
  }
  if (request.lazy) json["lazy"] = true;
  if (request.limit_s) json["limit_s"] = *request.limit_s;
  if (request.clear) json["clear"] = true;
  if (request.remote) json["remote"] = true;
  return dump_json(json);
}

Result<ControlRequest> decode_control_request(std::string_view line) {
  const Result<Json> json = parse_json_object(line);
  if (!json) return malformed(json.error().message());
  ControlRequest request;
  if (!value_in(kVerbs, text_field(*json, "verb"), request.verb)) return malformed("unknown verb");
  request.lazy = flag_field(*json, "lazy");
  request.clear = flag_field(*json, "clear");
  request.remote = flag_field(*json, "remote");
  if (find_field(*json, "limit_s") != nullptr) {
    request.limit_s = std::min(number_field(*json, "limit_s"), kMaxControlLimitS);
  }
  const Json& paths = array_field(*json, "paths");
  if (paths.size() > kMaxControlPaths) return Error(Errc::kLimit, "too many paths in one request");
  for (const Json& item : paths) {
    if (!item.is_string()) return malformed("a path is no string");
    Result<std::string> path = text_to_bytes(item.get_ref<const std::string&>());
    if (!path || !is_inner_path(*path)) return malformed("a path is not relative to the mountpoint");
    request.paths.push_back(std::move(path.value()));
  }
  if (!fits_number_of_paths(request)) return malformed("the number of paths does not fit the verb");
  return request;
}

std::string encode(const ControlAnswer& answer) {
  Json json = {{"answer", name_in(kKinds, answer.kind)}};
  switch (answer.kind) {
    case ControlAnswer::Kind::kProgress:
      json["progress"] = progress_json(answer.progress);
      break;
    case ControlAnswer::Kind::kFailedPath:
    case ControlAnswer::Kind::kFinding:
      json["path"] = bytes_to_text(answer.path);
      json["reason"] = answer.reason;
      break;
    case ControlAnswer::Kind::kDone:
      json["progress"] = progress_json(answer.progress);
      if (!answer.document.empty()) {
        Result<Json> document = parse_json_object(answer.document);
        RSYNCFS_CHECK(document.ok());
        json["document"] = std::move(document.value());
      }
      break;
    case ControlAnswer::Kind::kFailed:
      json["failure"] = name_in(kFailures, answer.failure);
      json["reason"] = answer.reason;
      break;
  }
  return dump_json(json);
}

Result<ControlAnswer> decode_control_answer(std::string_view line) {
  const Result<Json> json = parse_json_object(line);
  if (!json) return malformed(json.error().message());
  ControlAnswer answer;
  if (!value_in(kKinds, text_field(*json, "answer"), answer.kind)) return malformed("unknown answer");
  switch (answer.kind) {
    case ControlAnswer::Kind::kProgress:
      answer.progress = read_progress(object_field(*json, "progress"));
      break;
    case ControlAnswer::Kind::kFailedPath:
    case ControlAnswer::Kind::kFinding: {
      Result<std::string> path = path_field(*json, "path");
      if (!path) return malformed(path.error().message());
      answer.path = std::move(path.value());
      answer.reason = text_field(*json, "reason");
      break;
    }
    case ControlAnswer::Kind::kDone:
      answer.progress = read_progress(object_field(*json, "progress"));
      if (const Json& document = object_field(*json, "document"); !document.empty()) {
        answer.document = dump_json(document);
      }
      break;
    case ControlAnswer::Kind::kFailed:
      if (!value_in(kFailures, text_field(*json, "failure"), answer.failure))
        return malformed("unknown failure");
      answer.reason = text_field(*json, "reason");
      break;
  }
  return answer;
}

}  // namespace rsyncfs
