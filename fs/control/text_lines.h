// SPDX-License-Identifier: GPL-3.0-or-later
// How documents look to people: labelled lines, counts and times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sync/engine/status.h"

namespace rsyncfs {

// "  LABEL     TEXT\n"; what came from names or servers cannot forge a line.
void add_line(std::string& out, std::string_view label, std::string_view text);
std::string local_time(int64_t unix_s);  // "2026-01-31 23:59:59"
std::string number(uint64_t value);
std::string counted(uint64_t value, std::string_view noun);  // "1 file", "2 files"
// "12 s", "3 min", "2 h", "5 days".
std::string duration_text(int64_t seconds);
std::string_view link_state_name(LinkState state);  // "connecting", "up", "down"
LinkState parse_link_state(std::string_view name);
std::string link_words(LinkState state, std::string_view text);

// About how many changes are pending. A new file is a name and a node; a moved one is two names.
uint64_t pending_changes(const PushStatus& push);
// "3 changes (1.2 MiB)"; the bytes are left out when there are none.
std::string changes_text(uint64_t changes, uint64_t bytes);

}  // namespace rsyncfs
