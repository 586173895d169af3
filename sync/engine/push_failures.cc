// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_failures.h"

#include <algorithm>

#include "io/base/text.h"

namespace rsyncfs {

namespace {
constexpr unsigned kMaxChangedWaits = 5;  // of a flush for what keeps changing
}

std::chrono::milliseconds push_backoff(unsigned times) {
  return std::min(kFirstPushBackoff * (1U << std::min(times, kMaxPushDoublings)), kLongestPushBackoff);
}

std::string PushFailure::text(Clock::time_point now) const {
  const auto wait = std::chrono::duration_cast<std::chrono::seconds>(until - now).count();
  const std::string retry = wait > 0 ? ", retry in " + std::to_string(wait) + " s" : ", trying again";
  return escape_control(path) + ": " + why.message() + retry;
}

const PushFailure& PushFailures::note(NodeId node, const std::string& path, const Error& why) {
  auto [found, is_new] = failures_.try_emplace(node, PushFailure{path, why, 0, {}, {}, false});
  PushFailure& failure = found->second;
  failure.path = path;
  failure.why = why;
  std::uniform_int_distribution<int> percent(75, 125);
  failure.last = Clock::now();
  failure.until = failure.last + push_backoff(failure.times) * percent(random_) / 100;
  ++failure.times;
  return failure;
}

void PushFailures::retry() {
  for (auto& [node, failure] : failures_) failure.until = {};
}

const PushFailure* PushFailures::find(NodeId node) const {
  const auto found = failures_.find(node);
  return found == failures_.end() ? nullptr : &found->second;
}

std::unordered_set<NodeId> PushFailures::held(Clock::time_point now) const {
  std::unordered_set<NodeId> out;
  for (const auto& [node, failure] : failures_) {
    if (failure.until > now) out.insert(node);
  }
  return out;
}

std::optional<Clock::time_point> PushFailures::next() const {
  std::optional<Clock::time_point> out;
  for (const auto& [node, failure] : failures_) out = std::min(out.value_or(failure.until), failure.until);
  return out;
}

bool PushFailures::changes_meanwhile() const {
  return std::any_of(failures_.begin(), failures_.end(), [](const auto& one) {
    return one.second.why.code() == Errc::kChanged && one.second.times <= kMaxChangedWaits;
  });
}

Error PushFailures::left_over(const std::string& path) const {
  const PushFailure* why = nullptr;
  for (const auto& [node, failure] : failures_) {
    if (why == nullptr || failure.path == path) why = &failure;
  }
  if (why == nullptr) return Error(Errc::kRefused, escape_control(path) + " cannot be pushed now");
  return why->why.with_context(escape_control(why->path));
}

std::vector<std::string> PushFailures::texts(size_t most) const {
  std::vector<std::string> out;
  for (const auto& [node, failure] : failures_) {
    if (out.size() < most) out.push_back(failure.text(Clock::now()));
  }
  return out;
}

}  // namespace rsyncfs
