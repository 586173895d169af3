// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/json_fields.h"

#include "fs/control/byte_text.h"

namespace rsyncfs {

Result<Json> parse_json_object(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error(Errc::kProtocol, "not a JSON object");
  return json;
}

std::string dump_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json* find_field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string text_field(const Json& object, const char* key) {
  const Json* field = find_field(object, key);
  return field != nullptr && field->is_string() ? field->get<std::string>() : "";
}

uint64_t number_field(const Json& object, const char* key) {
  const Json* field = find_field(object, key);
  return field != nullptr && field->is_number_unsigned() ? field->get<uint64_t>() : 0;
}

int64_t signed_field(const Json& object, const char* key) {
  const Json* field = find_field(object, key);
  return field != nullptr && field->is_number_integer() ? field->get<int64_t>() : 0;
}

bool flag_field(const Json& object, const char* key) {
  const Json* field = find_field(object, key);
  return field != nullptr && field->is_boolean() && field->get<bool>();
}

const Json& object_field(const Json& object, const char* key) {
  static const Json kNone = Json::object();
  const Json* field = find_field(object, key);
  return field != nullptr && field->is_object() ? *field : kNone;
}

const Json& array_field(const Json& object, const char* key) {
  static const Json kNone = Json::array();
  const Json* field = find_field(object, key);
  return field != nullptr && field->is_array() ? *field : kNone;
}

Result<std::string> path_field(const Json& object, const char* key) {
  const Json* field = find_field(object, key);
  if (field == nullptr || !field->is_string()) return Error(Errc::kProtocol, std::string("no ") + key);
  Result<std::string> path = text_to_bytes(field->get_ref<const std::string&>());
  if (!path) return Error(Errc::kProtocol, path.error().message());
  return path;
}

std::string shown_field(const Json& object, const char* key) {
  Result<std::string> path = path_field(object, key);
  return path ? std::move(path.value()) : text_field(object, key);
}

}  // namespace rsyncfs
