// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/conflict_name.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace rsyncfs {
namespace {

constexpr std::string_view kMark = ".conflict-";
constexpr size_t kMaxHostBytes = 64;

std::string plain_host(std::string_view host) {
  std::string out(host.substr(0, kMaxHostBytes));
  std::replace_if(
      out.begin(), out.end(),
      [](char c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        return !letter && !(c >= '0' && c <= '9') && c != '.' && c != '-';
      },
      '_');
  return out.empty() ? "unknown" : out;
}

std::string compact_time(const FileTime& time) {
  const auto seconds = static_cast<time_t>(time.s);
  tm parts{};
  std::array<char, 32> text{};
  if (gmtime_r(&seconds, &parts) == nullptr) return "0";
  std::string out(text.data(), std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%S", &parts));
  std::snprintf(text.data(), text.size(), ".%06uZ", static_cast<unsigned>(time.ns / 1000 % 1'000'000));
  return out + text.data();
}

std::string_view shortened(std::string_view name, size_t limit) {
  if (name.size() <= limit) return name;
  size_t end = limit;
  // Not in front of a continuation byte; bytes that are no UTF-8 are cut anywhere.
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(name[at]) & 0xC0) == 0x80; };
  while (end > 0 && limit - end < 3 && continues(end)) --end;
  return name.substr(0, continues(end) ? limit : end);
}

}  // namespace

std::string conflict_name(std::string_view name, std::string_view host, const FileTime& time, int number) {
  std::string tail(kMark);
  tail += plain_host(host);
  tail += '-';
  tail += compact_time(time);
  if (number > 1) tail += '-' + std::to_string(number);
  return std::string(shortened(name, kMaxNameBytes - tail.size())) + tail;
}

std::string free_conflict_name(std::string_view name, std::string_view host, const FileTime& time,
                               const std::function<bool(std::string_view)>& taken) {
  for (int number = 1; number <= kMaxConflictNames; ++number) {
    std::string candidate = conflict_name(name, host, time, number);
    if (!taken(candidate)) return candidate;
  }
  return {};
}

bool may_be_conflict_name(std::string_view name) {
  return name.find(kMark) != std::string_view::npos;
}

std::string host_name() {
  std::array<char, 256> text{};
  if (gethostname(text.data(), text.size() - 1) != 0) return {};
  return text.data();
}

}  // namespace rsyncfs
