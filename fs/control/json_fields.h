// SPDX-License-Identifier: GPL-3.0-or-later
// Reading JSON from someone else: a field is there with the right type, or it is as if it were not there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "io/base/result.h"

namespace rsyncfs {

// Keys keep the order in which they are written: documents are golden texts.
using Json = nlohmann::ordered_json;

// kProtocol unless `text` is one JSON object.
Result<Json> parse_json_object(std::string_view text);
// One line; bytes that are no UTF-8 become U+FFFD.
std::string dump_json(const Json& json);

const Json* find_field(const Json& object, const char* key);
std::string text_field(const Json& object, const char* key);    // "" if absent
uint64_t number_field(const Json& object, const char* key);     // 0 if absent or negative
int64_t signed_field(const Json& object, const char* key);      // 0 if absent
bool flag_field(const Json& object, const char* key);           // false if absent
const Json& object_field(const Json& object, const char* key);  // an empty object if absent
const Json& array_field(const Json& object, const char* key);   // an empty array if absent
// A path written by bytes_to_text(); kProtocol if absent, or not of that form.
Result<std::string> path_field(const Json& object, const char* key);
// The same for what is only shown: what is not of that form is kept as it stands.
std::string shown_field(const Json& object, const char* key);

}  // namespace rsyncfs
