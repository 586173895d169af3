// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/text_lines.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "io/base/text.h"

namespace rsyncfs {

void add_line(std::string& out, std::string_view label, std::string_view text) {
  constexpr size_t kLabelWidth = 10;
  out.append("  ").append(label);
  out.append(label.size() < kLabelWidth ? kLabelWidth - label.size() : 1, ' ');
  out.append(escape_control(text)).append("\n");
}

std::string local_time(int64_t unix_s) {
  const time_t when = unix_s;
  struct tm parts {};
  std::array<char, 40> text{};
  if (localtime_r(&when, &parts) == nullptr) return std::to_string(unix_s);
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

std::string number(uint64_t value) {
  return std::to_string(value);
}

std::string counted(uint64_t value, std::string_view noun) {
  return number(value) + " " + std::string(noun) + (value == 1 ? "" : "s");
}

std::string duration_text(int64_t seconds) {
  constexpr int64_t kMinute = 60;
  constexpr int64_t kHour = 60 * kMinute;
  constexpr int64_t kDay = 24 * kHour;
  const int64_t time = std::max<int64_t>(seconds, 0);
  if (time < 2 * kMinute) return std::to_string(time) + " s";
  if (time < 2 * kHour) return std::to_string(time / kMinute) + " min";
  if (time < 2 * kDay) return std::to_string(time / kHour) + " h";
  return std::to_string(time / kDay) + " days";
}

std::string_view link_state_name(LinkState state) {
  switch (state) {
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kUp:
      return "up";
    case LinkState::kDown:
      return "down";
  }
  return "?";
}

LinkState parse_link_state(std::string_view name) {
  for (const LinkState state : {LinkState::kUp, LinkState::kDown}) {
    if (name == link_state_name(state)) return state;
  }
  return LinkState::kConnecting;
}

std::string link_words(LinkState state, std::string_view text) {
  const std::string name(link_state_name(state));
  return text.empty() ? name : name + ": " + std::string(text);
}

uint64_t pending_changes(const PushStatus& push) {
  return std::max(push.pending_names, push.pending_nodes);
}

std::string changes_text(uint64_t changes, uint64_t bytes) {
  return counted(changes, "change") + (bytes == 0 ? "" : " (" + human_bytes(bytes) + ")");
}

}  // namespace rsyncfs
