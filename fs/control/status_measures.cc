// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/status_measures.h"

#include <string>
#include <utility>

namespace rsyncfs {
namespace {

std::string cause_name(size_t code) {
  return std::string(errc_name(static_cast<Errc>(code)));
}

Json failures_json(const FailureCounts& counts) {
  Json json = Json::object();
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] != 0) json[cause_name(i)] = counts[i];
  }
  return json;
}

FailureCounts read_failures(const Json& json) {
  FailureCounts counts{};
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = number_field(json, cause_name(i).c_str());
  return counts;
}

Json latency_json(const LatencyCounts& latency) {
  return {{"counts", latency.counts}, {"sum_ns", latency.sum_ns}};
}

LatencyCounts read_latency(const Json& json) {
  LatencyCounts out;
  size_t i = 0;
  for (const Json& count : array_field(json, "counts")) {
    if (i == out.counts.size()) break;
    out.counts[i++] = count.is_number_unsigned() ? count.get<uint64_t>() : 0;
  }
  out.sum_ns = number_field(json, "sum_ns");
  return out;
}

Json bounds_json() {
  Json json = Json::array();
  for (const auto bound : kLatencyBounds) json.push_back(bound.count());
  return json;
}

Json wire_json(const WireByPurpose& wire) {
  Json json = Json::object();
  for (size_t i = 0; i < kWirePurposes; ++i) {
    json[std::string(kWirePurposeNames[i])] = {
        {"bytes_in", wire[i].bytes_in}, {"bytes_out", wire[i].bytes_out}, {"sessions", wire[i].sessions}};
  }
  return json;
}

}  // namespace

void add_measures(Json& json, const MountStatus& status) {
  const SyncerStatus& syncer = status.syncer;
  json["wire"] = wire_json(syncer.wire);
  json["reads"] = {{"hits", status.reads.hits},
                   {"hit_bytes", status.reads.hit_bytes},
                   {"misses", status.reads.misses},
                   {"missed_bytes", status.reads.missed_bytes}};
  Json replies = Json::object();
  for (const auto& [name, count] : status.reply_errors) replies[name] = count;
  json["failures"] = {{"replies", std::move(replies)},
                      {"sessions", failures_json(syncer.session_failures)},
                      {"fetches", failures_json(syncer.fetch_failures)},
                      {"pushes", failures_json(syncer.push.failures)}};
  Json requests = Json::object();
  for (const auto& [name, latency] : status.request_latencies) requests[name] = latency_json(latency);
  json["latency"] = {{"bounds_us", bounds_json()},
                     {"read_miss", latency_json(status.reads.miss_latency)},
                     {"push", latency_json(syncer.push.latency)},
                     {"requests", std::move(requests)}};
}

void read_measures(const Json& json, MountStatus& status) {
  SyncerStatus& syncer = status.syncer;
  const Json& wire = object_field(json, "wire");
  for (size_t i = 0; i < kWirePurposes; ++i) {
    const Json& part = object_field(wire, std::string(kWirePurposeNames[i]).c_str());
    syncer.wire[i] = {number_field(part, "bytes_in"), number_field(part, "bytes_out"),
                      number_field(part, "sessions")};
  }
  const Json& reads = object_field(json, "reads");
  status.reads.hits = number_field(reads, "hits");
  status.reads.hit_bytes = number_field(reads, "hit_bytes");
  status.reads.misses = number_field(reads, "misses");
  status.reads.missed_bytes = number_field(reads, "missed_bytes");
  const Json& failures = object_field(json, "failures");
  for (const auto& [name, count] : object_field(failures, "replies").items()) {
    if (count.is_number_unsigned()) status.reply_errors.emplace_back(name, count.get<uint64_t>());
  }
  syncer.session_failures = read_failures(object_field(failures, "sessions"));
  syncer.fetch_failures = read_failures(object_field(failures, "fetches"));
  syncer.push.failures = read_failures(object_field(failures, "pushes"));
  const Json& latency = object_field(json, "latency");
  status.reads.miss_latency = read_latency(object_field(latency, "read_miss"));
  syncer.push.latency = read_latency(object_field(latency, "push"));
  for (const auto& [name, counts] : object_field(latency, "requests").items()) {
    if (counts.is_object()) status.request_latencies.emplace_back(name, read_latency(counts));
  }
}

}  // namespace rsyncfs
