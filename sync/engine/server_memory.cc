// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/server_memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>

namespace rsyncfs {

namespace {

constexpr std::string_view kMeta = "server";
constexpr int kOldestProtocol = 30;
constexpr int kYoungestProtocol = 32;

// By the name that the text has, where it is not as at first.
struct Refusal {
  std::string_view name;
  bool ServerFeatures::*feature;
  bool at_first;
};
constexpr std::array<Refusal, 14> kRefusals = {{
    {"acls", &ServerFeatures::acls, true},
    {"xattrs", &ServerFeatures::xattrs, true},
    {"report-missing", &ServerFeatures::report_missing, true},
    {"hard-links", &ServerFeatures::hard_links, true},
    {"messages-in-band", &ServerFeatures::messages_in_band, true},
    {"fsync", &ServerFeatures::fsync, true},
    {"append", &ServerFeatures::append, true},
    {"acknowledgements", &ServerFeatures::acknowledgements, true},
    {"backup", &ServerFeatures::backup, true},
    {"deletes", &ServerFeatures::deletes, true},
    {"trees", &ServerFeatures::trees, true},
    {"keeps", &ServerFeatures::keeps, true},
    {"compresses", &ServerFeatures::compresses, true},
    {"anchored", &ServerFeatures::anchored, false},
}};

int64_t unix_now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool same_refusals(const ServerFeatures& a, const ServerFeatures& b) {
  return std::ranges::all_of(kRefusals, [&](const Refusal& r) { return a.*r.feature == b.*r.feature; });
}

template <class T>
std::optional<T> number_of(std::string_view text) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string server_to_text(const ServerFeatures& features, int64_t since_s) {
  const ServerAbilities known = features.abilities.value_or(ServerAbilities());
  std::string out = "protocol=" + std::to_string(known.protocol);
  out += known.negotiates ? " negotiates" : "";
  out += known.asks_login ? " login" : "";
  out += " since=" + std::to_string(since_s);
  for (const Refusal& refusal : kRefusals) {
    if (features.*refusal.feature != refusal.at_first) out.append(" not:").append(refusal.name);
  }
  return out;
}

ServerFeatures server_from_text(std::string_view text, int64_t now_s) {
  ServerAbilities known{.protocol = 0, .negotiates = false, .asks_login = false};
  ServerFeatures out;
  std::optional<int64_t> since_s;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.starts_with("protocol=")) known.protocol = number_of<int>(word.substr(9)).value_or(0);
    if (word.starts_with("since=")) since_s = number_of<int64_t>(word.substr(6));
    known.negotiates = known.negotiates || word == "negotiates";
    known.asks_login = known.asks_login || word == "login";
    for (const Refusal& refusal : kRefusals) {
      if (word.starts_with("not:") && word.substr(4) == refusal.name)
        out.*refusal.feature = !refusal.at_first;
    }
  }
  if (known.protocol < kOldestProtocol || known.protocol > kYoungestProtocol || !since_s) return {};
  // A clock that was set back makes them no older than they are.
  if (now_s < *since_s || now_s - *since_s >= kRefusalsHoldS) out = {};
  out.abilities = known;
  out.remembered_since_s = same_refusals(out, {}) ? 0 : *since_s;
  return out;
}

ServerFeatures recall_server(const Replica& replica) {
  const auto text = replica.meta(kMeta);
  if (!text || !*text) return {};
  return server_from_text(**text, unix_now_s());
}

std::string ServerMemory::news(const ServerFeatures& features) {
  if (!features.abilities_seen || !features.abilities) return {};
  if (features.abilities == stored_.abilities && same_refusals(features, stored_)) return {};
  const bool older = same_refusals(features, stored_) && stored_.remembered_since_s != 0;
  const int64_t since_s = older ? stored_.remembered_since_s : unix_now_s();
  stored_ = features;
  stored_.remembered_since_s = since_s;
  return server_to_text(features, since_s);
}

Result<void> ServerMemory::remember(Replica& replica, const std::string& text) {
  return replica.set_meta(kMeta, text);
}

}  // namespace rsyncfs
