// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/verify_document.h"

#include <array>
#include <utility>

#include "fs/control/json_fields.h"

namespace rsyncfs {
namespace {

struct Field {
  const char* name;
  uint64_t VerifyTotals::*place;
};

constexpr std::array<Field, 6> kLocal{{
    {"checked_files", &VerifyTotals::checked},
    {"checked_bytes", &VerifyTotals::checked_bytes},
    {"damaged_files", &VerifyTotals::damaged},
    {"restored_files", &VerifyTotals::restored},
    {"lost_files", &VerifyTotals::lost},
    {"failed_paths", &VerifyTotals::failed},
}};

constexpr std::array<Field, 10> kRemote{{
    {"equal_files", &VerifyTotals::equal},
    {"equal_bytes", &VerifyTotals::equal_bytes},
    {"differing_files", &VerifyTotals::differing},
    {"changed_files", &VerifyTotals::changed},
    {"uncompared_files", &VerifyTotals::uncompared},
    {"partly_here", &VerifyTotals::partly_here},
    {"not_here", &VerifyTotals::not_here},
    {"changed_here", &VerifyTotals::changed_here},
    {"sent_bytes", &VerifyTotals::sent_bytes},
    {"received_bytes", &VerifyTotals::received_bytes},
}};

}  // namespace

std::string verify_json(const VerifyTotals& totals) {
  Json json;
  for (const Field& field : kLocal) json[field.name] = totals.*field.place;
  if (totals.remote) {
    Json remote;
    for (const Field& field : kRemote) remote[field.name] = totals.*field.place;
    json["remote"] = std::move(remote);
  }
  return dump_json(json);
}

Result<VerifyTotals> parse_verify_totals(std::string_view document) {
  const Result<Json> json = parse_json_object(document);
  if (!json) return json.error();
  VerifyTotals totals;
  for (const Field& field : kLocal) totals.*field.place = number_field(*json, field.name);
  if (find_field(*json, "remote") != nullptr) {
    totals.remote = true;
    const Json& remote = object_field(*json, "remote");
    for (const Field& field : kRemote) totals.*field.place = number_field(remote, field.name);
  }
  return totals;
}

}  // namespace rsyncfs
